//! Rules that the scheduler is held to, seen from outside:
//!
//! - an attempt is launched once, on a worker that is not known to be lost or silent, when every
//!   output it reads is there, or all of them are being made;
//! - what starts early gives way to whatever could run; see `early.rs`;
//! - a task with a winner runs again only if the winner's output was lost and something still
//!   needs it, or if its stage was rolled back, which only unrepeatable stages cause;
//! - every result partition is delivered, none twice after the driver's word that it has it, each
//!   with the right value;
//! - all results of a job agree on which attempt of every unrepeatable task they are made of;
//! - a job fails only for a reason that was there;
//! - every job ends, once.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{Stage, StageOutput};
use gnist_common::ids::{AttemptId, JobId, StageId, TaskId, WorkerId};
use gnist_common::protocol::ResultLocation;
use gnist_common::task::{AttemptEnd, Launch, OutputLocation};

use super::early::EarlyLog;
use super::graphs::{Made, Plan};
use crate::{Event, Scheduler, TableLookup};

/// The history of a task, as it follows from the scheduler's actions and the attempts' ends.
#[derive(Clone, Debug, Default)]
struct TaskLog {
    /// Launches of the task: generation and worker, by attempt number.
    launches: Vec<(u32, WorkerId)>,
    /// The attempt that won, while its output is there.
    winner: Option<u32>,
    /// The latest attempt won, whether or not its output is still there.
    has_won: bool,
    /// The blocks of the latest attempt were dropped, by a roll-back if they were good.
    is_dropped: bool,
    /// Attempts told to stop.
    cancelled: BTreeSet<u32>,
    user_errors: u32,
    /// An attempt failed in a way after which the task may want another worker, or a whole one.
    is_choosy: bool,
}

/// A result as the driver sees it.
#[derive(Clone, Debug)]
struct Received {
    attempt: AttemptId,
    /// The driver has the rows, and said so to the scheduler.
    is_final: bool,
}

/// Watches the conversation.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) plans: BTreeMap<JobId, Plan>,
    tasks: BTreeMap<TaskId, TaskLog>,
    finished: BTreeSet<StageId>,
    lost: BTreeSet<WorkerId>,
    silent: BTreeSet<WorkerId>,
    received: BTreeMap<TaskId, Received>,
    cancelled_jobs: BTreeSet<JobId>,
    /// Jobs of which some output was lost.
    hurt: BTreeSet<JobId>,
    pub(super) ended: BTreeMap<JobId, bool>,
    pub(super) rolled_back: u64,
    pub(super) stale_ends: u64,
    pub(super) contradicted: u64,
    pub(super) demoted: u64,
    pub(super) early: EarlyLog,
}

