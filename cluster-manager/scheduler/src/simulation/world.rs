//! The simulated world: its clock, its messages and their delays, and the shell between the
//! scheduler and everyone else.

use std::collections::BTreeMap;

use gnist_common::graph::StageOutput;
use gnist_common::ids::{ApplicationId, AttemptId, JobId, WorkerId};
use gnist_common::protocol::ResultLocation;
use gnist_common::task::{AttemptEnd, Launch, TaskMetrics, TaskOutput};
use gnist_common::time::Time;

use super::checks::Checks;
use super::cluster::{Order, Running, SimWorker, bad_luck, mishap, read};
use super::graphs::{Made, Plan};
use super::random::{Random, mix};
use crate::{Action, Event, Scheduler, SchedulerConfig};

const HEARTBEAT_MS: u64 = 1_000;
/// Below half a heartbeat, so that no launch is taken for lost while it travels.
const LATENCY_MS_MAX: u64 = 300;
const STEPS_MAX: u64 = 200_000;

/// Something that will happen.
#[derive(Clone, Debug)]
enum Happening {
    /// The scheduler hears from its shell or a driver.
    Tell(Event),
    /// The scheduler hears from a worker, if the connection still stands.
    FromWorker(WorkerId, u32, Event),
    /// A worker hears from the scheduler, if the connection still stands.
    ToWorker(WorkerId, u32, Order),
    /// A driver hears from the scheduler.
    Result(AttemptId, WorkerId),
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
enum Stream {
    FromWorker(WorkerId),
    ToWorker(WorkerId),
    FromDriver,
    ToDriver,
}

/// What happened in a run.
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
        self.digest = mix(&[self.digest, other.digest]);
    }
}

