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

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It has stages that have not ended, or may get more.
    Running,
    /// It has a result.
    Finished,
    /// It has none, and says why.
    Failed,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// Its id, `app-7.job-3`.
    #[serde(serialize_with = "display")]
    pub id: JobId,
    /// Its ordinal within the application.
    pub job: u32,
    /// How far it is.
    pub state: JobState,
    /// When its first stages came.
    #[serde(serialize_with = "display")]
    pub submitted_at: WallTime,
    /// When it ended.
    #[serde(serialize_with = "display_option")]
    pub ended_at: Option<WallTime>,
    /// Why it failed.
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

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    /// Nothing of it was launched yet.
    Waiting,
    /// Some of it was launched.
    Running,
    /// It is complete.
    Finished,
}

/// How a number is spread over the tasks of a stage.
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
    /// Those of some values (nearest rank); nothing of none.
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
    /// Its id, `app-7.job-3.stage-1`.
    #[serde(serialize_with = "display")]
    pub id: StageId,
    /// Its ordinal within the job.
    pub stage: u32,
    /// A line for people.
    pub label: String,
    /// How far it is.
    pub state: StageState,
    /// Its tasks.
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
    /// Of those, bytes that came from another worker.
    pub fetched_bytes: u64,
    /// Bytes written to disk for want of memory.
    pub spill_bytes: u64,
    /// Most memory that one attempt held.
    pub peak_memory_bytes: u64,
    /// Run times of the attempts that succeeded, in microseconds.
    pub run_us: Option<Quantiles>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// It was launched.
    Running,
    /// It succeeded.
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
    /// It panicked.
    Panic,
    /// It was told to stop.
    Cancelled,
    /// Its worker is gone.
    WorkerLost,
}

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// Its id, `app-7.job-3.stage-1.part-12#2`.
    #[serde(serialize_with = "display")]
    pub id: AttemptId,
    /// Which task of the stage.
    pub partition: u32,
    /// Which try.
    pub attempt: u32,
    /// Where it ran.
    #[serde(serialize_with = "display")]
    pub worker: WorkerId,
    /// How far it is, or how it ended.
    pub state: AttemptState,
    /// When it was launched.
    #[serde(serialize_with = "display")]
    pub launched_at: WallTime,
    /// When its end was heard of.
    #[serde(serialize_with = "display_option")]
    pub ended_at: Option<WallTime>,
    /// Its run time on the executor.
    pub run_us: Option<u64>,
    /// Rows it put out.
    pub output_rows: Option<u64>,
    /// Bytes it put out.
    pub output_bytes: Option<u64>,
    /// Why it failed.
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