impl Checks {
    /// Looks at an event before the scheduler does.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::WorkerJoined { worker, held, .. } => {
                self.silent.remove(worker);
                let held: BTreeSet<_> = held.iter().collect();
                self.lose_where(|attempt, on| on == *worker && !held.contains(&attempt));
            }
            Event::WorkerSuspect { worker } => {
                self.silent.insert(*worker);
            }
            Event::Heartbeat { worker, .. } => {
                self.silent.remove(worker);
            }
            Event::WorkerLost { worker, .. } => {
                self.lost.insert(*worker);
                self.lose_where(|_, on| on == *worker);
            }
            Event::AttemptEnded { worker, attempt, end } => {
                self.attempt_ended(*worker, *attempt, end)
            }
            Event::ResultTaken { attempt } => {
                // Too late if the output was lost or rolled back while the word was on its way.
                let task = &self.tasks[&attempt.task];
                let is_there = task.winner == Some(attempt.attempt) && !task.is_dropped;
                let received = self.received.get_mut(&attempt.task).expect("announced before");
                received.is_final |= is_there && received.attempt == *attempt;
            }
            Event::ResultMissing { attempt } => self.lose_where(|lost, _| lost == *attempt),
            Event::JobCancelled { job } => {
                self.cancelled_jobs.insert(*job);
            }
            _ => {}
        }
    }

    pub(super) fn has_lost(&self, worker: WorkerId) -> bool {
        self.lost.contains(&worker)
    }

    fn attempt_ended(&mut self, worker: WorkerId, attempt: AttemptId, end: &AttemptEnd) {
        let task = self.tasks.get_mut(&attempt.task).expect("only launched attempts end");
        task.user_errors += u32::from(matches!(end, AttemptEnd::User(_)));
        task.is_choosy |= !matches!(
            end,
            AttemptEnd::Done(_) | AttemptEnd::BlocksMissing { .. } | AttemptEnd::Cancelled
        );
        let is_latest = task.launches.len() == attempt.attempt as usize + 1;
        let is_stale = !is_latest || task.cancelled.contains(&attempt.attempt);
        if is_stale || self.lost.contains(&worker) {
            self.stale_ends += 1;
            return;
        }
        match end {
            AttemptEnd::Done(_) => {
                task.winner = Some(attempt.attempt);
                task.has_won = true;
            }
            AttemptEnd::BlocksMissing { blocks } => {
                let missing: BTreeSet<_> = blocks.iter().map(|block| block.attempt).collect();
                self.lose_where(|attempt, _| missing.contains(&attempt));
            }
            _ => {}
        }
    }

    fn lose_where(&mut self, is_lost: impl Fn(AttemptId, WorkerId) -> bool) {
        for (id, task) in &mut self.tasks {
            let Some(winner) = task.winner else { continue };
            if is_lost(id.attempt(winner), task.launches[winner as usize].1) {
                task.winner = None;
                self.hurt.insert(id.stage.job);
            }
        }
    }

    pub(super) fn cancelled(&mut self, attempt: AttemptId) {
        if let Some(task) = self.tasks.get_mut(&attempt.task) {
            task.cancelled.insert(attempt.attempt);
        }
        self.early.cancelled(attempt);
    }

    /// Looks at what an event has led to, once all of it is done.
    pub(super) fn settled(&mut self, scheduler: &Scheduler) {
        let is_choosy = |task| self.tasks.get(&task).is_some_and(|log| log.is_choosy);
        self.early.settled(scheduler, &self.plans, is_choosy);
    }

    pub(super) fn dropped(&mut self, attempt: AttemptId) {
        if let Some(task) = self.tasks.get_mut(&attempt.task) {
            task.is_dropped |= task.launches.len() == attempt.attempt as usize + 1;
        }
    }

    /// Checks that only a stage that breaks its promise is demoted.
    pub(super) fn demoted(&mut self, stage: StageId) {
        let plan = &self.plans[&stage.job];
        assert!(plan.breaks_promise(plan.stage(stage)), "{stage} makes the same rows every time");
        self.demoted += 1;
    }

    pub(super) fn stage_finished(&mut self, stage: StageId) {
        self.finished.insert(stage);
    }

    pub(super) fn launched(&mut self, scheduler: &Scheduler, worker: WorkerId, launch: &Launch) {
        let (id, stage) = (launch.attempt.task, launch.attempt.task.stage);
        assert!(!self.lost.contains(&worker), "{} on a lost worker", launch.attempt);
        assert!(!self.silent.contains(&worker), "{} on a silent worker", launch.attempt);
        assert!(!self.ended.contains_key(&stage.job), "{} of an ended job", launch.attempt);
        let plan = &self.plans[&stage.job];
        let mut is_early = false;
        for input in &launch.inputs {
            let from = input.input.stage;
            let table = match scheduler.output_table(from, input.version) {
                TableLookup::Complete(table) => table,
                TableLookup::Pending => {
                    is_early = true;
                    continue;
                }
                TableLookup::Gone => panic!("{id} is to read a version of {from} that is gone"),
            };
            assert_eq!(table.outputs.len(), plan.stage(from).tasks as usize);
            let is_there = |output: &OutputLocation| !self.lost.contains(&output.worker);
            assert!(table.outputs.iter().all(is_there), "{id} is sent to lost outputs of {from}");
        }
        if is_early {
            self.early.launched(scheduler, worker, launch);
        }
        self.check_need(launch);
        let task = self.tasks.entry(id).or_default();
        assert_eq!(task.launches.len(), launch.attempt.attempt as usize, "attempts are numbered");
        if task.launches.last().is_some_and(|(before, _)| *before < launch.generation.0) {
            self.rolled_back += 1;
            self.finished.remove(&stage);
        }
        task.launches.push((launch.generation.0, worker));
        task.winner = None;
        task.has_won = false;
        task.is_dropped = false;
    }

    /// A task that was done runs again for a reason.
    fn check_need(&self, launch: &Launch) {
        let id = launch.attempt.task;
        let plan = &self.plans[&id.stage.job];
        let Some(task) = self.tasks.get(&id) else { return };
        let (generation, _) = *task.launches.last().expect("logged tasks were launched");
        if launch.generation.0 > generation {
            assert!(plan.may_start_over(), "{id} was rolled back, and everything is repeatable");
            assert!(
                self.hurt.contains(&id.stage.job),
                "{id} was rolled back, and nothing was lost"
            );
            return;
        }
        assert_eq!(task.winner, None, "{id} runs again though its output is there");
        if !task.has_won {
            return; // It was never done: every task is wanted once.
        }
        let stage = plan.stage(id.stage);
        let is_wanted = |consumer: TaskId| {
            self.tasks.get(&consumer).is_none_or(|log| log.winner.is_none() || log.is_dropped)
        };
        // Nothing is said of the roll-back of a result that is held back here, on no worker, before
        // it is launched again.
        let may_start_over = |c: &Stage| c.output == StageOutput::Result && plan.may_start_over();
        let mut consumers = plan.consumers(id.stage);
        let is_needed =
            consumers.any(|c| may_start_over(c) || (0..c.tasks).any(|p| is_wanted(c.id.task(p))));
        let is_for_driver = stage.output.is_for_driver();
        assert!(
            is_needed || is_for_driver || !self.finished.contains(&id.stage),
            "nobody needs {id}"
        );
    }

    pub(super) fn result_ready(&mut self, attempt: AttemptId, location: &ResultLocation) {
        let is_final = matches!(location, ResultLocation::Inline(_));
        let before = self.received.insert(attempt.task, Received { attempt, is_final });
        if let Some(before) = before {
            assert!(
                !before.is_final,
                "{attempt} was announced, and the driver has {}",
                before.attempt
            );
            assert!(before.attempt < attempt, "{attempt} was announced after {}", before.attempt);
        }
    }

    pub(super) fn job_ended(
        &mut self,
        job: JobId,
        outcome: &Result<(), Failure>,
        made: &BTreeMap<AttemptId, Made>,
    ) {
        let before = self.ended.insert(job, outcome.is_ok());
        assert!(before.is_none(), "{job} ended twice");
        match outcome {
            Ok(()) => self.check_results(job, made),
            Err(failure) => {
                self.contradicted += u64::from(failure.kind == ErrorKind::Contradicted);
                self.check_failure(job, failure);
            }
        }
    }

    fn check_results(&self, job: JobId, made: &BTreeMap<AttemptId, Made>) {
        let plan = &self.plans[&job];
        let expected = plan.expected();
        let mut used = BTreeMap::new();
        let results = plan.stages().filter(|stage| stage.output.is_for_driver());
        for task in results.flat_map(|stage| (0..stage.tasks).map(|p| stage.id.task(p))) {
            let received = self.received.get(&task);
            let received = received.unwrap_or_else(|| panic!("{task} was never delivered"));
            assert!(received.is_final, "{task} was announced and never taken");
            let made = &made[&received.attempt];
            assert_eq!(made.value, expected[&task], "the value of {task}");
            if plan.stage(task.stage).output == StageOutput::Value {
                continue; // The stages that it was bound into tell which run of it counts.
            }
            for attempt in &made.used {
                let other = used.insert(attempt.task, *attempt).unwrap_or(*attempt);
                assert_eq!(other, *attempt, "the results of {job} mix two runs of one task");
            }
        }
    }

    fn check_failure(&self, job: JobId, failure: &Failure) {
        let plan = &self.plans[&job];
        let logs =
            || self.tasks.iter().filter(|(task, _)| task.stage.job == job).map(|(_, log)| log);
        let blamed = failure.blame.attempt.map(|attempt| &self.tasks[&attempt.task]);
        let launches = blamed.map_or(0, |task| task.launches.len());
        let is_justified = match failure.kind {
            ErrorKind::User => logs().any(|log| log.user_errors > 0),
            ErrorKind::Cancelled => self.cancelled_jobs.contains(&job) || launches >= 16,
            ErrorKind::Transient | ErrorKind::DiskFull => launches >= 4,
            ErrorKind::OutOfMemory | ErrorKind::Panic => launches >= 2,
            ErrorKind::Cluster => launches >= 16,
            ErrorKind::Contradicted => plan.may_start_over() && self.hurt.contains(&job),
            _ => false,
        };
        assert!(is_justified, "{job} failed for no reason: {failure}");
    }
}
