//! The simulated world: its clock, its messages and their delays, and the shell between the
//! scheduler and everyone else. Workers are in `cluster`, drivers in `drivers`, what befalls them
//! in `trouble`.

use std::collections::BTreeMap;

use gnist_common::ids::{AttemptId, TaskId, WorkerId};
use gnist_common::protocol::ResultLocation;
use gnist_common::time::Time;

use super::checks::Checks;
use super::cluster::{Order, SimWorker};
use super::graphs::Made;
use super::random::{Random, mix};
use crate::{Action, Event, Scheduler, SchedulerConfig};

pub(super) const HEARTBEAT_MS: u64 = 1_000;
/// Longest delay of a message, in milliseconds: below half a heartbeat, so that no launch is taken
/// for lost while it travels.
const LATENCY_MS_MAX: u64 = 300;
const STEPS_MAX: u64 = 200_000;

/// An event of the simulation that is still to come.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// The scheduler hears from its shell or a driver.
    Tell(Event),
    /// The scheduler hears from a worker, if the connection still stands.
    FromWorker(WorkerId, u32, Event),
    /// A worker hears from the scheduler, if the connection still stands.
    ToWorker(WorkerId, u32, Order),
    /// A driver hears where a result is.
    Result(AttemptId, WorkerId),
    /// A driver hears a value.
    Value(AttemptId),
    /// A task has run its time.
    Finish(WorkerId, AttemptId),
    Heartbeat(WorkerId),
    Join(u32),
    Kill,
    Break,
    Rejoin(WorkerId),
    Drain,
    Leave(WorkerId),
    /// A block rots.
    Rot,
    Tick,
}

/// One ordered stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    FromWorker(WorkerId),
    ToWorker(WorkerId),
    FromDriver,
    ToDriver,
}

/// Counts of what happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) jobs: u64,
    pub(super) jobs_done: u64,
    pub(super) workers_lost: u64,
    pub(super) recomputed: u64,
    pub(super) rolled_back: u64,
    pub(super) stale_ends: u64,
    pub(super) early_launches: u64,
    pub(super) gave_way: u64,
    /// Jobs that failed because their driver had what can't be made again.
    pub(super) contradicted: u64,
    /// Stages that made other rows the second time and should not have.
    pub(super) demoted: u64,
    /// A digest of every action in order.
    pub(super) digest: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.jobs_done += other.jobs_done;
        self.workers_lost += other.workers_lost;
        self.recomputed += other.recomputed;
        self.rolled_back += other.rolled_back;
        self.stale_ends += other.stale_ends;
        self.early_launches += other.early_launches;
        self.gave_way += other.gave_way;
        self.contradicted += other.contradicted;
        self.demoted += other.demoted;
        self.digest = mix(&[self.digest, other.digest]);
    }
}

