//! The rows of a job as they arrive, and what the job cost.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt};
use gnist_common::error::Failure;
use gnist_common::ids::StageId;
use gnist_common::protocol::{JobStats, StageSummary};
use tokio::sync::mpsc;

/// Batches that wait for a slow reader.
pub(crate) const BATCHES_WAITING_MAX: usize = 16;

/// The counts of a finished job.
#[derive(Clone, Debug, Default)]
pub struct JobReport {
    /// Counts of the whole job.
    pub stats: JobStats,
    /// The counts of each stage, by stage ordinal; of a stage that was rolled back, those of its
    /// last run.
    pub stages: Vec<StageSummary>,
    /// The stage of every draft of the plan, if it came to be.
    pub(crate) drafts: Vec<Option<StageId>>,
}

/// The rows of one statement. Dropping it cancels its job.
pub struct ResultStream {
    schema: SchemaRef,
    rows: Rows,
    report: Arc<OnceLock<JobReport>>,
}

enum Rows {
    Job(mpsc::Receiver<Result<RecordBatch, Failure>>),
    Ready(std::vec::IntoIter<RecordBatch>),
}

impl ResultStream {
    pub(crate) fn of_job(
        schema: SchemaRef,
        rows: mpsc::Receiver<Result<RecordBatch, Failure>>,
        report: Arc<OnceLock<JobReport>>,
    ) -> Self {
        Self { schema, rows: Rows::Job(rows), report }
    }

    pub(crate) fn ready(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, rows: Rows::Ready(batches.into_iter()), report: Arc::default() }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Returns the counts of the job; known when the stream has ended well, and never for
    /// statements that run in the driver.
    pub fn report(&self) -> Option<&JobReport> {
        self.report.get()
    }

    /// All rows.
    ///
    /// # Errors
    /// The job's failure.
    pub async fn collect(&mut self) -> Result<Vec<RecordBatch>, Failure> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl Stream for ResultStream {
    type Item = Result<RecordBatch, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.rows {
            Rows::Job(rows) => rows.poll_recv(context),
            Rows::Ready(batches) => Poll::Ready(batches.next().map(Ok)),
        }
    }
}
