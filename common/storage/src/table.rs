//! A path as a table of a DataFusion session.

use std::any::Any;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::config::TableOptions;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::{
    DEFAULT_SCHEMA_INFER_MAX_RECORD, FileFormat as DataFusionFormat,
};
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::SessionState;
use datafusion::execution::options::{
    CsvReadOptions, JsonReadOptions, ParquetReadOptions, ReadOptions as _,
};
use datafusion::object_store::{ObjectMeta, ObjectStoreExt as _};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt as _;
use gnist_common::error::{ErrorKind, Failure};

use crate::csv::CsvDialect;
use crate::external::{Partition, partitioned};
use crate::footers::is_damaged;
use crate::format::FileFormat;
use crate::listed::ListedTable;
use crate::listing::Listing;
use crate::partitions::partition_columns;
use crate::refusal::ListingError;
use crate::remote::Place;

/// Registers the files of a path as a table.
///
/// # Errors
///
/// As [`open_path`], or the name is one of a table.
pub async fn register_path(
    context: &SessionContext,
    name: &str,
    path: &str,
) -> Result<(), Failure> {
    let table = open_path(&context.state(), path).await?;
    let registered = context.register_table(name, table);
    registered.map(drop).map_err(|error| {
        let message = format!("can't register the table `{name}`: {}", root_message(&error));
        Failure::new(ErrorKind::User, message)
    })
}

/// A table over the files of a path. The schema is read here, from the footers of Parquet files and
/// the first rows of others.
///
/// # Errors
///
/// The path is no table (see [`crate::ListingError`]), or a file is not what its name says; the
/// failure names the file.
pub async fn open_path(
    state: &SessionState,
    path: &str,
) -> Result<Arc<dyn TableProvider>, Failure> {
    open_listing(state, &Listing::of(state.config(), path).await?).await
}

/// A table over the files of a path, as [`open_path`] makes it, if they are of this format.
///
/// # Errors
///
/// As [`open_path`], or the files are of another format.
pub async fn open_as(
    state: &SessionState,
    path: &str,
    format: FileFormat,
) -> Result<Arc<dyn TableProvider>, Failure> {
    let listing = Listing::of(state.config(), path).await?;
    if listing.format() == format {
        return open_listing(state, &listing).await;
    }
    let (file, found) = (listing.files()[0].display(), listing.format());
    let failure = Failure::new(ErrorKind::User, format!("`{file}` is {found}, not {format}"));
    Err(failure.with_help(format!("read it as {found}")))
}

async fn open_listing(
    state: &SessionState,
    listing: &Listing,
) -> Result<Arc<dyn TableProvider>, Failure> {
    let partitions = if listing.is_folder() {
        partition_columns(&listing.root, &listing.files)?
    } else {
        Vec::new()
    };
    let schema = match schema_of(state, listing, listing.files()).await {
        Ok(schema) => schema,
        Err(error) => return Err(blame_file(state, listing, &error).await),
    };
    let table = if partitions.is_empty() {
        open(state, listing, schema)
    } else {
        let schema = without_partitions(listing, &schema, &partitions)?;
        open_partitioned(state, listing, schema, partitions).map(|table| Arc::new(table) as _)
    };
    table.map_err(|error| unreadable(&listing.root, listing, &error))
}

