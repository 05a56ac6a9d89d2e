//! Workers come, fall silent, are heard again and are lost; heartbeats keep the books honest.

use std::collections::BTreeSet;

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{AttemptId, JobId, WorkerId};

use crate::event::Action;
use crate::scheduler::{NoWorker, Scheduler};
use crate::stage::StageRun;
use crate::task::TaskState;

impl Scheduler {
    pub(crate) fn worker_joined(
        &mut self,
        worker: WorkerId,
        slots: u32,
        address: String,
        running: &[AttemptId],
        held: &[AttemptId],
    ) {
        assert!(slots > 0, "a worker without slots does not register");
        self.workers.join(worker, slots, address);
        self.no_worker = NoWorker::No;
        self.reconcile(worker, running);
        self.reconcile_blocks(worker, held);
    }

    pub(crate) fn worker_suspect(&mut self, worker: WorkerId) {
        self.workers.set_heard(worker, false);
    }

    pub(crate) fn worker_draining(&mut self, worker: WorkerId) {
        self.workers.drain(worker);
    }

    pub(crate) fn heartbeat(&mut self, worker: WorkerId, running: &[AttemptId]) {
        if self.workers.set_heard(worker, true) {
            self.reconcile(worker, running);
        }
    }

    /// Forgets a worker: all that it held and ran is gone, in every job, at once.
    pub(crate) fn worker_lost(&mut self, worker: WorkerId, reason: &str) {
        let Some(gone) = self.workers.remove(worker) else {
            return; // Stale: lost before, or never registered.
        };
        let touched = self.jobs.values().filter(|job| job.workers.contains(&worker));
        let touched: Vec<JobId> = touched.map(|job| job.id).collect();
        self.tell_of_loss(&touched, worker, reason);
        for &id in &touched {
            let job = self.jobs.get_mut(&id).expect("just listed");
            job.workers.remove(&worker);
            job.stats.workers_lost += 1;
            self.lose_outputs_on(id, worker);
        }
        let message = format!("a task ran on workers that were lost, lately of: {reason}");
        let failure = Failure::new(ErrorKind::Cluster, message).on_worker(worker);
        self.requeue_vanished(gone.running().collect(), &failure);
        for id in touched {
            self.recover(id);
        }
        self.note_last(worker, reason);
    }

    fn tell_of_loss(&mut self, touched: &[JobId], worker: WorkerId, reason: &str) {
        let applications: BTreeSet<_> = touched.iter().map(|job| job.application).collect();
        let tell =
            |application| Action::WorkerLost { application, worker, reason: reason.to_owned() };
        self.actions.extend(applications.into_iter().map(tell));
    }

    /// Lets each job with work fail after the loss of the last worker, unless another one comes in
    /// time.
    fn note_last(&mut self, worker: WorkerId, reason: &str) {
        if !self.workers.is_empty() {
            return;
        }
        self.no_worker = NoWorker::Lost { since: self.now, worker, reason: reason.to_owned() };
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.expect_worker(job);
        }
    }

    fn reconcile(&mut self, worker: WorkerId, running: &[AttemptId]) {
        let found = self.workers.reconcile(worker, running);
        for attempt in found.unwanted {
            self.actions.push(Action::Cancel { worker, attempt });
        }
        let message = "a worker did not run what it was sent, or its word of it was lost";
        let failure = Failure::new(ErrorKind::Cluster, message).on_worker(worker);
        self.requeue_vanished(found.gone, &failure);
    }

    /// Compares the winners a worker should hold with the blocks it says it has.
    fn reconcile_blocks(&mut self, worker: WorkerId, held: &[AttemptId]) {
        let held: BTreeSet<_> = held.iter().copied().collect();
        let jobs = self.jobs.values().filter(|job| job.workers.contains(&worker));
        let mut missing = Vec::new();
        for job in jobs {
            for stage in job.stages() {
                missing
                    .extend(expected_on(stage, worker).filter(|attempt| !held.contains(attempt)));
            }
        }
        let jobs: BTreeSet<_> = missing.iter().map(|attempt| attempt.task.stage.job).collect();
        for attempt in missing {
            self.lose_output(attempt);
        }
        for job in jobs {
            self.recover(job);
        }
        let unwanted = held.into_iter().filter(|attempt| !self.is_wanted(worker, *attempt));
        let drops: Vec<_> =
            unwanted.map(|attempt| Action::DropAttempt { worker, attempt }).collect();
        self.actions.extend(drops);
    }

    /// A winner on this worker, or an attempt whose end has yet to be heard.
    fn is_wanted(&self, from: WorkerId, attempt: AttemptId) -> bool {
        let stage = self.stage(attempt.task.stage);
        let task = stage.and_then(|stage| stage.tasks().get(attempt.task.partition as usize));
        match task.map(|task| &task.state) {
            Some(TaskState::Running { attempt: current, worker, .. }) => {
                *current == attempt.attempt && *worker == from
            }
            Some(TaskState::Done(winner)) => {
                winner.attempt == attempt.attempt && winner.worker == from && winner.is_at_risk()
            }
            _ => false,
        }
    }
}

/// The attempts whose blocks a worker should have. Empty outputs need no block.
fn expected_on(stage: &StageRun, worker: WorkerId) -> impl Iterator<Item = AttemptId> {
    let at_risk = stage.at_risk_on(worker).into_iter();
    at_risk.filter_map(move |partition| {
        let winner = stage.winner(partition).expect("only winners are at risk");
        (winner.bytes.sum() > 0).then(|| stage.task_id(partition).attempt(winner.attempt))
    })
}
