//! Early attempts: launched before all they read is there, and the first to give way.
//!
//! ```text
//!                    ┌── its inputs are complete ──▶ a normal attempt
//!   Queued ──early──▶│
//!                    └── gives way ──▶ Queued: cancelled on its worker, nothing is counted
//! ```
//!
//! While the last tasks of a stage run, slots are idle. Tasks of its consumers take them, so that
//! their programs are pulled and decoded when the inputs come. They wait in their slots until then.
//!
//! An early attempt starts only when no runnable task waits for a slot, and when every task of the
//! incomplete stages it reads is done or runs, not early itself. It gives way
//! - as soon as a runnable task, of whatever job, waits and could use its slot;
//! - when an input loses an output: its launch names versions of tables that will never be.
//!
//! No deadlock, and any job finishes with one slot: of an unfinished job some stage has unfinished
//! tasks and complete inputs. Such a task runs, or backs off for a time, or waits; if it waits,
//! normal attempts end by themselves, since they wait for nobody, cancelled ones end, and early
//! ones are cancelled for it. This holds whatever early attempts read: one level of them is enough
//! because an early attempt that waits for another is of no use.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::ids::{AttemptId, JobId, StageId, TaskId, WorkerId};

use crate::dispatch::LOOKAHEAD;
use crate::job::Job;
use crate::placement;
use crate::scheduler::Scheduler;
use crate::stage::StageRun;
use crate::worker::Worker;

/// The attempts that wait for their inputs, and where. There are never more than slots.
#[derive(Debug, Default)]
pub(crate) struct EarlyAttempts(BTreeMap<AttemptId, WorkerId>);

impl EarlyAttempts {
    pub(crate) fn insert(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.0.insert(attempt, worker);
    }

    /// Forgets an attempt that does not run any more, if it was early.
    pub(crate) fn remove(&mut self, attempt: AttemptId) {
        self.0.remove(&attempt);
    }

    pub(crate) fn contains(&self, attempt: AttemptId) -> bool {
        self.0.contains_key(&attempt)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AttemptId, WorkerId)> {
        self.0.iter().map(|(attempt, worker)| (*attempt, *worker))
    }

    pub(crate) fn count_of(&self, stage: StageId) -> u32 {
        u32::try_from(self.of_stage(stage).count()).expect("no more than its tasks")
    }

    fn of_stage(&self, stage: StageId) -> impl Iterator<Item = AttemptId> {
        let first = stage.task(0).attempt(0);
        let of_stage = self.0.range(first..).map(|(attempt, _)| *attempt);
        of_stage.take_while(move |attempt| attempt.task.stage == stage)
    }

    fn has_any_of(&self, stage: StageId) -> bool {
        self.of_stage(stage).next().is_some()
    }

    fn on(&self, worker: WorkerId) -> impl DoubleEndedIterator<Item = AttemptId> {
        self.0.iter().filter(move |(_, on)| **on == worker).map(|(attempt, _)| *attempt)
    }
}

/// Slots that are free or coming free, by worker, and not yet meant for a waiting task.
type Room = BTreeMap<WorkerId, u32>;

impl Scheduler {
    /// Takes back as many early attempts as it needs for the tasks that could run and wait. Slots
    /// of cancelled attempts are coming free already, and each is meant for one task only.
    pub(crate) fn give_way(&mut self) {
        if self.early.0.is_empty() {
            return;
        }
        let room = |(id, worker): (WorkerId, &Worker)| (id, worker.free() + worker.ending());
        let mut room: Room = self.workers.usable().map(room).collect();
        for stage in self.waiting_stages() {
            let mut misfits = 0;
            let mut from = 0;
            while misfits < LOOKAHEAD && !self.early.0.is_empty() {
                let queue = self.stage(stage).expect("waiting stages are there").queue();
                let Some(&partition) = queue.range(from..).next() else { break };
                misfits += usize::from(!self.make_room(stage.task(partition), &mut room));
                from = partition + 1;
            }
        }
    }

    /// Stages with tasks that could run, and wait for slots.
    fn waiting_stages(&self) -> Vec<StageId> {
        let of_application = self.applications.iter().flat_map(|(id, application)| {
            application.ready.iter().map(|(job, stage)| id.job(*job).stage(*stage))
        });
        of_application.collect()
    }