/// Everything.
pub(super) struct World {
    random: Random,
    now: u64,
    scheduler: Scheduler,
    agenda: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    streams: BTreeMap<Stream, u64>,
    workers: BTreeMap<WorkerId, SimWorker>,
    mishaps_per_mille: u64,
    /// Prints every event and action.
    is_traced: bool,
    /// Everything any attempt ever made.
    made: BTreeMap<AttemptId, Made>,
    checks: Checks,
    counts: Counts,
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
            ..self.counts
        }
    }

    /// Nothing is held for ended jobs any more.
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

    fn plan_workers(&mut self) {
        for _ in 0..self.random.between(1, 4) {
            let (at, slots) = (self.random.between(0, 500), self.random.small(1, 4));
            self.at(at, Happening::Join(slots));
        }
    }

    fn plan_jobs(&mut self) {
        for application in 1..=self.random.between(1, 2) {
            let application = ApplicationId(application);
            self.at(0, Happening::Tell(Event::ApplicationOpened { application }));
            for ordinal in 0..self.random.small(1, 2) {
                self.plan_job(application.job(ordinal));
            }
        }
    }

    fn plan_job(&mut self, job: JobId) {
        let plan = Plan::random(&mut self.random, job);
        let mut at = self.random.between(1, 4_000);
        let last = plan.batches.len() - 1;
        for (number, stages) in plan.batches.iter().cloned().enumerate() {
            let sealed = number == last;
            self.at(at, Happening::Tell(Event::StagesSubmitted { job, stages, sealed }));
            at += self.random.between(1, 10_000);
        }
        if self.random.chance(50) {
            self.at(at, Happening::Tell(Event::JobCancelled { job }));
        }
        self.checks.plans.insert(job, plan);
    }

    fn plan_trouble(&mut self) {
        let kinds = [Happening::Kill, Happening::Break, Happening::Rot, Happening::Drain];
        for (kind, most) in kinds.into_iter().zip([4, 3, 4, 1]) {
            for _ in 0..self.random.between(0, most) {
                let at = self.random.between(500, 20_000);
                self.at(at, kind.clone());
            }
        }
        for _ in 0..self.random.between(1, 4) {
            let (at, slots) = (self.random.between(500, 30_000), self.random.small(1, 4));
            self.at(at, Happening::Join(slots));
        }
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), happening);
    }

    /// Sends over an ordered stream: late, but never before what was sent earlier.
    fn send(&mut self, stream: Stream, happening: Happening) {
        let arrival = self.now + self.random.between(1, LATENCY_MS_MAX);
        let before = self.streams.entry(stream).or_default();
        *before = arrival.max(*before);
        let at = *before;
        self.at(at, happening);
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
    fn tell(&mut self, event: Event) {
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
                if let ResultLocation::Worker { worker, .. } = location {
                    self.send(Stream::ToDriver, Happening::Result(attempt, worker));
                }
            }
            Action::WorkerLost { .. } => {}
            Action::JobEnded { job, outcome, stats } => {
                self.counts.recomputed += u64::from(stats.recomputed);
                self.checks.job_ended(job, &outcome, &self.made);
            }
        }
    }

    fn order(&mut self, worker: WorkerId, order: Order) {
        let connection = self.workers[&worker].connection;
        self.send(Stream::ToWorker(worker), Happening::ToWorker(worker, connection, order));
    }

    fn obey(&mut self, id: WorkerId, order: Order) {
        match order {
            Order::Launch(launch) => self.start(id, launch),
            Order::Cancel(attempt) => {
                let worker = self.workers.get_mut(&id).expect("orders go to workers");
                if worker.running.remove(&attempt).is_some() {
                    self.report(id, attempt, AttemptEnd::Cancelled);
                }
            }
            Order::DropAttempt(attempt) => {
                self.workers.get_mut(&id).expect("orders go to workers").blocks.remove(&attempt);
            }
            Order::DropJob(job) => {
                self.workers.get_mut(&id).expect("orders go to workers").drop_job(job)
            }
        }
    }

    fn start(&mut self, id: WorkerId, launch: Launch) {
        let attempt = launch.attempt;
        let mut running = Running::new(launch);
        running.pull(&self.scheduler);
        let is_waiting = running.is_waiting();
        let worker = self.workers.get_mut(&id).expect("orders go to workers");
        worker.running.insert(attempt, running);
        assert!(worker.slots_in_use() <= worker.slots, "{id} runs more than it has slots");
        // Bad luck may strike who waits, too.
        if !is_waiting || self.random.chance(self.mishaps_per_mille) {
            self.run_for_a_while(id, attempt);
        }
    }

    fn run_for_a_while(&mut self, id: WorkerId, attempt: AttemptId) {
        let at = self.now + self.random.between(10, 3_000);
        self.at(at, Happening::Finish(id, attempt));
    }

    /// Tells the attempts that wait for their inputs what became of them.
    fn answer_pulls(&mut self) {
        let mut answered = Vec::new();
        for (id, worker) in self.workers.iter_mut().filter(|(_, worker)| worker.alive) {
            let waiting = worker.running.iter_mut().filter(|(_, running)| running.is_waiting());
            for (attempt, running) in waiting {
                running.pull(&self.scheduler);
                if !running.is_waiting() {
                    answered.push((*id, *attempt));
                }
            }
        }
        for (id, attempt) in answered {
            self.run_for_a_while(id, attempt);
        }
    }

    fn finish(&mut self, id: WorkerId, attempt: AttemptId) {
        let worker = &self.workers[&id];
        if !worker.alive || !worker.running.contains_key(&attempt) {
            return;
        }
        let running = worker.running[&attempt].clone();
        let end = match mishap(&mut self.random, self.mishaps_per_mille) {
            _ if running.is_waiting() => bad_luck(&mut self.random),
            Some(mishap) => mishap,
            None => match read(&self.workers, &running) {
                Ok(inputs) => self.make(id, &running.launch, &inputs),
                Err(end) => *end,
            },
        };
        self.workers.get_mut(&id).expect("looked at above").running.remove(&attempt);
        self.report(id, attempt, end);
    }

    fn make(&mut self, id: WorkerId, launch: &Launch, inputs: &[Vec<Made>]) -> AttemptEnd {
        let attempt = launch.attempt;
        let made = self.checks.plans[&attempt.task.stage.job].compute(attempt, inputs);
        let is_inline = launch.output == StageOutput::Result && self.random.chance(500);
        let worker = self.workers.get_mut(&id).expect("tasks run on workers");
        if !is_inline {
            worker.blocks.insert(attempt, made.clone());
        }
        self.made.insert(attempt, made);
        let partitions = launch.output.partitions();
        let bytes = (0..partitions).map(|_| self.random.between(1, 4 << 20)).collect();
        AttemptEnd::Done(TaskOutput {
            bytes,
            rows: vec![1; partitions as usize],
            inline: is_inline.then(Vec::new),
            metrics: TaskMetrics::default(),
        })
    }

    fn report(&mut self, worker: WorkerId, attempt: AttemptId, end: AttemptEnd) {
        self.say(worker, Event::AttemptEnded { worker, attempt, end });
    }

    /// A worker says something, if it is connected.
    fn say(&mut self, id: WorkerId, event: Event) {
        let worker = &self.workers[&id];
        if worker.connected {
            let happening = Happening::FromWorker(id, worker.connection, event);
            self.send(Stream::FromWorker(id), happening);
        }
    }

    /// The driver fetches a result. If its worker is dead, it will be told of another attempt.
    fn fetch_result(&mut self, attempt: AttemptId, id: WorkerId) {
        let worker = &self.workers[&id];
        if worker.alive {
            let is_there = worker.blocks.contains_key(&attempt);
            let taken = Event::ResultTaken { attempt };
            let missing = Event::ResultMissing { attempt };
            let event = if is_there { taken } else { missing };
            self.send(Stream::FromDriver, Happening::Tell(event));
        }
    }

    fn heartbeat(&mut self, id: WorkerId) {
        let worker = &self.workers[&id];
        if !worker.alive {
            return;
        }
        let running = worker.running.keys().copied().collect();
        self.say(id, Event::Heartbeat { worker: id, running });
        self.at(self.now + HEARTBEAT_MS, Happening::Heartbeat(id));
    }

    fn join(&mut self, slots: u32) {
        let id = WorkerId(self.workers.len() as u64 + 1);
        self.workers.insert(id, SimWorker::new(slots));
        self.register(id);
        self.at(self.now + HEARTBEAT_MS, Happening::Heartbeat(id));
    }

    fn register(&mut self, id: WorkerId) {
        let worker = &self.workers[&id];
        let running = worker.running.keys().copied().collect();
        let held = worker.blocks.keys().copied().collect();
        let (slots, address) = (worker.slots, format!("{id}:1"));
        self.say(id, Event::WorkerJoined { worker: id, slots, address, running, held });
    }

    fn some_worker(&mut self) -> Option<WorkerId> {
        let alive = self.workers.iter().filter(|(_, worker)| worker.alive && worker.connected);
        let alive: Vec<_> = alive.map(|(id, _)| *id).collect();
        (!alive.is_empty()).then(|| *self.random.pick(&alive))
    }

    /// A worker dies. What it said before still arrives; then its silence, then its loss.
    fn kill(&mut self) {
        let Some(id) = self.some_worker() else { return };
        self.counts.workers_lost += 1;
        self.workers.get_mut(&id).expect("just picked").alive = false;
        self.say(id, Event::WorkerSuspect { worker: id });
        let last = self.streams[&Stream::FromWorker(id)];
        let at = last + self.random.between(0, 3_000);
        let reason = "it was killed".to_owned();
        self.at(at, Happening::Tell(Event::WorkerLost { worker: id, reason }));
        if !self.workers.values().any(|worker| worker.alive) {
            let (at, slots) = (self.now + self.random.between(1, 20_000), self.random.small(1, 4));
            self.at(at, Happening::Join(slots));
        }
    }

    /// A connection breaks: everything on its way is lost, in both directions.
    fn break_stream(&mut self) {
        let Some(id) = self.some_worker() else { return };
        let worker = self.workers.get_mut(&id).expect("just picked");
        worker.connection += 1;
        worker.connected = false;
        self.at(self.now + 1, Happening::Tell(Event::WorkerSuspect { worker: id }));
        let at = self.now + self.random.between(2, 4_000);
        self.at(at, Happening::Rejoin(id));
    }

    fn rejoin(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("it was connected before");
        if worker.alive {
            worker.connected = true;
            self.register(id);
        }
    }

    /// A worker will take no more, and leaves after a while; another comes in its place.
    fn drain(&mut self) {
        let Some(worker) = self.some_worker() else { return };
        self.tell(Event::WorkerDraining { worker });
        let at = self.now + self.random.between(1, 30_000);
        self.at(at, Happening::Leave(worker));
        self.at(at, Happening::Join(2));
    }

    /// A worker leaves in good order, after everything it said.
    fn leave(&mut self, id: WorkerId) {
        self.workers.get_mut(&id).expect("it was drained").alive = false;
        let last = self.streams[&Stream::FromWorker(id)];
        let reason = "it left".to_owned();
        self.at(last, Happening::Tell(Event::WorkerLost { worker: id, reason }));
    }

    fn rot(&mut self) {
        let Some(id) = self.some_worker() else { return };
        let worker = self.workers.get_mut(&id).expect("just picked");
        let blocks: Vec<_> = worker.blocks.keys().copied().collect();
        if !blocks.is_empty() {
            worker.blocks.remove(self.random.pick(&blocks));
        }
    }

    /// The shell looks after a worker that a consumer could not reach.
    fn probe(&mut self, worker: WorkerId) {
        if !self.workers[&worker].alive {
            let reason = "connection refused".to_owned();
            let at = self.now + self.random.between(1, 500);
            self.at(at, Happening::Tell(Event::WorkerLost { worker, reason }));
        }
    }
}
