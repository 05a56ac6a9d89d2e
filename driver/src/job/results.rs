//! The results of a job's tasks: rows for the user, which a courier brings, and values and samples
//! for later stages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::AttemptId;
use gnist_common::protocol::{DriverToManager, ResultLocation};
use gnist_operators::block::decode_block;
use gnist_operators::failure::failure_of;
use tokio::sync::mpsc;

use super::ClusterJob;
use super::courier::Courier;
use crate::connection::Connection;
use crate::partition::Partition;
use crate::planner::DraftOutput;

/// Pauses before each try at fetching a result.
const FETCH_PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(200)];

impl ClusterJob<'_> {
    /// Takes a result that is ready: rows go to the user, values and samples into bindings.
    pub(super) async fn take_result(
        &mut self,
        attempt: AttemptId,
        location: ResultLocation,
        rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
    ) -> Result<(), Failure> {
        let stage = Some(attempt.task.stage);
        let Some(at) = self.stages.iter().position(|of| *of == stage) else { return Ok(()) };
        match self.plan.drafts[at].output {
            DraftOutput::Result => {
                // The ranges of a sort go one after the other.
                let in_order = self.plan.drafts[at].when.is_some();
                let connection = self.connection;
                let courier = self.courier.get_or_insert_with(|| {
                    Courier::start(Arc::clone(connection), rows.clone(), in_order)
                });
                courier.offer(attempt, location);
                return Ok(());
            }
            DraftOutput::Value { binding } => {
                let Some(batches) = self.fetch(attempt, location).await? else { return Ok(()) };
                if self.values[binding].is_none() {
                    self.values[binding] = Some(self.single_value(binding, &batches)?);
                }
            }
            DraftOutput::Sample { sort } => {
                let Some(batches) = self.fetch(attempt, location).await? else { return Ok(()) };
                self.samples.entry(at).or_default().add(attempt.task.partition, batches);
                self.choose_split_points(at, sort)?;
            }
            DraftOutput::Exchange | DraftOutput::Broadcast => {}
        }
        self.submit_ready().await
    }

    /// Binds the split points of a sort once all samples are there.
    fn choose_split_points(&mut self, at: usize, sort: usize) -> Result<(), Failure> {
        let (draft, sort) = (&self.plan.drafts[at], &self.plan.sorts[sort]);
        let samples = &self.samples[&at];
        if samples.tasks() < draft.tasks as usize || self.values[sort.first_point].is_some() {
            return Ok(());
        }
        let points = samples.split_points(sort, &draft.plan.schema());
        let points = points.map_err(|error| failure_of(&error))?;
        for (ordinal, value) in (sort.first_point..).zip(points.into_iter().flatten()) {
            self.values[ordinal] = Some(value);
        }
        Ok(())
    }

    /// All rows of a value or a sample, or nothing when its worker has just been lost: then it is
    /// computed and announced again.
    async fn fetch(
        &self,
        attempt: AttemptId,
        location: ResultLocation,
    ) -> Result<Option<Vec<RecordBatch>>, Failure> {
        let is_held = matches!(location, ResultLocation::Worker { .. });
        let Some(mut partition) = fetch_partition(self.connection, attempt, location).await? else {
            self.connection.say(DriverToManager::ResultMissing { attempt }).await?;
            return Ok(None);
        };
        if is_held {
            self.connection.say(DriverToManager::ResultTaken { attempt }).await?;
        }
        let mut batches = Vec::new();
        while let Some(batch) = partition.next().await? {
            batches.push(batch);
        }
        Ok(Some(batches))
    }

    /// The value of a scalar subquery: no row is null, two rows are an error.
    fn single_value(
        &self,
        binding: usize,
        batches: &[RecordBatch],
    ) -> Result<ScalarValue, Failure> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let draft =
            self.plan.drafts.iter().find(|draft| draft.output == DraftOutput::Value { binding });
        let schema = draft.expect("a bound value has a draft").plan.schema();
        let value = match rows {
            0 => ScalarValue::try_from(schema.field(0).data_type()),
            1 => {
                let batch = batches.iter().find(|batch| batch.num_rows() == 1);
                ScalarValue::try_from_array(batch.expect("one row").column(0), 0)
            }
            _ => {
                let message = "a scalar subquery returned more than one row";
                return Err(Failure::new(ErrorKind::User, message)
                    .with_help("add an aggregate, a filter or `LIMIT 1` to the subquery"));
            }
        };
        value.map_err(|error| failure_of(&error))
    }
}

/// The rows of a result, or nothing when its worker does not have them: then they are to be computed
/// again. A worker that is gone is the manager's to notice, and it says so anyway.
pub(super) async fn fetch_partition(
    connection: &Connection,
    attempt: AttemptId,
    location: ResultLocation,
) -> Result<Option<Partition>, Failure> {
    let (worker, address) = match location {
        ResultLocation::Inline(bytes) if bytes.is_empty() => return Ok(Some(Partition::default())),
        ResultLocation::Inline(bytes) => {
            let batches = decode_block(&Bytes::from(bytes)).map_err(|error| {
                let message = format!("decoding a result: {error}");
                Failure::new(ErrorKind::Internal, message).at_attempt(attempt)
            })?;
            return Ok(Some(Partition::of(batches)));
        }
        ResultLocation::Worker { bytes: 0, .. } => return Ok(Some(Partition::default())),
        ResultLocation::Worker { worker, address, .. } => (worker, address),
    };
    for pause in FETCH_PAUSES {
        tokio::time::sleep(pause).await;
        let fetcher = connection.fetcher();
        match fetcher.fetch_unless_lost(worker, &address, attempt.block(0)).await {
            None => return Ok(None),
            Some(Ok(partition)) => return Ok(Some(partition)),
            Some(Err(failure)) if failure.kind == ErrorKind::DiskFull => return Err(failure),
            Some(Err(failure)) => tracing::warn!(%attempt, %failure, "a result was not fetched"),
        }
    }
    Ok(None)
}
