//! A scheduler with a clock, and workers that do what the test says.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{
    ContentHash, InputMode, ProgramKind, ProgramRef, Repeatability, Stage, StageInput, StageOutput,
};
use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};
use gnist_common::protocol::{JobStats, ResultLocation};
use gnist_common::task::{AttemptEnd, Launch, TaskMetrics, TaskOutput};
use gnist_common::time::Time;

use crate::{Action, Event, Scheduler, SchedulerConfig};

pub(super) const APP: ApplicationId = ApplicationId(1);
pub(super) const JOB: JobId = JobId { application: APP, ordinal: 0 };
pub(super) const A: WorkerId = WorkerId(1);
pub(super) const B: WorkerId = WorkerId(2);
pub(super) const C: WorkerId = WorkerId(3);

/// A stage of `JOB`.
pub(super) fn stage(ordinal: u32, tasks: u32, inputs: &[u32], output: StageOutput) -> Stage {
    let input = |from: &u32| StageInput { stage: JOB.stage(*from), mode: InputMode::Partition };
    Stage {
        id: JOB.stage(ordinal),
        label: format!("stage {ordinal}"),
        program: ProgramRef {
            hash: ContentHash([0; 32]),
            kind: ProgramKind::Empty,
            length_bytes: 0,
        },
        bindings: None,
        tasks,
        slots_per_task: 1,
        inputs: inputs.iter().map(input).collect(),
        output,
        repeatability: Repeatability::Exact,
    }
}

pub(super) fn map(ordinal: u32, tasks: u32, partitions: u32) -> Stage {
    stage(ordinal, tasks, &[], StageOutput::Shuffle { partitions })
}

pub(super) fn result(ordinal: u32, tasks: u32, inputs: &[u32]) -> Stage {
    stage(ordinal, tasks, inputs, StageOutput::Result)
}

pub(super) fn attempt(stage: u32, partition: u32, number: u32) -> AttemptId {
    JOB.stage(stage).task(partition).attempt(number)
}

pub(super) fn failure(kind: ErrorKind) -> Failure {
    Failure::new(kind, "it broke")
}

/// A good end with ten bytes and one row per output partition; results are left on the worker.
pub(super) fn done(partitions: u32) -> AttemptEnd {
    let partitions = partitions as usize;
    AttemptEnd::Done(TaskOutput {
        bytes: vec![10; partitions],
        rows: vec![1; partitions],
        inline: None,
        metrics: TaskMetrics { run_us: 7_000, output_rows: 1, ..TaskMetrics::default() },
        ..TaskOutput::default()
    })
}

pub(super) fn inline() -> AttemptEnd {
    let AttemptEnd::Done(output) = done(1) else { unreachable!("done is done") };
    AttemptEnd::Done(TaskOutput { inline: Some(vec![42]), ..output })
}

pub(super) struct Harness {
    pub(super) scheduler: Scheduler,
    pub(super) now: Time,
    /// Launched and not ended.
    pub(super) running: BTreeMap<AttemptId, WorkerId>,
    /// Launches so far, in order.
    pub(super) launches: Vec<(WorkerId, Launch)>,
    /// Results left on workers that the driver has not taken.
    untaken: BTreeSet<AttemptId>,
    /// Output partitions by stage, so that ends fit.
    partitions: BTreeMap<StageId, u32>,
}

impl Harness {
    /// Workers A, B, C... with so many slots, and an application.
    pub(super) fn new(slots: &[u32]) -> Self {
        Self::with(SchedulerConfig::default(), slots)
    }

    pub(super) fn with(config: SchedulerConfig, slots: &[u32]) -> Self {
        let mut harness = Self {
            scheduler: Scheduler::new(config),
            now: Time(0),
            running: BTreeMap::new(),
            launches: Vec::new(),
            untaken: BTreeSet::new(),
            partitions: BTreeMap::new(),
        };
        for (id, slots) in (1..).zip(slots) {
            harness.join(WorkerId(id), *slots);
        }
        harness.send(Event::ApplicationOpened { application: APP });
        harness
    }

    pub(super) fn send(&mut self, event: Event) -> Vec<Action> {
        if let Event::StagesSubmitted { stages, .. } = &event {
            let sizes = stages.iter().map(|stage| (stage.id, stage.output.partitions()));
            self.partitions.extend(sizes);
        }
        let actions = self.scheduler.handle(self.now, event);
        self.scheduler.check();
        self.untaken.extend(results(&actions).into_iter().filter(|(_, left)| *left).map(|r| r.0));
        for action in &actions {
            match action {
                Action::Launch { worker, launch } => {
                    self.running.insert(launch.attempt, *worker);
                    self.launches.push((*worker, launch.clone()));
                }
                Action::Cancel { attempt, .. } => {
                    self.running.remove(attempt);
                }
                _ => {}
            }
        }
        actions
    }

    pub(super) fn join(&mut self, worker: WorkerId, slots: u32) -> Vec<Action> {
        let address = format!("{worker}:1");
        self.send(Event::WorkerJoined { worker, slots, address, running: vec![], held: vec![] })
    }

