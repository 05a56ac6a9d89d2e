//! Jobs, stages and tasks as `/api/v1` serves them. Workers and applications, which the command
//! line prints too, are in `gnist_proto::view`.
//!
//! Field names and values are a contract with users; fields may be added, none renamed.

use gnist_common::ids::{AttemptId, JobId, StageId, WorkerId};
use gnist_common::time::WallTime;
use gnist_proto::view::{display, display_option};
use serde::Serialize;

pub use gnist_proto::view::{
    ApplicationState, ApplicationView, ClusterState, WorkerState, WorkerView,
};

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// The job has stages that have not ended, or may get more.
    Running,
    /// The job has a result.
    Finished,
    /// The job has no result, and `error` says why.
    Failed,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// The id, `app-7.job-3`.
    #[serde(serialize_with = "display")]
    pub id: JobId,
    /// The ordinal within the application.
    pub job: u32,
    /// The state that it is in.
    pub state: JobState,
    /// Time when its first stages came.
    #[serde(serialize_with = "display")]
    pub submitted_at: WallTime,
    /// Time when it ended.
    #[serde(serialize_with = "display_option")]
    pub ended_at: Option<WallTime>,
    /// The reason, if it failed.
    pub error: Option<String>,
    /// Stages submitted so far.
    pub stages: u32,
    /// Tasks of those stages.
    pub tasks: u32,
    /// Attempts launched.
    pub attempts: u32,
    /// Tasks that ran again because what they had made was lost; known at the end.
    pub recomputed: Option<u32>,
    /// Workers lost while it ran; known at the end.
    pub workers_lost: Option<u32>,
}

/// The state of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    /// No attempt was launched yet.
    Waiting,
    /// Some of it was launched.
    Running,
    /// The stage is complete.
    Finished,
}

/// The spread of a number over the tasks of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min: u64,
    /// A quarter is below this.
    pub p25: u64,
    /// Half is below this.
    pub median: u64,
    /// Three quarters are below this.
    pub p75: u64,
    /// All but the twentieth part are below this.
    pub p95: u64,
    /// The most.
    pub max: u64,
}

impl Quantiles {
    /// Returns the quantiles of some values (nearest rank); nothing if there are no values.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let last = values.len().checked_sub(1)?;
        let at = |percent: usize| values[last * percent / 100];
        Some(Self {
            min: at(0),
            p25: at(25),
            median: at(50),
            p75: at(75),
            p95: at(95),
            max: at(100),
        })
    }
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageView {
    /// The id, `app-7.job-3.stage-1`.
    #[serde(serialize_with = "display")]
    pub id: StageId,
    /// The ordinal within the job.
    pub stage: u32,
    /// A line for people.
    pub label: String,
    /// The state that it is in.
    pub state: StageState,
    /// Tasks in all.
    pub tasks: u32,
    /// Attempts that run now.
    pub running: u32,
    /// Attempts that succeeded.
    pub succeeded: u32,
    /// Attempts that ended otherwise, but for those that were told to stop.
    pub failed: u32,
    /// Rows out of the attempts that succeeded.
    pub output_rows: u64,
    /// Bytes out of the attempts that succeeded.
    pub output_bytes: u64,
    /// Rows read from other stages by them.
    pub input_rows: u64,
    /// Bytes read from other stages by them.
    pub input_bytes: u64,
    /// Bytes among those that came from another worker.
    pub fetched_bytes: u64,
    /// Bytes written to disk for want of memory.
    pub spill_bytes: u64,
    /// The most memory that one attempt held, in bytes.
    pub peak_memory_bytes: u64,
    /// Run times of the attempts that succeeded, in microseconds.
    pub run_us: Option<Quantiles>,
}

/// The state of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// The attempt was launched and has not ended.
    Running,
    /// The attempt succeeded.
    Done,
    /// Input blocks were missing.
    BlocksMissing,
    /// Input blocks could not be fetched.
    FetchFailed,
    /// Storage or network trouble.
    Transient,
    /// The memory budget refused it.
    OutOfMemory,
    /// The worker's disk refused.
    DiskFull,
    /// The user's error.
    User,
    /// The attempt panicked.
    Panic,
    /// The attempt was told to stop.
    Cancelled,
    /// The worker of the attempt is gone.
    WorkerLost,
}

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// The id, `app-7.job-3.stage-1.part-12#2`.
    #[serde(serialize_with = "display")]
    pub id: AttemptId,
    /// The index of the task in its stage.
    pub partition: u32,
    /// The number of the attempt among those at the same task, from 0.
    pub attempt: u32,
    /// The worker that ran it.
    #[serde(serialize_with = "display")]
    pub worker: WorkerId,
    /// The state that it is in.
    pub state: AttemptState,
    /// Time when it was launched.
    #[serde(serialize_with = "display")]
    pub launched_at: WallTime,
    /// Time when the manager heard of its end.
    #[serde(serialize_with = "display_option")]
    pub ended_at: Option<WallTime>,
    /// Run time on the executor, in microseconds.
    pub run_us: Option<u64>,
    /// Rows it put out.
    pub output_rows: Option<u64>,
    /// Bytes it put out.
    pub output_bytes: Option<u64>,
    /// The reason, if it failed.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(Quantiles::of(Vec::new()), None);
        let one = Quantiles::of(vec![5]).expect("one value");
        assert_eq!((one.min, one.median, one.max), (5, 5, 5));
        let many = Quantiles::of((1..=101).rev().collect()).expect("values");
        assert_eq!((many.min, many.p25, many.median, many.p95, many.max), (1, 26, 51, 96, 101));
    }
}
