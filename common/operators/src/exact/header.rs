//! Columns of CSV files by the names in their headers.
//!
//! Every file is read in the order of its own header, whatever that of the table is:
//!
//! ```text
//! header                                     read
//! all its names are columns of the table     by name; columns that it lacks are null
//! it has all columns of the table            by name; the others are left out
//! none of them, and as many                  by place: the table gives the columns other names
//! anything else                              an error that names both
//! ```

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{CsvOpener, CsvSource, FileOpenFuture, FileOpener};
use datafusion::object_store::ObjectStore;
use futures::{FutureExt as _, StreamExt as _};
use gnist_common::error::{ErrorKind, Failure};
use gnist_storage::CsvDialect;

use super::source::{csv_of, options_of};
use crate::failure::external;

/// Names of columns that an error shows.
const SHOWN_MAX: usize = 20;

/// Opens CSV files that begin with a header.
#[derive(Clone)]
pub(super) struct HeaderOpener {
    pub(super) csv: CsvSource,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) compression: FileCompressionType,
    /// The URL of the store.
    pub(super) store_url: String,
    /// The columns of the table that files have.
    pub(super) schema: SchemaRef,
    /// The places of the columns that are read, in order.
    pub(super) columns: Vec<usize>,
    pub(super) batch_rows: usize,
}

impl FileOpener for HeaderOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let this = self.clone();
        Ok(async move {
            let dialect = CsvDialect::new(options_of(&this.csv), this.compression);
            let header = dialect.header(this.store.as_ref(), &file.object_meta).await?;
            match Places::of(&header, &this.schema) {
                Places::ByName(places) => this.by_name(&places)?.open(file)?.await,
                Places::Same => this.opener(&this.schema, &this.columns)?.open(file)?.await,
                Places::Unknown => Err(this.other_columns(&header, &file)),
            }
        }
        .boxed())
    }
}

impl HeaderOpener {
    fn opener(&self, schema: &SchemaRef, columns: &[usize]) -> Result<Arc<dyn FileOpener>> {
        let csv = csv_of(&self.csv, schema, columns, self.batch_rows)?;
        Ok(Arc::new(CsvOpener::new(Arc::new(csv), self.compression, Arc::clone(&self.store))))
    }

    /// Opens files whose columns have these places in the table.
    fn by_name(&self, places: &[Option<usize>]) -> Result<Arc<dyn FileOpener>> {
        let field = |(at, place): (usize, &Option<usize>)| match place {
            Some(place) => Arc::clone(&self.schema.fields()[*place]),
            // A control character, so that no column is called so.
            None => Arc::new(Field::new(format!("\u{1}{at}"), DataType::Utf8, true)),
        };
        let in_file: Vec<_> = places.iter().enumerate().map(field).collect();
        let wanted = self.columns.iter();
        let wanted: Vec<Option<usize>> =
            wanted.map(|column| places.iter().position(|place| *place == Some(*column))).collect();
        let mut read: Vec<usize> = wanted.iter().flatten().copied().collect();
        read.sort_unstable();
        let inner = self.opener(&Arc::new(Schema::new(in_file)), &read)?;
        let schema = Arc::new(self.schema.project(&self.columns)?);
        let from = wanted.iter().map(|at| read.binary_search(&(*at)?).ok()).collect();
        Ok(Arc::new(Reordered { inner, schema, from }))
    }

    fn other_columns(
        &self,
        header: &[String],
        file: &PartitionedFile,
    ) -> datafusion::error::DataFusionError {
        let url = format!("{}{}", self.store_url, file.object_meta.location);
        let path = url.trim_start_matches("file://");
        let table: Vec<&String> = self.schema.fields().iter().map(|field| field.name()).collect();
        let (found, declared) = (listed(header.iter()), listed(table.into_iter()));
        let message = format!(
            "can't read `{path}` as CSV: its header has the columns {found}, and the table {declared}"
        );
        let is_unknown = |name: &&String| {
            !self.schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name))
        };
        let unknown: Vec<&String> = header.iter().filter(is_unknown).collect();
        let unknown = listed(unknown.into_iter());
        external(Failure::new(ErrorKind::User, message).with_help(format!(
            "the table has no {unknown}: declare the columns under the names of the header"
        )))
    }
}

