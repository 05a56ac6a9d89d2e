//! Hands out free slots: which application, which stage, which task, which worker.
//!
//! Of the applications with something to launch, the one with the fewest running slots goes
//! first; within it jobs, stages and tasks go by their ordinals. A task that needs several slots
//! of one worker would starve behind narrow ones, so it may reserve a worker, one per stage, on
//! which nothing else is launched until it fits. What is free when nothing runnable waits goes to
//! early attempts; see `early`.

use std::collections::BTreeSet;

use gnist_common::ids::{StageId, TaskId, WorkerId};
use gnist_common::task::{Launch, LaunchInput};

use crate::event::Action;
use crate::placement::{self, Request, Width};
use crate::scheduler::Scheduler;

/// Tasks of one stage that are looked at before it is passed over: those at the head of the queue
/// may be waiting for another worker than the free ones.
pub(crate) const LOOKAHEAD: usize = 32;

impl Scheduler {
    /// Launches whatever can be.
    pub(crate) fn dispatch(&mut self) {
        self.serve_reservations();
        self.launch_runnable();
        self.launch_ahead();
        if self.applications.values().all(|application| application.ready.is_empty()) {
            self.start_early();
        } else {
            self.give_way();
        }
    }

    fn launch_runnable(&mut self) {
        let mut passed = BTreeSet::new();
        while self.workers.has_free() {
            let Some(stage) = self.next_stage(&passed) else { break };
            let reserved = self.workers.reserved().len();
            if !self.launch_one_of(stage) {
                passed.insert(stage);
            } else if self.workers.reserved().len() < reserved {
                // A worker is open again, perhaps to what was passed over.
                passed.clear();
            }
        }
    }

    /// Launches short tasks of the stage whose turn it is for slots that will soon come free.
    fn launch_ahead(&mut self) {
        while let Some(id) = self.next_stage(&BTreeSet::new()) {
            let stage = self.stage(id).expect("stages to launch of are there");
            let is_narrow = stage.stage.slots_per_task == 1;
            let Some(&partition) = stage.queue().first() else { break };
            if !is_narrow || !stage.is_short() {
                break;
            }
            let request = self.request(id.task(partition));
            let is_plain = request.width == Width::Slots(1) && request.avoid.is_none();
            let worker = placement::place_ahead(&self.workers, request.preferred);
            let (true, Some(worker)) = (is_plain, worker) else { break };
            self.launch(id.task(partition), worker, Width::Ahead);
        }
    }

    /// Puts a stage on the list of those with something to launch, or takes it off. To be called
    /// when its queue or the completeness of its inputs changed.
    pub(crate) fn refresh_ready(&mut self, id: StageId) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let has_queue = job.stage(id).is_some_and(|stage| !stage.queue().is_empty());
        let is_ready = has_queue && job.is_runnable(id);
        let application = self.applications.get_mut(&id.job.application);
        let application = application.expect("jobs end before their application");
        let entry = (id.job.ordinal, id.ordinal);
        if is_ready {
            application.ready.insert(entry)
        } else {
            application.ready.remove(&entry)
        };
    }

    /// The stage whose turn it is, of those not passed over.
    fn next_stage(&self, passed: &BTreeSet<StageId>) -> Option<StageId> {
        let candidates = self.applications.iter().filter_map(|(id, application)| {
            let stages = application.ready.iter().map(|(job, stage)| id.job(*job).stage(*stage));
            let stage = stages.into_iter().find(|stage| !passed.contains(stage))?;
            Some((application.running_slots, stage))
        });
        candidates.min().map(|(_, stage)| stage)
    }

    /// Launches one task of a stage. False if no free worker suits the head of its queue.
    pub(crate) fn launch_one_of(&mut self, id: StageId) -> bool {
        let mut from = 0;
        for _ in 0..LOOKAHEAD {
            let stage = self.stage(id).expect("stages to launch of are there");
            let Some(&partition) = stage.queue().range(from..).next() else { break };
            let task = id.task(partition);
            let request = self.request(task);
            if let Some(worker) = placement::place(&self.workers, &request) {
                self.launch(task, worker, request.width);
                return true;
            }
            if request.width.is_wide() && self.is_launchable(task) {
                self.reserve(task, &request);
            }
            from = partition + 1;
        }
        false
    }

    pub(crate) fn request(&self, id: TaskId) -> Request {
        let job = &self.jobs[&id.stage.job];
        let stage = job.stage(id.stage).expect("queued tasks have a stage");
        let task = stage.task(id.partition);
        let slots = stage.stage.slots_per_task.max(1);
        Request {
            width: if task.alone { Width::Alone } else { Width::Slots(slots) },
            avoid: task.avoid,
            preferred: placement::preferred(job, id.stage, id.partition, &self.workers),
        }
    }

    fn launch(&mut self, id: TaskId, worker: WorkerId, width: Width) {
        let holder = self.workers.get(worker).expect("placed on a known worker");
        let (held, total) = (width.slots_on(holder), holder.slots);
        let job = self.jobs.get_mut(&id.stage.job).expect("launches belong to known jobs");
        let is_early = !job.is_runnable(id.stage);
        let stage = job.stage_mut(id.stage).expect("launches belong to known stages");
        let (attempt, runs_again) = stage.start(id.partition, worker, held);
        job.workers.insert(worker);
        job.stats.attempts += 1;
        job.stats.recomputed += u32::from(runs_again);
        let stage = job.stage(id.stage).expect("as above");
        let inputs = stage.stage.inputs.iter().zip(job.inputs(id.stage));
        let launch = Launch {
            attempt,
            generation: stage.generation,
            program: stage.stage.program,
            bindings: stage.stage.bindings,
            slots: stage.stage.slots_per_task.min(total).min(held),
            inputs: inputs
                .map(|(input, from)| LaunchInput { input: *input, version: from.version })
                .collect(),
            output: stage.stage.output,
            tasks: stage.stage.tasks,
        };
        self.workers.unreserve_for(id);
        self.workers.occupy(worker, attempt, held);
        if is_early {
            self.early.insert(attempt, worker);
        }
        let account = self.applications.get_mut(&id.stage.job.application);
        account.expect("jobs end before their application").running_slots += held;
        self.actions.push(Action::Launch { worker, launch });
        self.refresh_ready(id.stage);
    }

    /// Keeps a worker free for a wide task, unless its stage has one already.
    fn reserve(&mut self, task: TaskId, request: &Request) {
        let has_one = self.workers.reserved().values().any(|other| other.stage == task.stage);
        let worker = placement::to_reserve(&self.workers, request);
        if let (false, Some(worker)) = (has_one, worker) {
            self.workers.reserve(worker, task);
        }
    }

    /// Launches wide tasks whose worker is free enough by now, and lets go of workers that were
    /// reserved for nothing.
    fn serve_reservations(&mut self) {
        if self.workers.reserved().is_empty() {
            return;
        }
        let reserved: Vec<_> = self.workers.reserved().iter().map(|(w, t)| (*w, *t)).collect();
        for (worker, task) in reserved {
            let holder = self.workers.get(worker).expect("lost workers lose their reservation");
            if !holder.is_usable() || !self.is_launchable(task) {
                self.workers.unreserve(worker);
                continue;
            }
            let width = self.request(task).width;
            if width.fits(holder) {
                self.launch(task, worker, width);
            }
        }
    }

    fn is_launchable(&self, task: TaskId) -> bool {
        let Some(job) = self.jobs.get(&task.stage.job) else { return false };
        let stage = job.stage(task.stage);
        stage.is_some_and(|stage| stage.queue().contains(&task.partition))
            && job.is_runnable(task.stage)
    }
}
