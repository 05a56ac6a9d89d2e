//! The attempts that run: each is started once and reported once, whatever happens to it.
//!
//! ```text
//! launch ──▶ running ──▶ ended: reported, then forgotten
//!               └─cancel─▶ stops at its next pause; all it spawned stops with it
//! ```
//!
//! Invariant: the end of an attempt is in the outbox before the attempt leaves `running`, so a
//! heartbeat that no longer names an attempt is always sent after its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{AbortHandle, Abortable};
use gnist_common::graph::ProgramKind;
use gnist_common::ids::{AttemptId, JobId};
use gnist_common::protocol::WorkerToManager;
use gnist_common::task::{AttemptEnd, Launch};
use tokio::runtime::Handle;

use crate::blocks::Removed;
use crate::executor::Executor;
use crate::outbox::Outbox;
use crate::task;

/// Starts, stops and reports attempts.
pub(crate) struct Runner {
    pub(crate) executor: Arc<Executor>,
    pub(crate) outbox: Arc<Outbox>,
    running: Mutex<HashMap<AttemptId, AbortHandle>>,
    cpu: Handle,
}

impl Runner {
    pub(crate) fn new(executor: Arc<Executor>, cpu: Handle) -> Arc<Self> {
        Arc::new(Self { executor, outbox: Arc::default(), running: Mutex::default(), cpu })
    }

    /// Runs an attempt. One that does nothing has ended when this returns.
    pub(crate) fn launch(self: &Arc<Self>, launch: Launch) {
        let attempt = launch.attempt;
        if launch.program.kind == ProgramKind::Empty {
            let end = AttemptEnd::Done(task::empty_output(launch.output));
            return self.outbox.push(WorkerToManager::AttemptEnded { attempt, end });
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.running().insert(attempt, abort);
        let runner = Arc::clone(self);
        self.cpu.spawn(async move {
            let run = task::run(&runner.executor, &runner.outbox, launch);
            let end = Abortable::new(run, registration).await;
            runner.ended(attempt, end.unwrap_or(AttemptEnd::Cancelled));
        });
    }

    /// Stops attempts; each still ends.
    pub(crate) fn cancel(&self, attempts: &[AttemptId]) {
        let running = self.running();
        attempts.iter().filter_map(|attempt| running.get(attempt)).for_each(AbortHandle::abort);
    }

    /// Deletes what attempts made; those that still run are stopped, and leave nothing.
    pub(crate) fn drop_attempts(&self, attempts: &[AttemptId]) {
        self.cancel(attempts);
        delete(self.executor.store.remove(attempts));
    }

    /// Deletes everything of a job.
    pub(crate) fn drop_job(&self, job: JobId) {
        let attempts = self.running_attempts();
        let of_job: Vec<_> =
            attempts.into_iter().filter(|attempt| attempt.task.stage.job == job).collect();
        self.cancel(&of_job);
        delete(self.executor.remove_job(job));
    }

    /// Stops everything.
    pub(crate) fn stop(&self) {
        self.running().values().for_each(AbortHandle::abort);
    }

    /// Returns the attempts that run now, in order.
    pub(crate) fn running_attempts(&self) -> Vec<AttemptId> {
        let mut attempts: Vec<_> = self.running().keys().copied().collect();
        attempts.sort_unstable();
        attempts
    }

    fn ended(&self, attempt: AttemptId, end: AttemptEnd) {
        tracing::debug!(%attempt, end = name_of(&end), "attempt ended");
        let is_dropped = self.running().get(&attempt).is_none_or(AbortHandle::is_aborted);
        if is_dropped && matches!(end, AttemptEnd::Done(_)) {
            // It was stopped when it had just finished: nobody will ask for its blocks.
            self.executor.store.drop_attempt(attempt);
            self.report(attempt, AttemptEnd::Cancelled);
        } else {
            self.report(attempt, end);
        }
        self.running().remove(&attempt);
        self.executor.programs.settle();
    }

    fn report(&self, attempt: AttemptId, end: AttemptEnd) {
        self.outbox.push(WorkerToManager::AttemptEnded { attempt, end });
    }

    fn running(&self) -> MutexGuard<'_, HashMap<AttemptId, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(end: &AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Done(_) => "done",
        AttemptEnd::BlocksMissing { .. } => "blocks missing",
        AttemptEnd::FetchFailed { .. } => "fetch failed",
        AttemptEnd::Transient(_) => "transient",
        AttemptEnd::OutOfMemory(_) => "out of memory",
        AttemptEnd::DiskFull(_) => "disk full",
        AttemptEnd::User(_) => "user error",
        AttemptEnd::Panic(_) => "panic",
        AttemptEnd::Cancelled => "cancelled",
    }
}

/// Deletes outputs where waiting for the disk is allowed: heartbeats go on meanwhile.
fn delete(removed: Removed) {
    if removed.has_files() {
        drop(tokio::task::spawn_blocking(move || drop(removed)));
    }
}