    /// Finds a worker that has or will have room for a task, if need be by taking back the latest
    /// early attempts there. False if that is no help.
    fn make_room(&mut self, task: TaskId, room: &mut Room) -> bool {
        let request = self.request(task);
        let candidates = placement::candidates(&self.workers, &request, Some(task));
        let needs: BTreeMap<WorkerId, u32> =
            candidates.map(|(id, worker)| (id, request.width.slots_on(worker))).collect();
        let has_room = needs.iter().find(|(id, need)| room[id] >= **need).map(|(id, _)| *id);
        let found = has_room.or_else(|| self.latest_that_helps(&needs, room));
        let Some(worker) = found else { return false };
        let need = needs[&worker];
        while room[&worker] < need {
            let attempt = self.early.on(worker).next_back().expect("counted as helpful");
            let slots = self.slots_held(attempt).expect("early attempts run");
            self.take_back_early(attempt, worker);
            *room.get_mut(&worker).expect("looked at above") += slots;
        }
        *room.get_mut(&worker).expect("looked at above") -= need;
        true
    }

    /// Returns the worker with the latest early attempt, of those workers where taking back early
    /// attempts makes enough room.
    fn latest_that_helps(&self, needs: &BTreeMap<WorkerId, u32>, room: &Room) -> Option<WorkerId> {
        let helps = |worker: &WorkerId| {
            let need = needs.get(worker);
            need.is_some_and(|need| room[worker] + self.early_slots_on(*worker) >= *need)
        };
        self.early.0.values().rev().copied().find(helps)
    }

    fn early_slots_on(&self, worker: WorkerId) -> u32 {
        self.early.on(worker).filter_map(|attempt| self.slots_held(attempt)).sum()
    }

    /// Launches tasks whose last producers run, where slots are free. To be called when no task
    /// that could run waits. O(stages of running jobs).
    pub(crate) fn start_early(&mut self) {
        if !self.workers.has_free() {
            return;
        }
        let jobs = self.jobs.values();
        let early = jobs.flat_map(|job| job.stages().iter().filter(|run| self.is_next(job, run)));
        let mut stages: BTreeSet<StageId> = early.map(|run| run.stage.id).collect();
        while self.workers.has_free() {
            let running = |id: &StageId| self.applications[&id.job.application].running_slots;
            let next = stages.iter().min_by_key(|id| (running(id), **id)).copied();
            let Some(stage) = next else { break };
            if !self.launch_one_of(stage) {
                stages.remove(&stage);
            }
        }
    }

    /// Some task of a stage is queued, and all that is missing of what it reads is being made.
    pub(crate) fn is_next(&self, job: &Job, run: &StageRun) -> bool {
        let is_made =
            |from: &StageRun| from.nothing_waits() && !self.early.has_any_of(from.stage.id);
        !run.queue().is_empty()
            && job.inputs(run.stage.id).all(|from| from.is_complete() || is_made(from))
    }

    /// The early attempts of a stage are like any others once all it reads is there.
    pub(crate) fn end_earliness(&mut self, stage: StageId) {
        let is_runnable = self.jobs.get(&stage.job).is_some_and(|job| job.is_runnable(stage));
        if is_runnable {
            let attempts: Vec<_> = self.early.of_stage(stage).collect();
            attempts.into_iter().for_each(|attempt| self.early.remove(attempt));
        }
    }

    /// Takes back the early attempts that were to read what was lost. Outputs that an unfinished
    /// task reads and that are lost were lost just now: `recover` wants them at once.
    pub(crate) fn take_back_superseded(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let has_lost = |run: &&StageRun| job.inputs(run.stage.id).any(|from| from.lost() > 0);
        let superseded = job.stages().iter().filter(has_lost);
        let attempts = superseded.flat_map(|run| self.early.of_stage(run.stage.id));
        let attempts: Vec<_> = attempts.map(|attempt| (attempt, self.early.0[&attempt])).collect();
        for (attempt, worker) in attempts {
            self.take_back_early(attempt, worker);
        }
    }

    /// Cancels an early attempt and queues its task. It has read nothing, so nothing is counted.
    fn take_back_early(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.cancel(attempt, worker);
        let job = self.jobs.get_mut(&attempt.task.stage.job).expect("early attempts have a job");
        job.stats.attempts -= 1;
    }
}
