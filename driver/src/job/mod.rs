//! One job from its drafts to its rows: submits what can be planned, binds what comes back,
//! delivers results as they become ready.
//!
//! ```text
//! drafts without values ──submit──▶ manager ──ResultReady(value)──▶ bind ──submit the rest──▶ …
//!                                           ──StageFinished(runs)─▶ a small or a large sort ──▶ …
//!                                           ──ResultReady(rows)───▶ courier ──▶ stream
//!                                           ──JobEnded────────────▶ end of the stream
//! ```

mod courier;
mod results;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{ContentHash, ProgramKind, ProgramRef, Stage, StageInput, StageOutput};
use gnist_common::ids::StageId;
use gnist_common::protocol::{ManagerToDriver, StageSummary};
use gnist_operators::bindings::Bindings;
use gnist_operators::failure::failure_of;
use gnist_storage::commit::WriteId;
use tokio::sync::mpsc;

use self::courier::Courier;
use crate::connection::{Connection, manager_gone};
use crate::content::Put;
use crate::inbox::JobInbox;
use crate::planner::{DraftOutput, JobPlan, StageDraft};
use crate::result::JobReport;
use crate::split_points::{self, Samples};

/// Jobs that one query may become.
const JOBS_MAX: u32 = 4;

/// The parts from which a job starts.
pub(crate) struct JobStart {
    pub(crate) plan: JobPlan,
    /// The settings of the user, which executors have to set too.
    pub(crate) settings: Vec<(String, String)>,
    /// Runs above which a sort is one of ranges.
    pub(crate) sort_threshold: ByteSize,
    /// True if every operator is measured.
    pub(crate) is_measured: bool,
    /// The write whose files the job makes, if it makes any.
    pub(crate) write: Option<WriteId>,
}

/// Runs a job; rows go to `rows`, in order within a partition. A job whose values came of rows
/// that are lost and can't be made again the same is started over as another, as long as no row
/// of it is out.
///
/// # Errors
/// The job's failure. A job that is left before its end is cancelled: when the receiver of `rows` is
/// gone, and when the driver can't go on.
pub(crate) async fn run(
    connection: &Arc<Connection>,
    mut inbox: JobInbox,
    start: &JobStart,
    rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
) -> Result<JobReport, Failure> {
    let mut jobs = 1;
    loop {
        let mut job = ClusterJob::new(connection, inbox, start);
        let outcome = job.run(rows).await;
        let is_out = job.stop().await;
        match outcome {
            Err(failure)
                if failure.kind == ErrorKind::Contradicted && !is_out && jobs < JOBS_MAX =>
            {
                tracing::warn!(job = %job.inbox.job, %failure, "a job is started over");
                jobs += 1;
                inbox = connection.open_job();
            }
            outcome => return outcome,
        }
    }
}

/// A running job of a cluster.
struct ClusterJob<'a> {
    connection: &'a Arc<Connection>,
    inbox: JobInbox,
    start: &'a JobStart,
    plan: &'a JobPlan,
    /// The seed of the job's random numbers.
    seed: u64,
    /// Values of bindings, as they become known.
    values: Vec<Option<ScalarValue>>,
    /// Stage of every submitted draft.
    stages: Vec<Option<StageId>>,
    submitted: u32,
    /// True if the runs of a sort are larger than the threshold, by the draft of the runs; absent
    /// until they are made.
    is_large: BTreeMap<usize, bool>,
    /// Samples of sorts, by the draft that takes them.
    samples: BTreeMap<usize, Samples>,
    /// Brings the result to its reader, once some of it is ready.
    courier: Option<Courier>,
    /// Summaries of finished stages, each of the stage's last run.
    finished: BTreeMap<StageId, StageSummary>,
    /// Content that the job's tasks may pull: kept until it ends.
    content: Vec<Arc<Put>>,
}

/// Different for every job: the standard library seeds its hashers so.
fn new_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

