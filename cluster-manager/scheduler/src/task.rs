//! A task at run time: where it is in its life, and what its winner made.

use gnist_common::ids::WorkerId;
use gnist_common::task::{OperatorMetrics, TaskMetrics};
use gnist_common::time::Time;

use crate::sizes::Sizes;

/// One task.
#[derive(Debug, Default)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    /// Number of the next attempt, never reused.
    pub(crate) next_attempt: u32,
    /// Counted failures.
    pub(crate) failures: u32,
    /// Ends that were not its fault.
    pub(crate) uncounted: u32,
    /// It panicked once.
    pub(crate) panicked: bool,
    /// It ran out of memory once, and runs with nothing else on its worker from now on.
    pub(crate) alone: bool,
    /// The worker it last failed on.
    pub(crate) avoid: Option<WorkerId>,
    pub(crate) recomputed: Recomputed,
    /// Rows per output partition of the winner that was lost, to hold the next one to.
    pub(crate) rows_before: Option<Sizes>,
}

/// Where a task is in its life; see the drawing in `lib.rs`.
#[derive(Debug, Default)]
pub(crate) enum TaskState {
    /// Wanted; runs when the stage is runnable, or almost, and a slot is free.
    #[default]
    Queued,
    /// Wanted, after a wait.
    Backoff { until: Time },
    /// One attempt runs.
    Running { attempt: u32, worker: WorkerId, slots: u32 },
    /// It has a winner.
    Done(Box<Winner>),
    /// It had a winner whose blocks are gone, and nothing needs them now.
    Lost,
}

/// Whether the task counts in `JobStats::recomputed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recomputed {
    #[default]
    No,
    /// It will with its next launch.
    Due,
    Counted,
}

impl Recomputed {
    /// The task was done or ran on a lost worker: its next launch counts, once.
    pub(crate) fn set_due(&mut self) {
        if *self == Self::No {
            *self = Self::Due;
        }
    }
}

/// The attempt that won a task, and what it made.
#[derive(Debug)]
pub(crate) struct Winner {
    pub(crate) attempt: u32,
    pub(crate) worker: WorkerId,
    pub(crate) bytes: Sizes,
    pub(crate) rows: Sizes,
    pub(crate) metrics: TaskMetrics,
    pub(crate) operators: Box<[OperatorMetrics]>,
    pub(crate) place: Place,
}

/// Where the output of a winner is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In blocks on its worker.
    Worker,
    /// Here, not yet sent to the driver.
    Here(Vec<u8>),
    /// In a block on its worker; the driver was told.
    Announced,
    /// With the driver: it needs no worker any more.
    Delivered,
}

/// Bytes that one worker holds of a stage's output.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// Tasks of which it holds the output.
    pub(crate) tasks: u32,
    /// Bytes per output partition.
    pub(crate) bytes: Vec<u64>,
}

impl Winner {
    /// The loss of its worker loses the output.
    pub(crate) fn is_at_risk(&self) -> bool {
        matches!(self.place, Place::Worker | Place::Announced)
    }
}
