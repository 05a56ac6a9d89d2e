//! Simulated workers: what they run, what blocks they hold.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{AttemptId, JobId, WorkerId};
use gnist_common::task::{AttemptEnd, Launch};

use super::graphs::Made;
use super::random::Random;
use crate::{Scheduler, TableLookup};

/// What the shell sends a worker.
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

    /// It runs on when every table is there, or one never will be.
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

/// What an attempt reads, or why it can't.
pub(super) fn read(
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
pub(super) fn mishap(random: &mut Random, per_mille: u64) -> Option<AttemptEnd> {
    random.chance(per_mille).then(|| bad_luck(random))
}

pub(super) fn bad_luck(random: &mut Random) -> AttemptEnd {
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