impl<'a> ClusterJob<'a> {
    fn new(connection: &'a Arc<Connection>, inbox: JobInbox, start: &'a JobStart) -> Self {
        let plan = &start.plan;
        Self {
            is_large: BTreeMap::new(),
            samples: BTreeMap::new(),
            seed: new_seed(),
            connection,
            inbox,
            values: vec![None; plan.bindings],
            stages: vec![None; plan.drafts.len()],
            submitted: 0,
            courier: None,
            finished: BTreeMap::new(),
            content: Vec::new(),
            plan,
            start,
        }
    }

    /// Runs the job once, for [`run`].
    async fn run(
        &mut self,
        rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
    ) -> Result<JobReport, Failure> {
        self.submit_ready().await?;
        loop {
            let message = tokio::select! {
                message = self.inbox.next() => message.ok_or_else(manager_gone)?,
                failure = failed(self.courier.as_mut()) => return Err(failure),
                () = rows.closed() => {
                    return Err(abandoned());
                }
            };
            match message {
                ManagerToDriver::ResultReady { attempt, location, .. } => {
                    self.take_result(attempt, location, rows).await?;
                }
                ManagerToDriver::JobEnded { outcome, stats, .. } => {
                    outcome?;
                    self.finish(rows).await?;
                    let stages = std::mem::take(&mut self.finished).into_values().collect();
                    let drafts = std::mem::take(&mut self.stages);
                    return Ok(JobReport { stats, stages, drafts });
                }
                ManagerToDriver::StageFinished(summary) => {
                    self.look_at_size(&summary);
                    self.finished.insert(summary.stage, summary);
                    self.submit_ready().await?;
                }
                ManagerToDriver::Progress { .. }
                | ManagerToDriver::WorkerLost { .. }
                | ManagerToDriver::ApplicationOpened { .. } => {}
            }
        }
    }

    /// Waits until the reader has every row of a job that has ended well.
    async fn finish(
        &mut self,
        rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
    ) -> Result<(), Failure> {
        let Some(courier) = &mut self.courier else { return Ok(()) };
        tokio::select! {
            finished = courier.finish() => finished,
            () = rows.closed() => Err(abandoned()),
        }
    }

    /// Stops delivering, and says whether rows are out.
    async fn stop(&mut self) -> bool {
        match &mut self.courier {
            Some(courier) => courier.stop().await,
            None => false,
        }
    }

