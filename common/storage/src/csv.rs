//! The beginning of CSV files: the names in their headers, and the types of their first rows.
//!
//! Columns are told by their names, in every file of a table: two files may have them in another order, and one may
//! lack some. Rejected: DataFusion's inference, which takes all files to be as the first one, makes one column of two
//! of a name, and fails where a piece that it reads ends inside of quotes.

use std::borrow::Cow;
use std::collections::HashSet;

use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::common::config::CsvOptions;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use futures::{StreamExt as _, TryStreamExt as _};

/// Bytes that are read of a file to see its header; more if that is longer.
const HEADER_BYTES: u64 = 8 << 10;

/// Bytes that are read of a file to see the types of its columns; more if those are too few rows.
const SAMPLE_BYTES: u64 = 256 << 10;

/// Bytes that a header, or the rows of a sample, may take.
const HEAD_BYTES_MAX: u64 = 64 << 20;

/// Files whose headers are read at once.
const AT_ONCE: usize = 16;

/// The characters of CSV files that have a meaning.
#[derive(Clone, Debug)]
pub struct CsvDialect {
    options: CsvOptions,
    compression: FileCompressionType,
}

/// The first rows of a file, as types.
struct Sample {
    /// None for a column without a value.
    types: Vec<Option<DataType>>,
    rows: usize,
}

impl CsvDialect {
    /// The dialect of some options, for files of one compression.
    pub fn new(options: CsvOptions, compression: FileCompressionType) -> Self {
        Self { options, compression }
    }

    /// The names in the header of a file, each of them once: see [`names_of`]. Empty for an empty file.
    ///
    /// # Errors
    /// The store refuses, or the header does not end.
    pub async fn header(&self, store: &dyn ObjectStore, file: &ObjectMeta) -> Result<Vec<String>> {
        let mut bytes = HEADER_BYTES;
        loop {
            let (head, is_whole) = self.head(store, file, bytes).await?;
            let mut record = csv::ByteRecord::new();
            let mut reader = self.reader(&head);
            let is_there = reader.read_byte_record(&mut record).map_err(broken)?;
            let end = reader.position().byte();
            if is_whole || end < head.len() as u64 {
                return Ok(if is_there { names_of(&record) } else { Vec::new() });
            }
            bytes = longer(bytes, "the header")?;
        }
    }

