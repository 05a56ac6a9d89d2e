//! The state machine's owner: takes one event, lets one short function handle it, then hands out
//! the slots that came free.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::ids::{ApplicationId, JobId, StageId, TaskId, WorkerId};
use gnist_common::protocol::StageProgress;
use gnist_common::task::OutputTable;
use gnist_common::time::Time;

use crate::config::SchedulerConfig;
use crate::early::EarlyAttempts;
use crate::event::{Action, Event};
use crate::job::Job;
use crate::stage::StageRun;
#[cfg(test)]
use crate::task::TaskState;
use crate::timers::{Timer, Timers};
use crate::worker::Workers;

/// Decides what runs where. Start with [`Scheduler::handle`].
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: SchedulerConfig,
    /// The time of the event in hand.
    pub(crate) now: Time,
    pub(crate) workers: Workers,
    pub(crate) applications: BTreeMap<ApplicationId, Application>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) early: EarlyAttempts,
    pub(crate) timers: Timers,
    pub(crate) no_worker: NoWorker,
    /// The actions that the event in hand led to so far.
    pub(crate) actions: Vec<Action>,
}

/// The answer to a request for a stage's output table at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableLookup {
    /// The table, at that version or a later one.
    Complete(OutputTable),
    /// The stage still runs, and lost nothing since that version: wait. A launch that finds this is
    /// early, and gives way to whatever the stage needs; no other may wait in its slot.
    Pending,
    /// No table will come at that version: the stage lost outputs since, or its job has ended.
    Gone,
}

/// An application, as far as fairness goes.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// Slots that its running tasks hold.
    pub(crate) running_slots: u32,
    /// Stages with tasks that could be launched, by job and stage ordinal.
    pub(crate) ready: BTreeSet<(u32, u32)>,
    pub(crate) ended: EndedJobs,
}

/// The jobs of an application that have ended, kept so that a late message does not open one again.
#[derive(Debug, Default)]
pub(crate) struct EndedJobs {
    /// Every job below has ended.
    below: u32,
    others: BTreeSet<u32>,
}

impl EndedJobs {
    pub(crate) fn insert(&mut self, ordinal: u32) {
        self.others.insert(ordinal);
        while self.others.remove(&self.below) {
            self.below += 1;
        }
    }

    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        ordinal < self.below || self.others.contains(&ordinal)
    }
}

/// The time since when there is no worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoWorker {
    /// A worker is registered.
    No,
    /// None has come yet.
    Never { since: Time },
    /// The last one was lost.
    Lost { since: Time, worker: WorkerId, reason: String },
}

