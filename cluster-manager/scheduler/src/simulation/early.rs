//! Rules that early attempts are held to, seen from outside.

use std::collections::BTreeMap;

use gnist_common::ids::{AttemptId, JobId, StageId, TaskId, WorkerId};
use gnist_common::task::Launch;

use super::graphs::Plan;
use crate::{Scheduler, TableLookup, TaskStatus, WorkerStatus, WorkerView};

/// The early attempts, by what was said of them.
#[derive(Debug, Default)]
pub(super) struct EarlyLog {
    running: BTreeMap<AttemptId, (WorkerId, Launch)>,
    pub(super) launches: u64,
    pub(super) gave_way: u64,
}

impl EarlyLog {
    /// A launch whose inputs are not all there: every other task of theirs is done or runs, and
    /// has what it reads.
    pub(super) fn launched(&mut self, scheduler: &Scheduler, worker: WorkerId, launch: &Launch) {
        self.running.retain(|attempt, (_, launch)| is_still_early(scheduler, *attempt, launch));
        let (attempt, inputs) = (launch.attempt, launch.inputs.iter());
        let missing =
            inputs.map(|input| input.input.stage).filter(|from| !is_there(scheduler, *from));
        for task in missing.flat_map(|from| scheduler.tasks(from)) {
            let is_settled = matches!(task.status, TaskStatus::Running | TaskStatus::Done);
            assert!(
                is_settled,
                "{attempt} starts early, and an input has a task that waits: {task:?}"
            );
            let current = task.current.map(|(current, _)| current);
            let is_early = current.is_some_and(|current| self.running.contains_key(&current));
            assert!(!is_early, "{attempt} starts early, and so did {current:?}, which it reads");
        }
        self.launches += 1;
        self.running.insert(attempt, (worker, launch.clone()));
    }

    pub(super) fn cancelled(&mut self, attempt: AttemptId) {
        self.gave_way += u64::from(self.running.remove(&attempt).is_some());
    }

    /// Checks, after an event and all that came of it, that nothing an early attempt waits for is
    /// gone, and that no task that could run waits for a slot that an early attempt holds.
    pub(super) fn settled(
        &mut self,
        scheduler: &Scheduler,
        plans: &BTreeMap<JobId, Plan>,
        is_choosy: impl Fn(TaskId) -> bool,
    ) {
        self.running.retain(|attempt, (_, launch)| is_still_early(scheduler, *attempt, launch));
        for (attempt, (_, launch)) in &self.running {
            for input in &launch.inputs {
                let lookup = scheduler.output_table(input.input.stage, input.version);
                assert_ne!(lookup, TableLookup::Gone, "{attempt} waits for what is gone");
            }
        }
        let workers = scheduler.snapshot().workers;
        let usable = || workers.iter().filter(|view| view.status == WorkerStatus::Usable);
        let is_on = |view: &WorkerView| self.running.values().any(|(on, _)| *on == view.worker);
        if !usable().any(is_on) {
            return;
        }
        let waiting = waiting(scheduler, plans);
        let is_wide = |task: &TaskId| plans[&task.stage.job].stage(task.stage).slots_per_task > 1;
        if waiting.iter().any(|task| is_wide(task) || is_choosy(*task)) {
            return; // It may need several slots of one worker, which is then kept free for it.
        }
        let free = |view: &WorkerView| view.slots - held(scheduler, view);
        let coming_free: u32 = usable().map(free).sum();
        let waiting = waiting.len();
        assert!(
            waiting <= coming_free as usize,
            "{waiting} tasks wait for {coming_free} slots, and {:?} are early",
            self.running.keys()
        );
    }
}

/// Every task of a stage has an output that can be read.
fn is_there(scheduler: &Scheduler, stage: StageId) -> bool {
    scheduler.tasks(stage).iter().all(|task| task.status == TaskStatus::Done)
}

fn is_still_early(scheduler: &Scheduler, attempt: AttemptId, launch: &Launch) -> bool {
    is_running(scheduler, attempt)
        && !launch.inputs.iter().all(|input| is_there(scheduler, input.input.stage))
}

/// True if the attempt is its task's current one, and neither cancelled nor given up.
fn is_running(scheduler: &Scheduler, attempt: AttemptId) -> bool {
    let tasks = scheduler.tasks(attempt.task.stage);
    let task = tasks.get(attempt.task.partition as usize);
    task.is_some_and(|task| {
        task.status == TaskStatus::Running
            && task.current.is_some_and(|(current, _)| current == attempt)
    })
}

/// Tasks that could run, and do not.
fn waiting(scheduler: &Scheduler, plans: &BTreeMap<JobId, Plan>) -> Vec<TaskId> {
    let stages = plans.values().flat_map(Plan::stages);
    let runnable =
        stages.filter(|stage| stage.inputs.iter().all(|input| is_there(scheduler, input.stage)));
    let tasks = runnable.flat_map(|stage| {
        let queued =
            scheduler.tasks(stage.id).into_iter().filter(|task| task.status == TaskStatus::Queued);
        queued.map(|task| stage.id.task(task.partition))
    });
    tasks.collect()
}

/// Slots of a worker that attempts hold which were not told to stop, at least. Short tasks that
/// were launched ahead of their turn hold none.
fn held(scheduler: &Scheduler, view: &WorkerView) -> u32 {
    let running = view.running.iter().filter(|attempt| is_running(scheduler, **attempt));
    running.filter_map(|attempt| scheduler.slots_held(*attempt)).sum()
}
