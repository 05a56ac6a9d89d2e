//! Recovery performed: lost outputs are found, run again, and rolled back where a second run would
//! contradict the first. `lineage` decides, this file does.

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{AttemptId, JobId, StageId, WorkerId};

use crate::event::Action;
use crate::job::Job;
use crate::lineage::Recovery;
use crate::scheduler::Scheduler;
use crate::stage::StageRun;
use crate::task::TaskState;

impl Scheduler {
    /// Loses everything of a job that would go with a worker, by the worker's loss.
    pub(crate) fn lose_outputs_on(&mut self, id: JobId, worker: WorkerId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for stage in job.stages_mut() {
            for partition in stage.at_risk_on(worker) {
                stage.lose(partition);
            }
        }
    }

    /// Runs again what unfinished tasks need and is lost, and rolls back what has to be. To be
    /// called after outputs were lost or the graph grew.
    pub(crate) fn recover(&mut self, id: JobId) {
        self.take_back_superseded(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let recovery = job.recovery();
        self.run_again(id, recovery);
    }

    /// A stage that was to be exact made other rows the second time: it is indeterminate, and
    /// what was made of the first is made again. False if that takes the stage's new output too.
    pub(crate) fn demote(&mut self, id: StageId) -> bool {
        self.actions.push(Action::StageDemoted { stage: id });
        let job = self.jobs.get_mut(&id.job).expect("the job of a stage that runs");
        let recovery = job.demote(id);
        if recovery == Recovery::default() {
            return true;
        }
        self.run_again(id.job, recovery);
        false
    }

    fn run_again(&mut self, id: JobId, recovery: Recovery) {
        let job = self.jobs.get_mut(&id).expect("looked at by the caller");
        for at in recovery.recompute {
            job.stages_mut()[at].want_lost();
        }
        let stages = |job: &Job| job.stages().iter().map(|run| run.stage.id).collect::<Vec<_>>();
        let all = stages(job);
        for at in recovery.roll_back {
            if !self.roll_back(all[at]) {
                return;
            }
        }
        for stage in all {
            self.refresh_ready(stage);
        }
        self.settle(id);
    }

    /// A stage has nothing left to do: what was to run again for it alone is let go.
    pub(crate) fn relax(&mut self, done: StageId) {
        let relaxed = self.jobs.get_mut(&done.job).map_or_else(Vec::new, |job| job.relax(done));
        for stage in relaxed {
            self.refresh_ready(stage);
        }
    }

    /// Starts a stage over. False if that failed the job: the driver may have some of its rows.
    fn roll_back(&mut self, id: StageId) -> bool {
        self.cancel_running_of(id);
        let stage = self.stage_mut(id).expect("rolled back stages are there");
        if stage.was_announced() {
            let message = format!(
                "rows of {id} were delivered, and what they were made of was lost and can't be made again the same"
            );
            let failure =
                Failure::new(ErrorKind::Contradicted, message).with_help("run the job again");
            self.end_job(id.job, Err(failure));
            return false;
        }
        for (task, loser) in stage.roll_back() {
            if loser.is_at_risk() && self.workers.get(loser.worker).is_some() {
                let attempt = task.attempt(loser.attempt);
                self.actions.push(Action::DropAttempt { worker: loser.worker, attempt });
            }
        }
        true
    }

    /// Cancels every running attempt of a job.
    pub(crate) fn cancel_running(&mut self, id: JobId) {
        let stages = self.jobs.get(&id).map_or(&[][..], Job::stages);
        let running: Vec<_> =
            stages.iter().filter(|run| run.running() > 0).map(|run| run.stage.id).collect();
        for stage in running {
            self.cancel_running_of(stage);
        }
    }

    /// Cancels every running attempt of a stage and queues its tasks.
    fn cancel_running_of(&mut self, id: StageId) {
        let stage = self.stage_mut(id).expect("only known stages are cancelled");
        for (attempt, worker) in running(stage) {
            self.cancel(attempt, worker);
        }
    }

    /// Cancels a running attempt and queues its task.
    pub(crate) fn cancel(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.take_back(attempt);
        self.workers.mark_cancelled(worker, attempt);
        self.actions.push(Action::Cancel { worker, attempt });
    }

    /// Queues a running task again.
    pub(crate) fn take_back(&mut self, attempt: AttemptId) {
        let slots = self.slots_held(attempt).expect("only running tasks are taken back");
        self.give_back(attempt, slots);
        let stage = self.stage_mut(attempt.task.stage).expect("the stage of a running task");
        stage.requeue(attempt.task.partition);
    }

    /// Queues the tasks again whose attempts vanished with their worker or without a word. Not
    /// counted, but not for ever either. Cancelled attempts, and those of ended jobs, are stale.
    pub(crate) fn requeue_vanished(&mut self, mut attempts: Vec<AttemptId>, failure: &Failure) {
        attempts.retain(|attempt| self.slots_held(*attempt).is_some());
        for &attempt in &attempts {
            let had_begun = !self.early.contains(attempt);
            self.take_back(attempt);
            if had_begun {
                self.counters(attempt).recomputed.set_due();
            }
            self.refresh_ready(attempt.task.stage);
        }
        // Only now may a job end, which cancels what of it still runs.
        for attempt in attempts {
            if self.jobs.contains_key(&attempt.task.stage.job) {
                self.count_uncounted(attempt, failure.clone());
            }
        }
    }

    /// Notes an end that was not the task's fault. False if that was one too many for the job.
    pub(crate) fn count_uncounted(&mut self, attempt: AttemptId, failure: Failure) -> bool {
        let limit = self.config.max_uncounted;
        let task = self.counters(attempt);
        task.uncounted += 1;
        if task.uncounted < limit {
            return true;
        }
        let help = format!("the task was started over {limit} times through no fault of its own");
        self.end_job(attempt.task.stage.job, Err(failure.at_attempt(attempt).with_help(help)));
        false
    }

    /// The slots an attempt holds, if it is its task's running one.
    pub(crate) fn slots_held(&self, attempt: AttemptId) -> Option<u32> {
        let stage = self.stage(attempt.task.stage)?;
        match stage.tasks().get(attempt.task.partition as usize)?.state {
            TaskState::Running { attempt: current, slots, .. } => {
                (current == attempt.attempt).then_some(slots)
            }
            _ => None,
        }
    }

    /// Takes slots off the account of an attempt's application: it does not run any more.
    pub(crate) fn give_back(&mut self, attempt: AttemptId, slots: u32) {
        self.early.remove(attempt);
        let application = attempt.task.stage.job.application;
        let account =
            self.applications.get_mut(&application).expect("jobs end before their application");
        account.running_slots -= slots;
    }
}

/// The running attempts of a stage, and where they run.
fn running(stage: &StageRun) -> Vec<(AttemptId, WorkerId)> {
    if stage.running() == 0 {
        return Vec::new();
    }
    let attempts = (0..stage.stage.tasks).zip(stage.tasks());
    let running = attempts.filter_map(|(partition, task)| match task.state {
        TaskState::Running { attempt, worker, .. } => {
            Some((stage.task_id(partition).attempt(attempt), worker))
        }
        _ => None,
    });
    running.collect()
}

/// Slots that the running tasks of a job hold.
#[cfg(test)]
pub(crate) fn running_slots(job: &Job) -> u32 {
    let tasks = job.stages().iter().flat_map(StageRun::tasks);
    let slots = |task: &crate::task::Task| match task.state {
        TaskState::Running { slots, .. } => slots,
        _ => 0,
    };
    tasks.map(slots).sum()
}
