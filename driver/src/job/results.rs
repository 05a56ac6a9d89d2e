//! What comes back from a job's tasks: rows for the user, values and samples for later stages.

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
use crate::fetch::fetch_block;
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
                self.waiting.insert(attempt.task.partition, (attempt, location));
                return self.deliver(at, rows).await;
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

    /// Delivers what is ready: the ranges of a sort one after the other, others as they come.
    async fn deliver(
        &mut self,
        at: usize,
        rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
    ) -> Result<(), Failure> {
        let in_order = self.plan.drafts[at].when.is_some();
        while let Some((partition, (attempt, location))) = self.waiting.pop_first() {
            let next = u32::try_from(self.delivered.len()).expect("partition counts are u32");
            if in_order && partition > next {
                self.waiting.insert(partition, (attempt, location));
                return Ok(());
            }
            if self.delivered.contains(&partition) {
                // Its worker was lost before the manager heard that the rows are here.
                self.connection.say(DriverToManager::ResultTaken { attempt }).await?;
                continue;
            }
            let Some(batches) = self.fetch(attempt, location).await? else { continue };
            self.delivered.insert(partition);
            for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
                // A closed receiver is noticed, and the job cancelled, in `run`.
                let _ = rows.send(Ok(batch)).await;
            }
        }
        Ok(())
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

    /// The rows of a result, or nothing when its worker has just been lost: then the partition is
    /// computed and announced again.
    async fn fetch(
        &self,
        attempt: AttemptId,
        location: ResultLocation,
    ) -> Result<Option<Vec<RecordBatch>>, Failure> {
        let bytes = match location {
            ResultLocation::Inline(bytes) => Bytes::from(bytes),
            ResultLocation::Worker { bytes: 0, .. } => {
                self.connection.say(DriverToManager::ResultTaken { attempt }).await?;
                return Ok(Some(Vec::new()));
            }
            ResultLocation::Worker { address, .. } => {
                return self.fetch_from(&address, attempt).await;
            }
        };
        if bytes.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let decoded = decode_block(&bytes).map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("decoding a result: {error}"))
                .at_attempt(attempt)
        })?;
        Ok(Some(decoded))
    }

    /// Fetches and checks a result block; the manager hears whether it is here or has to be
    /// computed again. A worker that is gone is the manager's to notice: then it says so anyway.
    async fn fetch_from(
        &self,
        address: &str,
        attempt: AttemptId,
    ) -> Result<Option<Vec<RecordBatch>>, Failure> {
        for pause in FETCH_PAUSES {
            tokio::time::sleep(pause).await;
            let fetched = fetch_block(address, attempt.block(0)).await;
            match fetched.map(|bytes| decode_block(&bytes)) {
                Ok(Ok(batches)) => {
                    self.connection.say(DriverToManager::ResultTaken { attempt }).await?;
                    return Ok(Some(batches));
                }
                Ok(Err(error)) => tracing::warn!(%attempt, %error, "a result came damaged"),
                Err(failure) => tracing::warn!(%attempt, %failure, "a result was not fetched"),
            }
        }
        self.connection.say(DriverToManager::ResultMissing { attempt }).await?;
        Ok(None)
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