    /// Submits every draft whose inputs are submitted and whose values and conditions are known.
    async fn submit_ready(&mut self) -> Result<(), Failure> {
        let mut batch = Vec::new();
        for at in 0..self.plan.drafts.len() {
            if self.stages[at].is_none() && self.is_ready(at) {
                let stage = self.publish(at).await?;
                batch.push(stage);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut drafts = 0..self.plan.drafts.len();
        let sealed = drafts.all(|at| self.stages[at].is_some() || self.is_there(at) == Some(false));
        self.connection.submit(&mut self.inbox, batch, sealed).await
    }

    fn is_ready(&self, at: usize) -> bool {
        let draft = &self.plan.drafts[at];
        draft.inputs.iter().all(|(input, _)| self.stages[*input].is_some())
            && draft.values.iter().all(|value| self.values[*value].is_some())
            && self.is_there(at) == Some(true)
    }

    /// True if the job has this draft; none as long as that is not known.
    fn is_there(&self, at: usize) -> Option<bool> {
        match self.plan.drafts[at].when {
            Some(when) => Some(*self.is_large.get(&when.stage)? == when.is_large),
            None => Some(true),
        }
    }

    /// Decides how a sort goes on, its runs being there. A second run of theirs changes nothing.
    fn look_at_size(&mut self, summary: &StageSummary) {
        for sort in &self.plan.sorts {
            if self.stages[sort.runs] == Some(summary.stage) {
                let bytes: u64 = summary.bytes.iter().sum();
                let rows: u64 = summary.rows.iter().sum();
                let is_large = bytes > self.start.sort_threshold.0;
                self.is_large.entry(sort.runs).or_insert(is_large);
                let stride = ScalarValue::UInt64(Some(split_points::stride(sort, rows)));
                self.values[sort.stride].get_or_insert(stride);
            }
        }
    }

    /// Puts a draft's program and bindings, and gives it its id.
    async fn publish(&mut self, at: usize) -> Result<Stage, Failure> {
        let id = self.inbox.job.stage(self.submitted);
        let draft = &self.plan.drafts[at];
        let program = self.connection.contents().put(draft.program.clone());
        let (program, (bindings, used)) = tokio::try_join!(program, self.put_bindings(at))?;
        let hash = program.hash;
        self.content.push(program);
        self.content.extend(used);
        let inputs = draft.inputs.iter().map(|(input, mode)| StageInput {
            stage: self.stages[*input].expect("inputs are submitted first"),
            mode: *mode,
        });
        let stage = Stage {
            id,
            label: label_of(draft),
            program: ProgramRef {
                hash,
                kind: ProgramKind::Plan,
                length_bytes: draft.program.len() as u64,
            },
            bindings,
            tasks: draft.tasks,
            slots_per_task: 1,
            inputs: inputs.collect(),
            output: stage_output(draft),
            repeatability: draft.repeatability,
        };
        self.stages[at] = Some(id);
        self.submitted += 1;
        Ok(stage)
    }

    /// Puts the bindings of a draft, if it has any, and the rows that they name. Returns the name
    /// of the bindings, and all that has to stay.
    async fn put_bindings(
        &self,
        at: usize,
    ) -> Result<(Option<ContentHash>, Vec<Arc<Put>>), Failure> {
        let draft = &self.plan.drafts[at];
        let needed = &draft.values;
        // The result of a job that writes is receipts.
        let write = self.start.write.filter(|_| draft.output == DraftOutput::Result);
        let is_bound =
            !needed.is_empty() || !draft.scanned.is_empty() || draft.is_volatile || write.is_some();
        let is_measured = self.start.is_measured;
        if !is_bound && self.start.settings.is_empty() && !is_measured {
            return Ok((None, Vec::new()));
        }
        let value = |ordinal: usize| match needed.binary_search(&ordinal) {
            Ok(_) => self.values[ordinal].clone().expect("a ready draft's values are known"),
            Err(_) => ScalarValue::Null,
        };
        let values = (0..self.plan.bindings).map(value).collect();
        let (mut sources, mut used) = (Vec::with_capacity(draft.scanned.len()), Vec::new());
        let contents = self.connection.contents();
        for scanned in &draft.scanned {
            sources.push(self.connection.tables().bind(scanned, contents, &mut used).await?);
        }
        // Without a use for it the seed would only keep equal bindings apart.
        let seed = if draft.is_volatile { self.seed } else { 0 };
        let settings = self.start.settings.clone();
        let bindings = Bindings { values, settings, seed, sources, is_measured, write };
        let bytes = bindings.encode().map_err(|error| failure_of(&error))?;
        let put = contents.put(bytes).await?;
        let hash = put.hash;
        used.push(put);
        Ok((Some(hash), used))
    }
}

/// The failure of a job whose reader is gone.
pub(crate) fn abandoned() -> Failure {
    Failure::new(ErrorKind::Cancelled, "nobody reads the result")
}

/// Waits for a failure of the courier, for ever while there is none.
async fn failed(courier: Option<&mut Courier>) -> Failure {
    match courier {
        Some(courier) => courier.failed().await,
        None => std::future::pending().await,
    }
}

fn stage_output(draft: &StageDraft) -> StageOutput {
    match draft.output {
        DraftOutput::Exchange => StageOutput::Shuffle {
            partitions: u32::try_from(draft.placement.partitions()).expect("partitions are u32"),
        },
        DraftOutput::Broadcast => StageOutput::Broadcast,
        DraftOutput::Value { .. } | DraftOutput::Sample { .. } => StageOutput::Value,
        DraftOutput::Result => StageOutput::Result,
    }
}

/// The operator at the top of a stage, for people.
fn label_of(draft: &StageDraft) -> String {
    draft.plan.name().to_owned()
}

#[cfg(test)]
mod tests;