    pub(super) fn lose(&mut self, worker: WorkerId) -> Vec<Action> {
        self.running.retain(|_, on| *on != worker);
        self.send(Event::WorkerLost { worker, reason: "it was killed".to_owned() })
    }

    pub(super) fn submit(&mut self, stages: Vec<Stage>, sealed: bool) -> Vec<Action> {
        self.send(Event::StagesSubmitted { job: JOB, stages, sealed })
    }

    /// Lets time pass, and the scheduler know of it.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Action> {
        self.now = Time(self.now.0 + ms);
        self.send(Event::Tick)
    }

    pub(super) fn end(&mut self, attempt: AttemptId, end: AttemptEnd) -> Vec<Action> {
        let worker = self.running.remove(&attempt).expect("only running attempts end");
        self.send(Event::AttemptEnded { worker, attempt, end })
    }

    pub(super) fn finish(&mut self, attempt: AttemptId) -> Vec<Action> {
        let partitions = self.partitions[&attempt.task.stage];
        self.end(attempt, done(partitions))
    }

    /// Finishes what runs, in order, until nothing runs.
    pub(super) fn finish_all(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(attempt) = self.next_to_end(|_| true) {
            actions.extend(self.finish(attempt));
        }
        actions
    }

    /// The first attempt that can end: early ones wait for their inputs.
    fn next_to_end(&self, is_meant: impl Fn(&AttemptId) -> bool) -> Option<AttemptId> {
        let can_end = |attempt: &&AttemptId| !self.is_early(**attempt) && is_meant(attempt);
        self.running.keys().find(can_end).copied()
    }

    pub(super) fn is_early(&self, attempt: AttemptId) -> bool {
        self.scheduler.early.contains(attempt)
    }

    /// Finishes every running attempt of a stage, and what of it is launched meanwhile.
    pub(super) fn finish_stage(&mut self, ordinal: u32) -> Vec<Action> {
        let mut actions = Vec::new();
        let is_meant = |attempt: &AttemptId| attempt.task.stage == JOB.stage(ordinal);
        while let Some(attempt) = self.next_to_end(is_meant) {
            actions.extend(self.finish(attempt));
        }
        actions
    }

    /// Finishes everything, takes every result, and returns how the job ended.
    pub(super) fn run_to_end(&mut self) -> JobStats {
        loop {
            let mut actions = self.finish_all();
            while let Some(attempt) = self.untaken.pop_first() {
                actions.extend(self.send(Event::ResultTaken { attempt }));
            }
            if let Some((outcome, stats)) = ended(&actions) {
                assert_eq!(outcome, Ok(()));
                return stats;
            }
            assert!(!self.running.is_empty(), "the job is stuck");
        }
    }

    /// The tasks of a stage that were launched so far, in order.
    pub(super) fn launches_of(&self, ordinal: u32) -> Vec<u32> {
        let tasks = self.launches.iter().map(|(_, launch)| launch.attempt.task);
        tasks.filter(|task| task.stage == JOB.stage(ordinal)).map(|task| task.partition).collect()
    }

    pub(super) fn clear(&mut self) {
        self.launches.clear();
    }
}

/// Returns the outcome and the counts of a job that ended, if one did.
pub(super) fn ended(actions: &[Action]) -> Option<(Result<(), Failure>, JobStats)> {
    actions.iter().find_map(|action| match action {
        Action::JobEnded { outcome, stats, .. } => Some((outcome.clone(), *stats)),
        _ => None,
    })
}

/// The failure a job ended with.
pub(super) fn failed(actions: &[Action]) -> Failure {
    ended(actions).expect("the job ended").0.expect_err("the job failed")
}

pub(super) fn launched(actions: &[Action]) -> Vec<(WorkerId, AttemptId)> {
    let launch = |action: &Action| match action {
        Action::Launch { worker, launch } => Some((*worker, launch.attempt)),
        _ => None,
    };
    actions.iter().filter_map(launch).collect()
}

pub(super) fn cancelled(actions: &[Action]) -> Vec<AttemptId> {
    let cancel = |action: &Action| match action {
        Action::Cancel { attempt, .. } => Some(*attempt),
        _ => None,
    };
    actions.iter().filter_map(cancel).collect()
}

pub(super) fn dropped(actions: &[Action]) -> Vec<AttemptId> {
    let drop = |action: &Action| match action {
        Action::DropAttempt { attempt, .. } => Some(*attempt),
        _ => None,
    };
    actions.iter().filter_map(drop).collect()
}

/// Announced results, and whether each was left on a worker.
pub(super) fn results(actions: &[Action]) -> Vec<(AttemptId, bool)> {
    let ready = |action: &Action| match action {
        Action::ResultReady { attempt, location, .. } => {
            Some((*attempt, matches!(location, ResultLocation::Worker { .. })))
        }
        _ => None,
    };
    actions.iter().filter_map(ready).collect()
}

pub(super) fn finished_stages(actions: &[Action]) -> Vec<u32> {
    let finished = |action: &Action| match action {
        Action::StageFinished { summary } => Some(summary.stage.ordinal),
        _ => None,
    };
    actions.iter().filter_map(finished).collect()
}
