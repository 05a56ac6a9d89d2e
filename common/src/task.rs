//! Attempts: how one is launched, and the closed set of ways in which one ends.

use crate::error::Failure;
use crate::graph::{ContentHash, ProgramRef, StageInput, StageOutput};
use crate::ids::{AttemptId, BlockId, Generation, StageId, WorkerId};

/// An order to run one attempt. Small: programs, bindings and output tables go by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The attempt to run.
    pub attempt: AttemptId,
    /// The generation of the stage it belongs to.
    pub generation: Generation,
    /// The program, pulled by hash when the executor has not seen it.
    pub program: ProgramRef,
    /// The job's bindings, pulled by hash.
    pub bindings: Option<ContentHash>,
    /// Slots it may use.
    pub slots: u32,
    /// The inputs, each with the version of the producer's output table it must read.
    pub inputs: Vec<LaunchInput>,
    /// The destination of its rows.
    pub output: StageOutput,
    /// Tasks of the stage.
    pub tasks: u32,
}

/// An input of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchInput {
    /// The producer, and the output partitions to read.
    pub input: StageInput,
    /// Version of the output table: it grows whenever a location in it changes.
    pub version: u32,
}

/// The places of a finished stage's outputs: one entry per task, in task order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputTable {
    /// The producer.
    pub stage: StageId,
    /// Grows whenever an entry changes.
    pub version: u32,
    /// One per task, in task order. Shuffle input is always read in this order.
    pub outputs: Vec<OutputLocation>,
    /// Address of the data plane of every worker that occurs in `outputs`.
    pub workers: Vec<(WorkerId, String)>,
}

/// The place of one task's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLocation {
    /// The attempt that won.
    pub attempt: AttemptId,
    /// The worker that holds its blocks.
    pub worker: WorkerId,
    /// Bytes per output partition.
    pub bytes: Vec<u64>,
}

/// Counts of one attempt, merged per stage by addition (peaks by maximum).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskMetrics {
    /// Rows the task put out.
    pub output_rows: u64,
    /// Bytes the task put out, as held in memory.
    pub output_bytes: u64,
    /// Rows read from other stages.
    pub input_rows: u64,
    /// Bytes read from other stages.
    pub input_bytes: u64,
    /// Bytes among those that came from another worker.
    pub fetched_bytes: u64,
    /// Bytes written to disk for want of memory.
    pub spill_bytes: u64,
    /// The most memory that the attempt's operators reserved, in bytes.
    pub peak_memory_bytes: u64,
    /// Wall time of the attempt on its executor, in microseconds.
    pub run_us: u64,
}

impl TaskMetrics {
    /// Adds another attempt's counts to these.
    pub fn merge(&mut self, other: &TaskMetrics) {
        self.output_rows += other.output_rows;
        self.output_bytes += other.output_bytes;
        self.input_rows += other.input_rows;
        self.input_bytes += other.input_bytes;
        self.fetched_bytes += other.fetched_bytes;
        self.spill_bytes += other.spill_bytes;
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
        self.run_us += other.run_us;
    }
}

/// Measures of one operator, merged per stage over its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorMetrics {
    /// Position of the operator in its stage's plan, in pre-order.
    pub position: u32,
    /// Rows it put out.
    pub output_rows: u64,
    /// Time it computed, without operators below it, in microseconds.
    pub compute_us: u64,
    /// The most memory that it reserved in one task, in bytes.
    pub peak_memory_bytes: u64,
    /// Bytes it wrote to disk for want of memory.
    pub spill_bytes: u64,
}

impl OperatorMetrics {
    /// Adds the measures of another task: both lists are sorted by position.
    pub fn merge(into: &mut Vec<Self>, others: &[Self]) {
        for other in others {
            match into.binary_search_by_key(&other.position, |one| one.position) {
                Err(at) => into.insert(at, *other),
                Ok(at) => {
                    let one = &mut into[at];
                    one.output_rows += other.output_rows;
                    one.compute_us += other.compute_us;
                    one.peak_memory_bytes = one.peak_memory_bytes.max(other.peak_memory_bytes);
                    one.spill_bytes += other.spill_bytes;
                }
            }
        }
    }
}

/// The sizes of a successful attempt's output, its counts, and a small result itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskOutput {
    /// Bytes per output partition.
    pub bytes: Vec<u64>,
    /// Rows per output partition.
    pub rows: Vec<u64>,
    /// A small result itself (Arrow IPC), so that the driver need not fetch it.
    pub inline: Option<Vec<u8>>,
    /// Counts.
    pub metrics: TaskMetrics,
    /// Measures of every operator, by position; none unless the job asked for them.
    pub operators: Vec<OperatorMetrics>,
}

/// Every way in which an attempt can end, as its executor saw it. One function of the scheduler
/// maps each to a policy. That a worker is gone is never said by an attempt, but by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The attempt succeeded.
    Done(TaskOutput),
    /// Input blocks that their worker, which answered, no longer has or has damaged.
    BlocksMissing {
        /// The blocks.
        blocks: Vec<BlockId>,
    },
    /// Input blocks that could not be fetched: their worker did not answer.
    FetchFailed {
        /// The worker that did not answer.
        worker: WorkerId,
        /// The reason, for people.
        failure: Failure,
    },
    /// Storage or network trouble that may pass.
    Transient(Failure),
    /// The memory budget refused an operator.
    OutOfMemory(Failure),
    /// The worker's disk refused to take, or to give back, what did not fit its memory.
    DiskFull(Failure),
    /// The user's error: bad data, bad plan, bad function.
    User(Failure),
    /// A panic, with message and location.
    Panic(Failure),
    /// The attempt was told to stop.
    Cancelled,
}