/// The columns of the files. One that the folders say too is theirs, as in Spark.
fn without_partitions(
    listing: &Listing,
    schema: &SchemaRef,
    partitions: &[(String, DataType)],
) -> Result<SchemaRef, ListingError> {
    let is_partition = |name: &String| partitions.iter().any(|(column, _)| column == name);
    let Some(twice) = schema.fields().iter().find(|field| is_partition(field.name())) else {
        return Ok(Arc::clone(schema));
    };
    if listing.format() == FileFormat::Csv {
        // Columns of CSV are told by their places.
        let (path, column) = (listing.root.clone(), twice.name().clone());
        return Err(ListingError::ColumnTwice { path, column });
    }
    let fields = schema.fields().iter().filter(|field| !is_partition(field.name())).cloned();
    let fields: Vec<FieldRef> = fields.collect();
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// The columns that these files of the listing have.
async fn schema_of(
    state: &SessionState,
    listing: &Listing,
    files: &[PathBuf],
) -> Result<SchemaRef, DataFusionError> {
    let urls = urls_of(files)?;
    let options = options(listing, state.config(), state.default_table_options());
    let store = state.runtime_env().object_store(&urls[0])?;
    let mut objects: Vec<ObjectMeta> = Vec::with_capacity(urls.len());
    for (file, url) in files.iter().zip(&urls) {
        objects.push(match listing.object(file) {
            Some(object) => object.clone(),
            None => store.head(url.prefix()).await?,
        });
    }
    if listing.format() != FileFormat::Parquet {
        objects.retain(|object| object.size > 0);
    }
    if objects.is_empty() {
        return Err(DataFusionError::Plan("the file is empty".to_owned()));
    }
    let has_header = state.config_options().catalog.has_header;
    let schema = match csv_of(options.format.as_ref(), has_header) {
        Some((csv, rows)) => undamaged(csv.columns(store.as_ref(), &objects, rows)).await,
        None => undamaged(options.format.infer_schema(state, &store, &objects)).await,
    };
    schema.ok_or_else(|| DataFusionError::Plan("the file is damaged".to_owned()))?
}

/// The dialect of a format of CSV, and the number of rows that types are inferred from; none of another format.
/// `has_header` holds where the options don't say it.
pub(crate) fn csv_of(
    format: &dyn DataFusionFormat,
    has_header: bool,
) -> Option<(CsvDialect, usize)> {
    let mut options = (format as &dyn Any).downcast_ref::<CsvFormat>()?.options().clone();
    options.has_header.get_or_insert(has_header);
    let rows = options.schema_infer_max_rec.unwrap_or(DEFAULT_SCHEMA_INFER_MAX_RECORD);
    let compression = options.compression.into();
    Some((CsvDialect::new(options, compression), rows))
}

fn urls_of(files: &[PathBuf]) -> Result<Vec<ListingTableUrl>, DataFusionError> {
    files.iter().map(|file| url_of(file, "")).collect()
}

/// A table over the files of the listing. Each is named, so that no later listing can add one.
fn open(
    state: &SessionState,
    listing: &Listing,
    schema: SchemaRef,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let options = options(listing, state.config(), state.default_table_options());
    let config = ListingTableConfig::new_with_multi_paths(urls_of(listing.files())?)
        .with_listing_options(options)
        .with_schema(schema);
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    let files = ListingTable::try_new(config)?.with_cache(cache);
    Ok(match &listing.bases {
        Some(bases) => Arc::new(ListedTable::new(files, bases.clone())),
        None => Arc::new(files),
    })
}

/// A table over a folder of partitions, which is listed when it is read. Filters choose the folders that are read.
fn open_partitioned(
    state: &SessionState,
    listing: &Listing,
    schema: SchemaRef,
    partitions: Vec<(String, DataType)>,
) -> Result<ViewTable, DataFusionError> {
    let columns = partitions.iter().map(|(name, _)| (name.clone(), DataType::Utf8)).collect();
    let options = options(listing, state.config(), state.default_table_options())
        .with_table_partition_cols(columns);
    let config = ListingTableConfig::new(url_of(&listing.root, "/")?)
        .with_listing_options(options)
        .with_schema(schema);
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    let files: Arc<dyn TableProvider> = Arc::new(ListingTable::try_new(config)?.with_cache(cache));
    let partitions: Vec<Partition> =
        partitions.into_iter().map(|(name, declared)| Partition { name, declared }).collect();
    partitioned((TableReference::bare("files"), None), &files, &partitions)
}

/// Awaits the reading of a file's schema; none if the file is damaged: a Parquet file is shorter than its
/// footer, or the reader panicked.
pub(crate) async fn undamaged<T>(
    read: impl Future<Output = Result<T, DataFusionError>>,
) -> Option<Result<T, DataFusionError>> {
    let read = AssertUnwindSafe(read).catch_unwind().await.ok()?;
    let is_whole = !read.as_ref().is_err_and(is_damaged);
    is_whole.then_some(read)
}

fn options(listing: &Listing, config: &SessionConfig, defaults: TableOptions) -> ListingOptions {
    let extension = listing.extension.text.as_str();
    let compression = FileCompressionType::from(listing.extension.compression);
    match listing.format() {
        FileFormat::Parquet => {
            let options = ParquetReadOptions { file_extension: extension, ..Default::default() };
            options.to_listing_options(config, defaults)
        }
        FileFormat::Json => JsonReadOptions::default()
            .file_extension(extension)
            .file_compression_type(compression)
            .to_listing_options(config, defaults),
        FileFormat::Csv => CsvReadOptions::new()
            .has_header(config.options().catalog.has_header)
            .newlines_in_values(config.options().catalog.newlines_in_values)
            .file_extension(extension)
            .file_compression_type(compression)
            .to_listing_options(config, defaults),
    }
}

/// The file's URL, with every byte escaped that could mean something in one: a path is always
/// taken literally, never as a glob. `end` is a slash for a folder.
fn url_of(path: &Path, end: &str) -> Result<ListingTableUrl, DataFusionError> {
    let place = path.to_str().and_then(|text| Place::of(text).ok().flatten());
    let (mut url, path) = match place {
        Some(place) => (place.store.as_str().to_owned(), PathBuf::from(place.path.as_ref())),
        None => ("file://".to_owned(), std::path::absolute(path)?),
    };
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(*byte));
            }
            _ => write!(url, "%{byte:02X}").expect("a string takes every write"),
        }
    }
    if !url.ends_with('/') {
        url.push_str(end);
    }
    ListingTableUrl::parse(url)
}