    /// The columns of some files: those of the first one, and those that others add.
    ///
    /// # Errors
    /// The store refuses, a row is no row, or a file without a header has another number of columns.
    pub(crate) async fn columns(
        &self,
        store: &dyn ObjectStore,
        files: &[ObjectMeta],
        rows_max: usize,
    ) -> Result<SchemaRef> {
        let has_header = self.options.has_header.unwrap_or(true);
        let headers: Vec<Vec<String>> = if has_header {
            let headers = files.iter().map(|file| self.header(store, file));
            futures::stream::iter(headers.collect::<Vec<_>>())
                .buffered(AT_ONCE)
                .try_collect()
                .await?
        } else {
            vec![Vec::new(); files.len()]
        };
        let mut columns: Vec<(String, Option<DataType>)> = Vec::new();
        let mut seen: HashSet<&[String]> = HashSet::new();
        for header in &headers {
            if !seen.insert(header) {
                continue;
            }
            let mut left = rows_max;
            let same = files.iter().zip(&headers).filter(|(_, other)| *other == header);
            for (file, _) in same {
                let sample = self.sample(store, file, left).await?;
                let is_cut = self.options.truncated_rows.unwrap_or(false);
                if !has_header
                    && !is_cut
                    && !columns.is_empty()
                    && columns.len() != sample.types.len()
                {
                    let (path, found) = (&file.location, sample.types.len());
                    let message = format!(
                        "`{path}` has {found} columns, and a file before it {}",
                        columns.len()
                    );
                    return Err(ArrowError::CsvError(message).into());
                }
                for (at, found) in sample.types.into_iter().enumerate() {
                    let number = at + 1;
                    let name =
                        header.get(at).cloned().unwrap_or_else(|| format!("column_{number}"));
                    match columns.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = wider(known.take(), found),
                        None => columns.push((name, found)),
                    }
                }
                left = left.saturating_sub(sample.rows);
                if left == 0 {
                    break;
                }
            }
        }
        let fields = columns.into_iter();
        let fields = fields.map(|(name, of)| Field::new(name, of.unwrap_or(DataType::Utf8), true));
        Ok(Schema::new(fields.collect::<Vec<_>>()).into())
    }

    /// Looks at the first rows of a file.
    async fn sample(
        &self,
        store: &dyn ObjectStore,
        file: &ObjectMeta,
        rows_max: usize,
    ) -> Result<Sample> {
        let has_header = self.options.has_header.unwrap_or(true);
        let mut bytes = SAMPLE_BYTES;
        let (head, end) = loop {
            let (head, is_whole) = self.head(store, file, bytes).await?;
            if is_whole {
                let end = head.len();
                break (head, end);
            }
            // The last row of a piece may be cut.
            let mut record = csv::ByteRecord::new();
            let mut reader = self.reader(&head);
            let (mut rows, mut end) = (0, 0);
            while rows <= rows_max && reader.read_byte_record(&mut record).map_err(broken)? {
                let now = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
                if now >= head.len() {
                    break;
                }
                (rows, end) = (rows + 1, now);
            }
            if rows > rows_max {
                break (head, end);
            }
            // A few long rows are a sample too.
            if bytes >= HEAD_BYTES_MAX && rows > usize::from(has_header) {
                break (head, end);
            }
            bytes = longer(bytes, "a row")?;
        };
        let mut format = Format::default()
            .with_header(has_header)
            .with_delimiter(self.options.delimiter)
            .with_quote(self.options.quote)
            .with_truncated_rows(self.options.truncated_rows.unwrap_or(false));
        if let Some(escape) = self.options.escape {
            format = format.with_escape(escape);
        }
        if let Some(comment) = self.options.comment {
            format = format.with_comment(comment);
        }
        if let Some(terminator) = self.options.terminator {
            format = format.with_terminator(terminator);
        }
        let (schema, rows) = format.infer_schema(&head[..end], Some(rows_max))?;
        let of = |field: &Field| match field.data_type() {
            DataType::Null => None,
            _ if rows == 0 => None,
            of => Some(of.clone()),
        };
        Ok(Sample { types: schema.fields().iter().map(|field| of(field)).collect(), rows })
    }

    /// The first bytes of the text of a file, at least as many as asked for, or all of it: then true.
    async fn head(
        &self,
        store: &dyn ObjectStore,
        file: &ObjectMeta,
        bytes: u64,
    ) -> Result<(Vec<u8>, bool)> {
        if file.size == 0 {
            return Ok((Vec::new(), true));
        }
        if !self.compression.is_compressed() {
            let head = store.get_range(&file.location, 0..bytes.min(file.size)).await?;
            return Ok((head.into(), bytes >= file.size));
        }
        let packed = store.get(&file.location).await?.into_stream().map_err(Into::into);
        let mut text = self.compression.convert_stream(packed.boxed())?;
        let mut head = Vec::new();
        while (head.len() as u64) < bytes {
            let Some(more) = text.try_next().await? else { return Ok((head, true)) };
            head.extend_from_slice(&more);
        }
        Ok((head, false))
    }

    fn reader<'a>(&self, text: &'a [u8]) -> csv::Reader<&'a [u8]> {
        let options = &self.options;
        let mut builder = csv::ReaderBuilder::new();
        builder
            .has_headers(false)
            .flexible(true)
            .delimiter(options.delimiter)
            .quote(options.quote)
            .escape(options.escape)
            .comment(options.comment);
        if let Some(terminator) = options.terminator {
            builder.terminator(csv::Terminator::Any(terminator));
        }
        builder.from_reader(text)
    }
}

/// The names of a header's columns. A byte order mark is none of the first one's; a name that comes again gets a number
/// (`v`, `v_1`), and an empty one is called by its place, `column_2`.
fn names_of(header: &csv::ByteRecord) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (at, name) in header.iter().enumerate() {
        let name = String::from_utf8_lossy(name);
        let name = if at == 0 { name.trim_start_matches('\u{feff}') } else { &name };
        let number = at + 1;
        let name: Cow<str> =
            if name.is_empty() { format!("column_{number}").into() } else { name.into() };
        let mut unique = name.to_string();
        let mut copy = 0;
        while names.contains(&unique) {
            copy += 1;
            unique = format!("{name}_{copy}");
        }
        names.push(unique);
    }
    names
}

