//! Every wait of the scheduler in one enum.
//!
//! A timer is never taken back: what it was for is looked at again when it fires.

use std::collections::BTreeSet;

use gnist_common::ids::{JobId, TaskId, WorkerId};
use gnist_common::time::Time;

/// The waits of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The backoff of a task.
    Retry(TaskId),
    /// The pause of a worker.
    Resume(WorkerId),
    /// The patience of a job while there is no worker.
    NoWorker(JobId),
}

/// Timers by time.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Time, Timer)>);

impl Timers {
    /// Lets `timer` fire at `at`.
    pub(crate) fn set(&mut self, at: Time, timer: Timer) {
        self.0.insert((at, timer));
    }

    /// Returns the time when the next timer fires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let (at, _) = *self.0.first()?;
        (at <= now).then(|| self.0.pop_first().expect("there is a first one").1)
    }
}
