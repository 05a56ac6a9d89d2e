//! The end of an attempt: is it the one that counts, and what does the table of ends say?

use gnist_common::error::{Blame, ErrorKind, Failure};
use gnist_common::ids::{AttemptId, BlockId, WorkerId};
use gnist_common::task::{AttemptEnd, TaskOutput};

use crate::event::Action;
use crate::policy::{Policy, policy};
use crate::scheduler::Scheduler;
use crate::task::{Task, TaskState};
use crate::timers::Timer;
use crate::worker::Pause;

/// The relation of an attempt to its task at the time when the attempt's end is heard.
enum Standing {
    /// The one that runs.
    Current,
    /// The attempt that won: its end is reported a second time.
    Winner,
    /// An attempt that no longer counts: its job has ended, or it was cancelled, rolled back or
    /// given up.
    Stale,
}

impl Scheduler {
    pub(crate) fn attempt_ended(&mut self, worker: WorkerId, attempt: AttemptId, end: AttemptEnd) {
        if self.workers.get(worker).is_none() {
            return; // Stale: the incarnation was declared lost, with all it held.
        }
        self.workers.release(worker, attempt);
        match (self.standing(worker, attempt), end) {
            (Standing::Current, end) => self.apply(worker, attempt, policy(end)),
            (Standing::Stale, AttemptEnd::Done(_)) => {
                self.actions.push(Action::DropAttempt { worker, attempt });
            }
            (Standing::Stale | Standing::Winner, _) => {}
        }
    }

    /// Gives the slots of an attempt to others, while it waits for whoever reads its rows. It is still
    /// its task's running one, and its end is heard as any other's.
    pub(crate) fn slots_released(&mut self, worker: WorkerId, attempt: AttemptId) {
        self.workers.vacate(worker, attempt);
        if !matches!(self.standing(worker, attempt), Standing::Current) {
            return; // Stale: it was cancelled, or its job has ended.
        }
        let stage = self.stage_mut(attempt.task.stage).expect("the current attempt has a stage");
        let slots = stage.vacate(attempt.task.partition);
        self.give_back(attempt, slots);
    }

    fn standing(&self, from: WorkerId, attempt: AttemptId) -> Standing {
        let stage = self.stage(attempt.task.stage);
        let task = stage.and_then(|stage| stage.tasks().get(attempt.task.partition as usize));
        match task.map(|task| &task.state) {
            Some(TaskState::Running { attempt: current, worker, .. })
                if *current == attempt.attempt && *worker == from =>
            {
                Standing::Current
            }
            Some(TaskState::Done(winner))
                if winner.attempt == attempt.attempt && winner.worker == from =>
            {
                Standing::Winner
            }
            _ => Standing::Stale,
        }
    }

    fn apply(&mut self, worker: WorkerId, attempt: AttemptId, policy: Policy) {
        let place = |failure: Failure| blamed(failure, worker, attempt);
        match policy {
            Policy::Win(output) => self.win(attempt, output),
            Policy::RecomputeInputs(blocks) => self.recompute_inputs(worker, attempt, &blocks),
            Policy::ProbeAndRetry { unreachable, failure } => {
                self.probe_and_retry(worker, attempt, unreachable, place(failure));
            }
            Policy::RetryElsewhere(failure) => {
                self.blame_worker(worker, attempt);
                self.retry_counted(worker, attempt, place(failure));
            }
            Policy::RetryAlone(failure) => self.retry_alone(worker, attempt, place(failure)),
            Policy::RetryOffDisk(failure) => {
                let until = self.now + self.config.disk_full_pause;
                self.workers.pause(worker, Pause::DiskFull { until });
                self.timers.set(until, Timer::Resume(worker));
                self.blame_worker(worker, attempt);
                self.retry_counted(worker, attempt, place(failure));
            }
            Policy::RetryOnceElsewhere(failure) => {
                self.blame_worker(worker, attempt);
                self.retry_once(worker, attempt, place(failure));
            }
            Policy::FailJob(failure) => {
                self.set_back(attempt);
                self.end_job(attempt.task.stage.job, Err(place(failure)));
            }
            Policy::Requeue(failure) => {
                self.set_back(attempt);
                self.count_uncounted(attempt, place(failure));
            }
        }
    }

    fn win(&mut self, attempt: AttemptId, output: TaskOutput) {
        let slots = self.slots_held(attempt).expect("the current attempt holds slots");
        self.give_back(attempt, slots);
        let (task, id) = (attempt.task, attempt.task.stage);
        let stage = self.stage_mut(id).expect("the current attempt has a stage");
        if !stage.win(task.partition, output) && !self.demote(id) {
            return;
        }
        let stage = self.stage_mut(id).expect("a stage whose output is kept");
        let (is_complete, is_finished) = (stage.is_complete(), stage.unfinished() == 0);
        if stage.is_for_driver() && !stage.holds_results {
            self.announce(task);
        }
        if is_complete {
            self.stage_finished(id);
        }
        if is_finished {
            self.relax(id);
            self.settle(id.job);
        }
    }

