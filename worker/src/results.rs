//! The sink for the rows of a result stage when the driver is in this process: they go straight to
//! its stream, batch by batch, and are held back when it is behind.

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use gnist_common::ids::AttemptId;

/// The answer to rows of a result that is no longer read: the attempt ends as cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the result is no longer wanted")]
pub struct ResultClosed;

/// Takes the rows of result stages.
pub trait ResultSink: Send + Sync {
    /// Returns the writer for the rows of this attempt; nothing when they are to be stored as its
    /// block.
    ///
    /// A second attempt of a task whose rows were passed on already is the sink's to handle.
    fn open(&self, attempt: AttemptId, schema: SchemaRef) -> Option<Box<dyn ResultWriter>>;
}

/// Takes the rows of one attempt. Dropped without `finish`, the attempt has failed.
#[async_trait]
pub trait ResultWriter: Send {
    /// Takes a batch, or gives it back when its reader is behind.
    ///
    /// # Errors
    /// When nobody reads any more.
    fn try_push(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>, ResultClosed>;

    /// Takes a batch; waits while its reader is behind.
    ///
    /// # Errors
    /// When nobody reads any more.
    async fn push(&mut self, batch: RecordBatch) -> Result<(), ResultClosed>;

    /// The rows are complete.
    ///
    /// # Errors
    /// When nobody reads any more.
    async fn finish(self: Box<Self>) -> Result<(), ResultClosed>;
}