/// The error of a whole folder does not say which file it was: the first that fails alone is it.
async fn blame_file(state: &SessionState, listing: &Listing, error: &DataFusionError) -> Failure {
    for file in listing.files() {
        if let Err(error) = schema_of(state, listing, std::slice::from_ref(file)).await {
            return unreadable(file, listing, &error);
        }
    }
    unreadable(&listing.root, listing, error)
}

fn unreadable(path: &Path, listing: &Listing, error: &DataFusionError) -> Failure {
    let (path, format) = (path.display(), listing.format());
    let text = root_message(error);
    // The parser of JSON shows the whole array.
    let array = text.find(FOUND_ARRAY).map(|at| at + FOUND_ARRAY.len());
    let shown = &text[..array.unwrap_or(text.len())];
    let failure =
        Failure::new(ErrorKind::User, format!("can't read `{path}` as {format}: {shown}"));
    if array.is_none() {
        return failure;
    }
    failure.with_help(
        "a file that is one array needs ('format.newline_delimited' 'false') in the OPTIONS of CREATE \
         EXTERNAL TABLE",
    )
}

/// The parser's text for a file of JSON that is one array.
const FOUND_ARRAY: &str = "Expected JSON record to be an object, found Array";

fn root_message(error: &DataFusionError) -> String {
    let root = error.find_root();
    if let DataFusionError::ArrowError(arrow, _) = root
        && let ArrowError::CsvError(text)
        | ArrowError::JsonError(text)
        | ArrowError::ParquetError(text)
        | ArrowError::ParseError(text) = &**arrow
    {
        return text.clone();
    }
    let text = root.message().into_owned();
    if text.is_empty() { root.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn count(context: &SessionContext, table: &str) -> usize {
        context.table(table).await.expect("registered").count().await.expect("counted")
    }

    #[tokio::test]
    async fn files_and_folders_of_each_format_become_tables() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("written");
            folder.path().join(name).to_str().expect("UTF-8").to_owned()
        };
        let context = SessionContext::new();
        let csv = write("a.csv", "x,y\n1,a\n2,b\n");
        register_path(&context, "csv", &csv).await.expect("csv");
        assert_eq!(count(&context, "csv").await, 2);
        let json = write("b.ndjson", "{\"x\":1}\n{\"x\":2}\n{\"x\":3}\n");
        register_path(&context, "json", &json).await.expect("json");
        assert_eq!(count(&context, "json").await, 3);

        let inner = folder.path().join("many [*] %41");
        fs::create_dir(&inner).expect("created");
        for (name, text) in [("1.csv", "x\n1\n"), ("2.csv", "x\n2\n"), ("_note.csv", "x\n3\n")] {
            fs::write(inner.join(name), text).expect("written");
        }
        register_path(&context, "many", inner.to_str().expect("UTF-8")).await.expect("folder");
        assert_eq!(count(&context, "many").await, 2);
    }

    #[tokio::test]
    async fn a_corrupt_footer_names_its_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bad = folder.path().join("bad.parquet");
        fs::write(&bad, "this is not parquet at all").expect("written");
        let path = folder.path().to_str().expect("UTF-8");
        let context = SessionContext::new();
        let failure = register_path(&context, "t", path).await.expect_err("corrupt");
        let expected = format!("can't read `{}` as Parquet: ", bad.display());
        assert!(failure.message.starts_with(&expected), "{failure}");

        fs::write(&bad, "PAR1\x7f\x7f\x7f\x7fPAR1").expect("written");
        let failure = register_path(&context, "t", path).await.expect_err("a footer of 2 GiB");
        assert_eq!(failure.message, format!("{expected}the file is damaged"));
    }

    #[tokio::test]
    async fn a_form_that_needs_an_option_names_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.json");
        fs::write(&path, "[{\"x\": 1}, {\"x\": 2}]").expect("written");
        let path = path.to_str().expect("UTF-8");
        let failure = register_path(&SessionContext::new(), "t", path).await;
        let failure = failure.expect_err("an array");
        let option = "newline_delimited";
        assert!(failure.help.as_ref().is_some_and(|help| help.contains(option)), "{failure}");
        assert!(!failure.message.contains("Object"), "{failure}");
    }
}
