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
    /// An attempt of the task panicked once.
    pub(crate) panicked: bool,
    /// The task ran out of memory once, and runs with nothing else on its worker from now on.
    pub(crate) alone: bool,
    /// The worker it last failed on.
    pub(crate) avoid: Option<WorkerId>,
    pub(crate) recomputed: Recomputed,
    /// Rows per output partition of the winner that was lost, to hold the next one to.
    pub(crate) rows_before: Option<Sizes>,
}

/// The states of a task; see the drawing in `lib.rs`.
#[derive(Debug, Default)]
pub(crate) enum TaskState {
    /// Wanted; runs when the stage is runnable, or almost, and a slot is free.
    #[default]
    Queued,
    /// Wanted, after a wait.
    Backoff { until: Time },
    /// One attempt runs.
    Running { attempt: u32, worker: WorkerId, slots: u32 },
    /// The task has a winner.
    Done(Box<Winner>),
    /// The task had a winner whose blocks are gone, and nothing needs them now.
    Lost,
}

/// The task's part in the count `JobStats::recomputed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recomputed {
    #[default]
    No,
    /// The task counts with its next launch.
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

/// The place of a winner's output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Blocks on its worker.
    Worker,
    /// Memory of the manager, not yet sent to the driver.
    Here(Vec<u8>),
    /// A block on its worker; the driver was told.
    Announced,
    /// The driver has the output, which needs no worker any more.
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