    /// Blocks that their own worker no longer has: the tasks that made them run again first.
    fn recompute_inputs(&mut self, worker: WorkerId, attempt: AttemptId, blocks: &[BlockId]) {
        self.set_back(attempt);
        let what = blocks.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let failure = Failure::new(
            ErrorKind::Transient,
            format!("input blocks are missing or damaged again and again, lately {what}"),
        );
        if !self.count_uncounted(attempt, blamed(failure, worker, attempt)) {
            return;
        }
        let job = attempt.task.stage.job;
        for block in blocks.iter().filter(|block| block.attempt.task.stage.job == job) {
            self.lose_output(block.attempt);
        }
        self.recover(job);
    }

    /// Loses the output of an attempt, if it is a winner's and on a worker.
    pub(crate) fn lose_output(&mut self, attempt: AttemptId) {
        let Some(stage) = self.stage_mut(attempt.task.stage) else { return };
        let Some(winner) = stage.winner(attempt.task.partition) else { return };
        if winner.attempt != attempt.attempt || !winner.is_at_risk() {
            return; // Stale: it was recomputed since.
        }
        let loser = stage.lose(attempt.task.partition);
        self.actions.push(Action::DropAttempt { worker: loser.worker, attempt });
    }

    fn probe_and_retry(
        &mut self,
        worker: WorkerId,
        attempt: AttemptId,
        unreachable: WorkerId,
        failure: Failure,
    ) {
        if self.workers.get(unreachable).is_none() {
            // It is lost already: the task waits for its inputs, or they are there again.
            self.set_back(attempt);
            self.count_uncounted(attempt, failure);
            return;
        }
        let retry = self.counters(attempt).uncounted + 1;
        self.wait(worker, attempt, retry);
        if self.count_uncounted(attempt, failure) {
            self.actions.push(Action::Probe { worker: unreachable });
        }
    }

    fn retry_counted(&mut self, worker: WorkerId, attempt: AttemptId, failure: Failure) {
        let limit = self.config.max_attempts;
        let task = self.counters(attempt);
        task.failures += 1;
        let failures = task.failures;
        self.wait(worker, attempt, failures);
        if failures >= limit {
            let failure = with_help(failure, format!("the task failed {failures} times"));
            self.end_job(attempt.task.stage.job, Err(failure));
        }
    }

    fn retry_alone(&mut self, worker: WorkerId, attempt: AttemptId, failure: Failure) {
        let task = self.counters(attempt);
        if std::mem::replace(&mut task.alone, true) {
            self.set_back(attempt);
            let help =
                "it had its worker to itself: raise the worker's memory or use more partitions";
            let failure = with_help(failure, help.to_owned());
            self.end_job(attempt.task.stage.job, Err(failure));
        } else {
            self.retry_counted(worker, attempt, failure);
            // Another worker is no better: any that is empty will do.
            if let Some(stage) = self.stage_mut(attempt.task.stage) {
                stage.task_mut(attempt.task.partition).avoid = None;
            }
        }
    }

    fn retry_once(&mut self, worker: WorkerId, attempt: AttemptId, failure: Failure) {
        let task = self.counters(attempt);
        if std::mem::replace(&mut task.panicked, true) {
            self.set_back(attempt);
            self.end_job(attempt.task.stage.job, Err(failure));
        } else {
            self.retry_counted(worker, attempt, failure);
        }
    }

    /// Counts a failure against a worker, which may set it aside.
    fn blame_worker(&mut self, worker: WorkerId, attempt: AttemptId) {
        let until = self.workers.note_failure(worker, attempt.task, self.now, &self.config);
        if let Some(until) = until {
            self.timers.set(until, Timer::Resume(worker));
        }
    }

    /// Queues the task of an ended attempt.
    fn set_back(&mut self, attempt: AttemptId) {
        self.take_back(attempt);
        self.refresh_ready(attempt.task.stage);
    }

    /// Lets the task of an ended attempt wait before its retry, which is best made elsewhere.
    fn wait(&mut self, worker: WorkerId, attempt: AttemptId, retry: u32) {
        let slots = self.slots_held(attempt).expect("the current attempt holds slots");
        self.give_back(attempt, slots);
        let until = self.now + self.config.backoff(retry);
        let stage = self.stage_mut(attempt.task.stage).expect("the current attempt has a stage");
        stage.back_off(attempt.task.partition, until);
        stage.task_mut(attempt.task.partition).avoid = Some(worker);
        self.timers.set(until, Timer::Retry(attempt.task));
    }

    /// The counters of an attempt's task.
    pub(crate) fn counters(&mut self, attempt: AttemptId) -> &mut Task {
        let stage = self.stage_mut(attempt.task.stage).expect("only known tasks are counted");
        stage.task_mut(attempt.task.partition)
    }
}

/// The failure with its place, where its worker did not say it.
fn blamed(mut failure: Failure, worker: WorkerId, attempt: AttemptId) -> Failure {
    let Blame { attempt: at, worker: on, .. } = &mut *failure.blame;
    at.get_or_insert(attempt);
    on.get_or_insert(worker);
    failure
}

fn with_help(mut failure: Failure, help: String) -> Failure {
    failure.help.get_or_insert(help);
    failure
}