impl Scheduler {
    /// A scheduler without workers and applications.
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            config,
            now: Time::default(),
            workers: Workers::default(),
            applications: BTreeMap::new(),
            jobs: BTreeMap::new(),
            early: EarlyAttempts::default(),
            timers: Timers::default(),
            no_worker: NoWorker::Never { since: Time::default() },
            actions: Vec::new(),
        }
    }

    /// Takes an event that happened at `now` and returns what to do, in order. An event about
    /// something that is not, or no longer, known does nothing.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        debug_assert!(now >= self.now, "time never goes back");
        debug_assert!(self.actions.is_empty(), "actions were handed out");
        self.now = now.max(self.now);
        self.fire_timers();
        match event {
            Event::WorkerJoined { worker, slots, address, running, held } => {
                self.worker_joined(worker, slots, address, &running, &held);
            }
            Event::WorkerSuspect { worker } => self.worker_suspect(worker),
            Event::WorkerLost { worker, reason } => self.worker_lost(worker, &reason),
            Event::WorkerDraining { worker } => self.worker_draining(worker),
            Event::Heartbeat { worker, running } => self.heartbeat(worker, &running),
            Event::ApplicationOpened { application } => self.application_opened(application),
            Event::ApplicationClosed { application } => self.application_closed(application),
            Event::StagesSubmitted { job, stages, sealed } => {
                self.stages_submitted(job, stages, sealed);
            }
            Event::JobCancelled { job } => self.job_cancelled(job),
            Event::AttemptEnded { worker, attempt, end } => {
                self.attempt_ended(worker, attempt, end);
            }
            Event::SlotsReleased { worker, attempt } => self.slots_released(worker, attempt),
            Event::ResultTaken { attempt } => self.result_taken(attempt),
            Event::ResultMissing { attempt } => self.result_missing(attempt),
            Event::Tick => {}
        }
        self.dispatch();
        std::mem::take(&mut self.actions)
    }

    /// Returns the time at which to send [`Event::Tick`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Returns the places of a stage's outputs, as a launch that names `version` may read them.
    /// O(tasks x output partitions): ask once per worker, stage and version.
    pub fn output_table(&self, stage: StageId, version: u32) -> TableLookup {
        match self.stage(stage) {
            Some(run) if run.is_complete() && run.version >= version => {
                TableLookup::Complete(self.table_of(run))
            }
            Some(run) if run.version == version => TableLookup::Pending,
            Some(_) | None => TableLookup::Gone,
        }
    }

    fn table_of(&self, run: &StageRun) -> OutputTable {
        let holders = run.holdings().keys();
        let address = |worker: &WorkerId| {
            let known = self.workers.get(*worker)?;
            Some((*worker, known.address.clone()))
        };
        let workers = holders.filter_map(address).collect();
        let (stage, version) = (run.stage.id, run.version);
        OutputTable { stage, version, outputs: run.locations(), workers }
    }

    /// State of the stages of a job that have started. Empty if the job is not known. Attempts that
    /// wait for their inputs do not count as running: they get nowhere.
    pub fn progress(&self, job: JobId) -> Vec<StageProgress> {
        let stages = self.jobs.get(&job).map_or(&[][..], Job::stages);
        let progress = |run: &StageRun| progress(run, self.early.count_of(run.stage.id));
        stages.iter().filter(|run| run.started).map(progress).collect()
    }

    pub(crate) fn stage(&self, id: StageId) -> Option<&StageRun> {
        self.jobs.get(&id.job)?.stage(id)
    }

    pub(crate) fn stage_mut(&mut self, id: StageId) -> Option<&mut StageRun> {
        self.jobs.get_mut(&id.job)?.stage_mut(id)
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Retry(task) => self.retry(task),
                Timer::Resume(worker) => self.workers.resume(worker, self.now),
                Timer::NoWorker(job) => self.fail_without_worker(job),
            }
        }
    }

    fn retry(&mut self, task: TaskId) {
        let now = self.now;
        if self.stage_mut(task.stage).is_some_and(|stage| stage.wake(task.partition, now)) {
            self.refresh_ready(task.stage);
        }
    }

    /// Recounts everything that is kept twice.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.workers.check();
        for job in self.jobs.values() {
            job.stages().iter().for_each(StageRun::check);
        }
        for (id, application) in &self.applications {
            let jobs = || self.jobs.values().filter(|job| job.id.application == *id);
            let running: u32 = jobs().map(crate::recovery::running_slots).sum();
            assert_eq!(application.running_slots, running, "running slots of {id}");
            let ready = jobs().flat_map(|job| {
                let is_ready =
                    |run: &&StageRun| !run.queue().is_empty() && job.is_runnable(run.stage.id);
                job.stages()
                    .iter()
                    .filter(is_ready)
                    .map(|run| (job.id.ordinal, run.stage.id.ordinal))
            });
            assert_eq!(application.ready, ready.collect(), "ready stages of {id}");
        }
        for (attempt, worker) in self.early.iter() {
            let task = attempt.task;
            let state = &self.stage(task.stage).expect("it runs").task(task.partition).state;
            let runs = matches!(state, TaskState::Running { attempt: current, worker: on, .. }
                if *current == attempt.attempt && *on == worker);
            assert!(runs, "{attempt} is early and runs");
            assert!(!self.jobs[&task.stage.job].is_runnable(task.stage), "{attempt} is early");
        }
    }
}

fn progress(run: &StageRun, early: u32) -> StageProgress {
    StageProgress {
        stage: run.stage.id,
        done: run.done(),
        running: run.running() - early,
        tasks: run.stage.tasks,
        rows: run.rows().iter().sum(),
        bytes: run.bytes().iter().sum(),
    }
}
