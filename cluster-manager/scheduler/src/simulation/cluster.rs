//! Simulated workers: what they run, what blocks they hold, what they say.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{AttemptId, JobId, WorkerId};
use gnist_common::task::{AttemptEnd, Launch, TaskMetrics, TaskOutput};

use super::graphs::Made;
use super::random::Random;
use super::world::{HEARTBEAT_MS, Happening, Stream, World};
use crate::{Event, Scheduler, TableLookup};

/// A message from the shell to a worker.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Launch(Launch),
    Cancel(AttemptId),
    DropAttempt(AttemptId),
    DropJob(JobId),
}

/// An attempt on a worker, with what it was told of the output tables it reads.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) launch: Launch,
    tables: Vec<TableLookup>,
}

impl Running {
    pub(super) fn new(launch: Launch) -> Self {
        let tables = vec![TableLookup::Pending; launch.inputs.len()];
        Self { launch, tables }
    }

    /// True if the attempt waits for output tables: it runs on when every table is there, or when
    /// one never will be.
    pub(super) fn is_waiting(&self) -> bool {
        self.tables.contains(&TableLookup::Pending) && !self.tables.contains(&TableLookup::Gone)
    }

    /// Asks for the tables that are not there yet.
    pub(super) fn pull(&mut self, scheduler: &Scheduler) {
        for (input, table) in self.launch.inputs.iter().zip(&mut self.tables) {
            if *table == TableLookup::Pending {
                *table = scheduler.output_table(input.input.stage, input.version);
            }
        }
    }
}

/// One worker process.
#[derive(Clone, Debug)]
pub(super) struct SimWorker {
    pub(super) slots: u32,
    pub(super) alive: bool,
    /// Number of its connection; what travels on an older one is lost.
    pub(super) connection: u32,
    pub(super) connected: bool,
    pub(super) running: BTreeMap<AttemptId, Running>,
    pub(super) blocks: BTreeMap<AttemptId, Made>,
}

impl SimWorker {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots,
            alive: true,
            connection: 0,
            connected: true,
            running: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    pub(super) fn slots_in_use(&self) -> u32 {
        self.running.values().map(|running| running.launch.slots).sum()
    }

    pub(super) fn drop_job(&mut self, job: JobId) {
        self.blocks.retain(|attempt, _| attempt.task.stage.job != job);
    }
}

impl World {
    pub(super) fn plan_workers(&mut self) {
        for _ in 0..self.random.between(1, 4) {
            let (at, slots) = (self.random.between(0, 500), self.random.small(1, 4));
            self.at(at, Happening::Join(slots));
        }
    }

    pub(super) fn order(&mut self, worker: WorkerId, order: Order) {
        let connection = self.workers[&worker].connection;
        self.send(Stream::ToWorker(worker), Happening::ToWorker(worker, connection, order));
    }

