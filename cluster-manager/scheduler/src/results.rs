//! Finished stages, results on their way to the driver, and the good end of a job.

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{AttemptId, JobId, StageId, TaskId};
use gnist_common::protocol::ResultLocation;

use crate::event::Action;
use crate::scheduler::Scheduler;
use crate::stage::StageRun;
use crate::task::{Place, Winner};

impl Scheduler {
    /// A stage has become complete: the driver is told, and its consumers may run.
    pub(crate) fn stage_finished(&mut self, id: StageId) {
        let job = self.jobs.get_mut(&id.job).expect("the job of a stage that just finished");
        let stage = job.stage_mut(id).expect("the stage just finished");
        stage.reported = true;
        let summary = stage.summary();
        let consumers = job.consumers(id);
        self.actions.push(Action::StageFinished { summary });
        for consumer in consumers {
            self.end_earliness(consumer);
            self.refresh_ready(consumer);
        }
    }

    /// Sends the result of a winner to the driver, or says where it is.
    pub(crate) fn announce(&mut self, task: TaskId) {
        let stage = self.stage_mut(task.stage).expect("winners have a stage");
        let winner = stage.winner(task.partition).expect("only winners are announced");
        let (attempt, worker) = (task.attempt(winner.attempt), winner.worker);
        let (bytes, rows) = (winner.bytes.sum(), winner.rows.sum());
        let is_here = matches!(winner.place, Place::Here(_));
        let next = if is_here { Place::Delivered } else { Place::Announced };
        let location = match stage.set_place(task.partition, next) {
            Place::Here(bytes) => ResultLocation::Inline(bytes),
            Place::Worker => {
                let holder = self.workers.get(worker).expect("winners on lost workers are lost");
                ResultLocation::Worker { worker, address: holder.address.clone(), bytes }
            }
            Place::Announced | Place::Delivered => panic!("{attempt} is announced once"),
        };
        self.actions.push(Action::ResultReady { attempt, location, rows });
    }

    /// The driver has a result that was left on its worker: the block can go.
    pub(crate) fn result_taken(&mut self, attempt: AttemptId) {
        let Some(stage) = self.stage_mut(attempt.task.stage) else { return };
        let Some(winner) = stage.winner(attempt.task.partition) else {
            return; // Stale: its worker was lost while the message was on its way.
        };
        if winner.attempt != attempt.attempt || winner.place != Place::Announced {
            return; // Stale: of an earlier attempt, or said twice.
        }
        let worker = winner.worker;
        stage.set_place(attempt.task.partition, Place::Delivered);
        self.actions.push(Action::DropAttempt { worker, attempt });
        if stage_is_delivered(self, attempt.task.stage) {
            self.settle(attempt.task.stage.job);
        }
    }

    /// The block of an announced result is gone from its worker: the task runs again.
    pub(crate) fn result_missing(&mut self, attempt: AttemptId) {
        let winner =
            self.stage(attempt.task.stage).and_then(|stage| stage.winner(attempt.task.partition));
        let is_current = winner.is_some_and(|winner| {
            winner.attempt == attempt.attempt && winner.place == Place::Announced
        });
        if !is_current {
            return; // Stale: its worker was lost, or it was recomputed since.
        }
        self.lose_output(attempt);
        let failure = Failure::new(ErrorKind::Transient, "a result is missing again and again");
        if self.count_uncounted(attempt, failure) {
            self.recover(attempt.task.stage.job);
        }
    }

    /// Releases the results that were held back, once nothing of the job is left to run. Ends the
    /// job once every result is delivered and no stage can follow.
    pub(crate) fn settle(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.has_work() {
            return;
        }
        self.release(id, |_| true);
        let job = self.jobs.get(&id).expect("releasing ends no job");
        if job.sealed && job.is_delivered() {
            self.end_job(id, Ok(()));
        }
    }

    /// Announces the results of some stages that were held back until now.
    pub(crate) fn release(&mut self, id: JobId, is_released: impl Fn(&StageRun) -> bool) {
        let Some(job) = self.jobs.get(&id) else { return };
        let released = job.stages().iter().filter(|run| !run.is_delivered() && is_released(run));
        let is_held = |winner: &Winner| matches!(winner.place, Place::Here(_) | Place::Worker);
        let held = released.flat_map(|run| {
            let partitions = 0..run.stage.tasks;
            let held = partitions.filter(move |at| run.winner(*at).is_some_and(is_held));
            held.map(|partition| run.task_id(partition))
        });
        for task in held.collect::<Vec<_>>() {
            self.announce(task);
        }
    }
}

fn stage_is_delivered(scheduler: &Scheduler, stage: StageId) -> bool {
    scheduler.stage(stage).is_some_and(crate::stage::StageRun::is_delivered)
}
