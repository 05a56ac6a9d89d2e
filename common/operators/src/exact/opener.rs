//! Files that are opened wide, and whose rows are made narrow.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener};
use futures::{FutureExt as _, StreamExt as _};
use gnist_common::error::{ErrorKind, Failure};

use super::Format;
use super::narrow::narrowed;
use crate::failure::external;

/// The next step when a file does not hold what its columns say.
pub(super) const HELP: &str = "declare the columns with CREATE EXTERNAL TABLE, or have their types \
     inferred from more rows: OPTIONS ('format.schema_infer_max_rec' '1000000')";

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
            Err(error) => match text_of(&error) {
                Some(text) => {
                    let path = self.path(&file);
                    let again =
                        if self.wide.is_some() { self.first_error(file).await } else { None };
                    Err(self.unreadable(&again.unwrap_or(text), &path))
                }
                None => Err(error),
            },
        }
    }

    /// The error of a file that can't be opened, with its name.
    fn named(&self, error: DataFusionError, file: &PartitionedFile) -> DataFusionError {
        match text_of(&error) {
            Some(text) => self.unreadable(&text, &self.path(file)),
            None => error,
        }
    }

    /// The path of a file as the user knows it.
    fn path(&self, file: &PartitionedFile) -> String {
        let url = format!("{}{}", self.store, file.object_meta.location);
        url.trim_start_matches("file://").to_owned()
    }

    /// The first fault of what a file holds, as it is read without widening.
    async fn first_error(&self, file: PartitionedFile) -> Option<String> {
        let mut batches = self.plain.open(file).ok()?.await.ok()?;
        loop {
            if let Err(error) = batches.next().await? {
                return text_of(&error);
            }
        }
    }

    fn unreadable(&self, text: &str, path: &str) -> DataFusionError {
        let message = format!("can't read `{path}` as {}: {text}", self.format.name());
        external(Failure::new(ErrorKind::User, message).with_help(HELP))
    }
}

/// The text of an error that is about what a file holds, not about getting at it.
fn text_of(error: &DataFusionError) -> Option<String> {
    let DataFusionError::ArrowError(error, _) = error.find_root() else { return None };
    match &**error {
        ArrowError::JsonError(text)
        | ArrowError::CsvError(text)
        | ArrowError::ParseError(text)
        | ArrowError::InvalidArgumentError(text) => Some(text.clone()),
        _ => None,
    }
}