    pub(super) fn obey(&mut self, id: WorkerId, order: Order) {
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
    pub(super) fn answer_pulls(&mut self) {
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

    pub(super) fn finish(&mut self, id: WorkerId, attempt: AttemptId) {
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
        let bound = self.bound_in(attempt.task.stage);
        let made = self.checks.plans[&attempt.task.stage.job].compute(attempt, inputs, &bound);
        let is_inline = launch.output.is_for_driver() && self.random.chance(500);
        let worker = self.workers.get_mut(&id).expect("tasks run on workers");
        if !is_inline {
            worker.blocks.insert(attempt, made.clone());
        }
        self.made.insert(attempt, made);
        let partitions = launch.output.partitions();
        let rows = self.checks.plans[&attempt.task.stage.job].rows(attempt);
        let bytes = (0..partitions).map(|_| self.random.between(1, 4 << 20)).collect();
        AttemptEnd::Done(TaskOutput {
            bytes,
            rows: vec![rows; partitions as usize],
            inline: is_inline.then(Vec::new),
            // Every other stage is one of short tasks.
            metrics: TaskMetrics {
                run_us: 500 + 5_000 * u64::from(attempt.task.stage.ordinal % 2),
                ..TaskMetrics::default()
            },
            ..TaskOutput::default()
        })
    }

    fn report(&mut self, worker: WorkerId, attempt: AttemptId, end: AttemptEnd) {
        self.say(worker, Event::AttemptEnded { worker, attempt, end });
    }

    /// A worker says something, if it is connected.
    pub(super) fn say(&mut self, id: WorkerId, event: Event) {
        let worker = &self.workers[&id];
        if worker.connected {
            let happening = Happening::FromWorker(id, worker.connection, event);
            self.send(Stream::FromWorker(id), happening);
        }
    }

    pub(super) fn heartbeat(&mut self, id: WorkerId) {
        let worker = &self.workers[&id];
        if !worker.alive {
            return;
        }
        let running = worker.running.keys().copied().collect();
        self.say(id, Event::Heartbeat { worker: id, running });
        self.at(self.now + HEARTBEAT_MS, Happening::Heartbeat(id));
    }

    pub(super) fn join(&mut self, slots: u32) {
        let id = WorkerId(self.workers.len() as u64 + 1);
        self.workers.insert(id, SimWorker::new(slots));
        self.register(id);
        self.at(self.now + HEARTBEAT_MS, Happening::Heartbeat(id));
    }

    pub(super) fn register(&mut self, id: WorkerId) {
        let worker = &self.workers[&id];
        let running = worker.running.keys().copied().collect();
        let held = worker.blocks.keys().copied().collect();
        let (slots, address) = (worker.slots, format!("{id}:1"));
        self.say(id, Event::WorkerJoined { worker: id, slots, address, running, held });
    }
}

/// Returns what an attempt reads or, if it can't read all of it, the end that it comes to.
fn read(
    workers: &BTreeMap<WorkerId, SimWorker>,
    running: &Running,
) -> Result<Vec<Vec<Made>>, Box<AttemptEnd>> {
    let partition = running.launch.attempt.task.partition;
    let mut missing = BTreeSet::new();
    let mut inputs = Vec::new();
    for table in &running.tables {
        let TableLookup::Complete(table) = table else {
            return Err(Box::new(AttemptEnd::BlocksMissing { blocks: Vec::new() }));
        };
        let mut made = Vec::new();
        for output in &table.outputs {
            let holder = &workers[&output.worker];
            if !holder.alive {
                let failure = Failure::new(ErrorKind::Transient, "connection refused");
                let worker = output.worker;
                return Err(Box::new(AttemptEnd::FetchFailed { worker, failure }));
            }
            match holder.blocks.get(&output.attempt) {
                Some(block) => made.push(block.clone()),
                None => {
                    missing.insert(output.attempt.block(partition));
                }
            }
        }
        inputs.push(made);
    }
    if missing.is_empty() {
        Ok(inputs)
    } else {
        Err(Box::new(AttemptEnd::BlocksMissing { blocks: missing.into_iter().collect() }))
    }
}

/// A bad end by bad luck, rarely.
fn mishap(random: &mut Random, per_mille: u64) -> Option<AttemptEnd> {
    random.chance(per_mille).then(|| bad_luck(random))
}

fn bad_luck(random: &mut Random) -> AttemptEnd {
    let failure = |kind| Failure::new(kind, "bad luck");
    match random.between(0, 99) {
        0..=59 => AttemptEnd::Transient(failure(ErrorKind::Transient)),
        60..=74 => AttemptEnd::OutOfMemory(failure(ErrorKind::OutOfMemory)),
        75..=84 => AttemptEnd::DiskFull(failure(ErrorKind::DiskFull)),
        85..=92 => AttemptEnd::Panic(failure(ErrorKind::Panic)),
        93..=97 => AttemptEnd::Cancelled,
        _ => AttemptEnd::User(failure(ErrorKind::User)),
    }
}