/// The type that holds the values of both: of whole numbers and floats floats, of others their texts.
fn wider(one: Option<DataType>, other: Option<DataType>) -> Option<DataType> {
    match (one, other) {
        (None, other) => other,
        (one, None) => one,
        (Some(one), Some(other)) if one == other => Some(one),
        (Some(DataType::Int64 | DataType::Float64), Some(DataType::Int64 | DataType::Float64)) => {
            Some(DataType::Float64)
        }
        _ => Some(DataType::Utf8),
    }
}

fn longer(bytes: u64, what: &str) -> Result<u64> {
    if bytes >= HEAD_BYTES_MAX {
        return Err(
            ArrowError::CsvError(format!("{what} is longer than {HEAD_BYTES_MAX} bytes")).into()
        );
    }
    Ok(bytes * 4)
}

fn broken(error: csv::Error) -> ArrowError {
    ArrowError::CsvError(error.to_string())
}

#[cfg(test)]
mod tests {
    use datafusion::object_store::memory::InMemory;
    use datafusion::object_store::path::Path;

    use super::*;

    async fn columns(files: &[&str], options: CsvOptions) -> Result<Vec<String>> {
        let store = InMemory::new();
        let mut objects = Vec::new();
        for (at, text) in files.iter().enumerate() {
            let path = Path::from(format!("{at}.csv"));
            store.put(&path, (*text).to_owned().into()).await?;
            objects.push(store.head(&path).await?);
        }
        let dialect = CsvDialect::new(options, FileCompressionType::UNCOMPRESSED);
        let schema = dialect.columns(&store, &objects, 1000).await?;
        Ok(schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect())
    }

    #[tokio::test]
    async fn columns_are_those_of_all_headers() {
        let plain = CsvOptions::default;
        for (files, want) in [
            (vec!["a,b\n1,x\n", "b,a\ny,2\n"], vec!["a Int64", "b Utf8"]),
            (vec!["a\n1\n", "a,c\n1.5,true\n", "c\n"], vec!["a Float64", "c Boolean"]),
            (vec!["a\n1\n", "a\n2024-01-01\n"], vec!["a Utf8"]),
            (vec!["a,x\n1,1\n", "a\n2024-01-01\n"], vec!["a Utf8", "x Int64"]),
            (
                vec!["id,v,v,,v_1\n1,2,3,4,5\n"],
                vec!["id Int64", "v Int64", "v_1 Int64", "column_4 Int64", "v_1_1 Int64"],
            ),
            (vec!["\u{feff}id,\"a,b\"\n1,2\n"], vec!["id Int64", "a,b Int64"]),
            (vec!["a,b\n"], vec!["a Utf8", "b Utf8"]),
            (vec!["a,b\n,1\n"], vec!["a Utf8", "b Int64"]),
        ] {
            assert_eq!(columns(&files, plain()).await.expect("columns"), want, "{files:?}");
        }
        let headless = CsvOptions::default().with_has_header(false);
        assert_eq!(
            columns(&["1,x\n"], headless).await.expect("columns"),
            ["column_1 Int64", "column_2 Utf8"]
        );
    }

    #[tokio::test]
    async fn a_sample_never_ends_inside_of_a_row() {
        let long = "line\n".repeat(40);
        let rows: String = (0..4000).map(|row| format!("{row},\"{long}{row}\"\n")).collect();
        let text = format!("id,text\n{rows}");
        assert!(text.len() as u64 > 2 * SAMPLE_BYTES);
        assert_eq!(
            columns(&[&text], CsvOptions::default()).await.expect("columns"),
            ["id Int64", "text Utf8"]
        );
        let name = "n".repeat(100_000);
        let text = format!("id,{name}\n1,2\n");
        let found = columns(&[&text], CsvOptions::default()).await.expect("a long header");
        assert_eq!(found[1], format!("{name} Int64"));
    }

    #[tokio::test]
    async fn compressed_files_have_headers_too() {
        let store = InMemory::new();
        let text = futures::stream::iter([Ok("a,b\n1,2\n".into())]).boxed();
        let packed = FileCompressionType::GZIP.convert_to_compress_stream(text).expect("gzip");
        let packed: Vec<bytes::Bytes> = packed.try_collect().await.expect("compressed");
        let path = Path::from("a.csv.gz");
        store.put(&path, packed.concat().into()).await.expect("written");
        let file = store.head(&path).await.expect("there");
        let dialect = CsvDialect::new(CsvOptions::default(), FileCompressionType::GZIP);
        assert_eq!(dialect.header(&store, &file).await.expect("a header"), ["a", "b"]);
    }
}