/// The places in a table of the columns of a file.
#[derive(Debug, PartialEq, Eq)]
enum Places {
    /// The same as in the file.
    Same,
    /// The place of each column; none for one that the table does not have.
    ByName(Vec<Option<usize>>),
    /// The names say of some columns where they are, and not of others.
    Unknown,
}

impl Places {
    fn of(header: &[String], table: &Schema) -> Self {
        let mut places: Vec<Option<usize>> = Vec::with_capacity(header.len());
        for name in header {
            let is_free = |place: &usize| !places.contains(&Some(*place));
            let exact = table.index_of(name).ok().filter(is_free);
            let is_like = |other: &String| other.eq_ignore_ascii_case(name);
            let alike = || {
                let fields = table.fields().iter().enumerate();
                let mut alike = fields.filter(|(_, field)| is_like(field.name()));
                let (place, field) = alike.next()?;
                let is_only = alike.next().is_none() && !header.contains(field.name());
                is_only.then_some(place).filter(is_free)
            };
            places.push(exact.or_else(alike));
        }
        let (known, columns) = (places.iter().flatten().count(), table.fields().len());
        let is_same = places.iter().enumerate().all(|(at, place)| *place == Some(at));
        match known {
            _ if header.is_empty() || is_same && known == columns => Self::Same,
            known if known == header.len() || known == columns => Self::ByName(places),
            0 if header.len() == columns => Self::Same,
            _ => Self::Unknown,
        }
    }
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let count = names.len();
    let shown: Vec<String> = names.take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    match count.checked_sub(SHOWN_MAX) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Batches of some columns of a file as columns of the table.
struct Reordered {
    inner: Arc<dyn FileOpener>,
    schema: SchemaRef,
    /// The place of each column in a batch; none for one that the file lacks.
    from: Vec<Option<usize>>,
}

impl FileOpener for Reordered {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let opening = self.inner.open(file)?;
        let (schema, from) = (Arc::clone(&self.schema), self.from.clone());
        Ok(async move {
            let batches = opening.await?.map(move |batch| reordered(&batch?, &schema, &from));
            Ok(batches.boxed())
        }
        .boxed())
    }
}

fn reordered(
    batch: &RecordBatch,
    schema: &SchemaRef,
    from: &[Option<usize>],
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = from.iter().zip(schema.fields()).map(|(from, field)| match from {
        Some(at) => Arc::clone(batch.column(*at)),
        None => new_null_array(field.data_type(), rows),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_places() {
        let field = |name: &&str| Field::new(*name, DataType::Utf8, true);
        let by_name = |places: &[Option<usize>]| Places::ByName(places.to_vec());
        for (header, table, want) in [
            (vec!["a", "b"], vec!["a", "b"], Places::Same),
            (vec!["b", "a"], vec!["a", "b"], by_name(&[Some(1), Some(0)])),
            (vec!["b"], vec!["a", "b"], by_name(&[Some(1)])),
            (vec!["a"], vec!["a", "b"], by_name(&[Some(0)])),
            (vec!["a", "x", "b"], vec!["a", "b"], by_name(&[Some(0), None, Some(1)])),
            (vec!["a", "b", "x"], vec!["a", "b"], by_name(&[Some(0), Some(1), None])),
            (vec!["B", "A"], vec!["a", "b"], by_name(&[Some(1), Some(0)])),
            (vec!["A", "a"], vec!["a", "A"], by_name(&[Some(1), Some(0)])),
            (vec!["a", "A"], vec!["a"], by_name(&[Some(0), None])),
            (vec!["x", "y"], vec!["a", "b"], Places::Same),
            (vec!["a", "x"], vec!["a", "b"], Places::Unknown),
            (vec!["b", "x"], vec!["a", "b"], Places::Unknown),
            (vec!["x"], vec!["a", "b"], Places::Unknown),
            (vec![], vec!["a"], Places::Same),
        ] {
            let header: Vec<String> = header.into_iter().map(ToOwned::to_owned).collect();
            let table = Schema::new(table.iter().map(field).collect::<Vec<_>>());
            assert_eq!(Places::of(&header, &table), want, "{header:?} {table:?}");
        }
    }
}