/// The whole simulation: the real scheduler, simulated workers and streams, the clock, and the
/// checks.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: u64,
    pub(super) scheduler: Scheduler,
    pub(super) agenda: BTreeMap<(u64, u64), Happening>,
    pub(super) sequence: u64,
    pub(super) streams: BTreeMap<Stream, u64>,
    pub(super) workers: BTreeMap<WorkerId, SimWorker>,
    pub(super) mishaps_per_mille: u64,
    /// Prints every event and action.
    pub(super) is_traced: bool,
    /// Outputs of all attempts ever, even those that are lost.
    pub(super) made: BTreeMap<AttemptId, Made>,
    /// The attempt whose output a driver bound, by task.
    pub(super) bound: BTreeMap<TaskId, AttemptId>,
    pub(super) checks: Checks,
    pub(super) counts: Counts,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mishaps_per_mille = *random.pick(&[0, 20, 60]);
        let mut world = Self {
            random,
            now: 0,
            scheduler: Scheduler::new(SchedulerConfig::default()),
            agenda: BTreeMap::new(),
            sequence: 0,
            streams: BTreeMap::new(),
            workers: BTreeMap::new(),
            mishaps_per_mille,
            is_traced: std::env::var_os("GNIST_SIM_TRACE").is_some(),
            made: BTreeMap::new(),
            bound: BTreeMap::new(),
            checks: Checks::default(),
            counts: Counts::default(),
        };
        world.plan_workers();
        world.plan_jobs();
        world.plan_trouble();
        world
    }

    /// Runs until every job has ended and what was left of it is cleaned up.
    pub(super) fn run(mut self) -> Counts {
        let mut quiet_until = None;
        for _ in 0..STEPS_MAX {
            let Some(((at, _), happening)) = self.agenda.pop_first() else { break };
            self.now = at;
            self.happen(happening);
            if quiet_until.is_none() && self.checks.ended.len() == self.checks.plans.len() {
                quiet_until = Some(self.now + 20 * HEARTBEAT_MS);
            }
            if quiet_until.is_some_and(|end| self.now >= end) {
                self.check_quiet();
                return self.counts();
            }
        }
        panic!("stuck at {} ms: {:#?}", self.now, self.scheduler.snapshot());
    }

    fn counts(self) -> Counts {
        Counts {
            jobs: self.checks.ended.len() as u64,
            jobs_done: self.checks.ended.values().filter(|is_done| **is_done).count() as u64,
            rolled_back: self.checks.rolled_back,
            stale_ends: self.checks.stale_ends,
            early_launches: self.checks.early.launches,
            gave_way: self.checks.early.gave_way,
            contradicted: self.checks.contradicted,
            demoted: self.checks.demoted,
            ..self.counts
        }
    }

    /// Checks that nothing is held for ended jobs any more.
    fn check_quiet(&self) {
        let snapshot = self.scheduler.snapshot();
        assert!(snapshot.jobs.is_empty());
        for view in &snapshot.workers {
            assert_eq!(view.used, 0, "{} keeps slots: {view:?}", view.worker);
            let worker = &self.workers[&view.worker];
            assert!(worker.running.is_empty(), "{} still runs tasks", view.worker);
            let blocks: Vec<_> = worker.blocks.keys().collect();
            assert!(blocks.is_empty(), "{} keeps blocks of {blocks:?}", view.worker);
        }
    }

    pub(super) fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), happening);
    }

    /// Sends over an ordered stream: late, but never before what was sent earlier.
    pub(super) fn send(&mut self, stream: Stream, happening: Happening) {
        let arrival = self.now + self.random.between(1, LATENCY_MS_MAX);
        let at = self.delay(stream, arrival);
        self.at(at, happening);
    }

    /// Holds a stream back: nothing more arrives before `until`, or before what is on its way.
    /// Returns the later of the two.
    pub(super) fn delay(&mut self, stream: Stream, until: u64) -> u64 {
        let before = self.streams.entry(stream).or_default();
        *before = until.max(*before);
        *before
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell(event) => self.tell(event),
            Happening::FromWorker(id, connection, event) => {
                // The shell refuses incarnations that it declared lost; late ends get through.
                let is_refused =
                    matches!(event, Event::WorkerJoined { .. }) && self.checks.has_lost(id);
                if self.workers[&id].connection == connection && !is_refused {
                    self.tell(event);
                }
            }
            Happening::ToWorker(id, connection, order) => {
                let worker = &self.workers[&id];
                if worker.alive && worker.connected && worker.connection == connection {
                    self.obey(id, order);
                }
            }
            Happening::Result(attempt, worker) => self.fetch_result(attempt, worker),
            Happening::Value(attempt) => self.bind(attempt),
            Happening::Finish(worker, attempt) => self.finish(worker, attempt),
            Happening::Heartbeat(worker) => self.heartbeat(worker),
            Happening::Join(slots) => self.join(slots),
            Happening::Kill => self.kill(),
            Happening::Break => self.break_stream(),
            Happening::Rejoin(worker) => self.rejoin(worker),
            Happening::Drain => self.drain(),
            Happening::Leave(worker) => self.leave(worker),
            Happening::Rot => self.rot(),
            Happening::Tick => self.tell(Event::Tick),
        }
    }

    /// Lets the scheduler handle an event, and does what it says.
    pub(super) fn tell(&mut self, event: Event) {
        if self.is_traced {
            eprintln!("{:>6} <- {event:?}", self.now);
        }
        self.checks.event(&event);
        let actions = self.scheduler.handle(Time(self.now), event);
        self.scheduler.check();
        for action in &actions {
            let bytes: Vec<u64> = format!("{action:?}").bytes().map(u64::from).collect();
            self.counts.digest = mix(&[self.counts.digest, mix(&bytes)]);
        }
        for action in actions {
            if self.is_traced {
                eprintln!("       -> {action:?}");
            }
            self.perform(action);
        }
        self.checks.settled(&self.scheduler);
        self.answer_pulls();
        if let Some(at) = self.scheduler.next_deadline() {
            self.at(at.0, Happening::Tick);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Launch { worker, launch } => {
                self.checks.launched(&self.scheduler, worker, &launch);
                self.order(worker, Order::Launch(launch));
            }
            Action::Cancel { worker, attempt } => {
                self.checks.cancelled(attempt);
                self.order(worker, Order::Cancel(attempt));
            }
            Action::DropAttempt { worker, attempt } => {
                self.checks.dropped(attempt);
                self.order(worker, Order::DropAttempt(attempt));
            }
            Action::DropJob { worker, job } => self.order(worker, Order::DropJob(job)),
            Action::Probe { worker } => self.probe(worker),
            Action::StageFinished { summary } => self.checks.stage_finished(summary.stage),
            Action::ResultReady { attempt, location, .. } => {
                self.checks.result_ready(attempt, &location);
                let heard = match location {
                    ResultLocation::Worker { worker, .. } => Happening::Result(attempt, worker),
                    ResultLocation::Inline(_) => Happening::Value(attempt),
                };
                self.send(Stream::ToDriver, heard);
            }
            Action::WorkerLost { .. } => {}
            Action::StageDemoted { stage } => self.checks.demoted(stage),
            Action::JobEnded { job, outcome, stats } => {
                self.counts.recomputed += u64::from(stats.recomputed);
                self.checks.job_ended(job, &outcome, &self.made);
            }
        }
    }
}
