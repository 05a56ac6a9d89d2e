//! Files that are opened wide, and whose rows are made narrow.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener};
use datafusion::object_store;
use futures::{FutureExt as _, StreamExt as _};
use gnist_common::error::{ErrorKind, Failure};

use super::Format;
use super::narrow::narrowed;
use crate::failure::external;

/// The next step when a file does not hold what its columns say.
pub(super) const HELP: &str = "declare the columns with CREATE EXTERNAL TABLE, or have their types \
     inferred from more rows: OPTIONS ('format.schema_infer_max_rec' '1000000')";

/// The next step when a compressed file can't be read.
const PACKED_HELP: &str = "the file is cut, or compressed in another way than its name or the option \
     `compression` says";

/// Opens files of one scan.
#[derive(Clone)]
pub(super) struct ExactOpener {
    /// Opens them with wider columns, if there are any.
    pub(super) wide: Option<Arc<dyn FileOpener>>,
    /// Opens them as declared. Its errors name the declared types.
    pub(super) plain: Arc<dyn FileOpener>,
    /// The declared columns, as far as they are read.
    pub(super) schema: SchemaRef,
    /// The URL of the store.
    pub(super) store: String,
    pub(super) format: Format,
}

impl FileOpener for ExactOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let opening = self.wide.as_ref().unwrap_or(&self.plain).open(file.clone())?;
        let this = self.clone();
        let rows = async move {
            let batches = match opening.await {
                Ok(batches) => batches,
                Err(error) => return Err(this.named(error, &file)),
            };
            let batches = batches.then(move |batch| {
                let (this, file) = (this.clone(), file.clone());
                async move { this.narrowed(batch, file).await }
            });
            Ok(batches.boxed())
        };
        Ok(rows.boxed())
    }
}

impl ExactOpener {
    async fn narrowed(
        &self,
        batch: Result<RecordBatch>,
        file: PartitionedFile,
    ) -> Result<RecordBatch> {
        match batch {
            Ok(batch) if self.wide.is_none() => Ok(batch),
            Ok(batch) => narrowed(&batch, &self.schema, &self.path(&file)),
            Err(error) => match fault_of(&error) {
                Some(fault) => {
                    let path = self.path(&file);
                    let again =
                        if self.wide.is_some() { self.first_error(file).await } else { None };
                    Err(self.unreadable(&again.unwrap_or(fault), &path))
                }
                None => Err(error),
            },
        }
    }

    /// The error of a file that can't be opened, with its name.
    fn named(&self, error: DataFusionError, file: &PartitionedFile) -> DataFusionError {
        match fault_of(&error) {
            Some(fault) => self.unreadable(&fault, &self.path(file)),
            None => error,
        }
    }

    /// The path of a file as the user knows it.
    fn path(&self, file: &PartitionedFile) -> String {
        let url = format!("{}{}", self.store, file.object_meta.location);
        url.trim_start_matches("file://").to_owned()
    }

    /// The first fault of what a file holds, as it is read without widening.
    async fn first_error(&self, file: PartitionedFile) -> Option<Fault> {
        let mut batches = self.plain.open(file).ok()?.await.ok()?;
        loop {
            if let Err(error) = batches.next().await? {
                return fault_of(&error);
            }
        }
    }

    fn unreadable(&self, fault: &Fault, path: &str) -> DataFusionError {
        let Fault { text, help } = fault;
        let message = format!("can't read `{path}` as {}: {text}", self.format.name());
        external(Failure::new(ErrorKind::User, message).with_help(*help))
    }
}

/// A fault of what a file holds.
struct Fault {
    text: String,
    help: &'static str,
}

/// The fault that an error tells; none for an error of getting at the file.
fn fault_of(error: &DataFusionError) -> Option<Fault> {
    let of_text = |text: &String| Fault { text: text.clone(), help: HELP };
    match error.find_root() {
        DataFusionError::IoError(error) => packed(error),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::JsonError(text)
            | ArrowError::CsvError(text)
            | ArrowError::ParseError(text)
            | ArrowError::InvalidArgumentError(text) => Some(of_text(text)),
            ArrowError::IoError(_, error) => packed(error),
            _ => None,
        },
        _ => None,
    }
}

/// The fault of a compressed file that can't be read; none if it is the store that failed on the way.
fn packed(error: &std::io::Error) -> Option<Fault> {
    let of_store = error
        .get_ref()
        .is_some_and(|inner| inner.is::<DataFusionError>() || inner.is::<object_store::Error>());
    let text = error.to_string();
    (!of_store).then_some(Fault { text, help: PACKED_HELP })
}
