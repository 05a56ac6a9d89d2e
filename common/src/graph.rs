//! The stage graph: the one representation of every program, batch SQL, typed datasets and each
//! epoch of a stream alike.
//!
//! A stage is `tasks` copies of one program, each on its own partition of the inputs, with no
//! exchange between them. The graph may grow while it runs: the driver submits what it can plan,
//! sees sizes as stages end, and submits more, until the job is sealed.
//!
//! ```text
//! source ──▶ stage 0 ──shuffle(hash, 4)──▶ stage 2 ──result──▶ driver
//!            stage 1 ──broadcast─────────▶
//! ```

use crate::ids::StageId;

/// The content hash (SHA-256) of a program or of a job's bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl std::fmt::Display for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The kind of a program, which decides what runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProgramKind {
    /// A DataFusion physical plan in Gnist's own encoding.
    Plan,
    /// A chain of typed operators of the application's own binary (a later kind).
    Typed,
    /// A program that does nothing: the price of the path itself.
    Empty,
}

/// A program by name: fetched by hash and decoded once per executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProgramRef {
    /// Hash of its bytes, which hold nothing that changes from run to run.
    pub hash: ContentHash,
    /// The kind, which decides what runs it.
    pub kind: ProgramKind,
    /// Length of its bytes.
    pub length_bytes: u64,
}

/// The ways in which the tasks of a stage read an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputMode {
    /// Task `p` reads output partition `p` of every task of the producer.
    Partition,
    /// Every task reads every output partition: a broadcast, or the single reader of a gather.
    All,
    /// Task `p` reads every output partition of task `p` of the producer.
    Task,
}

/// An input of a stage that another stage makes. Sources travel in the program and bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StageInput {
    /// The producer.
    pub stage: StageId,
    /// The output partitions that a task reads.
    pub mode: InputMode,
}

/// The destination of a stage's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageOutput {
    /// Blocks by output partition, read by later stages. How rows are placed is in the program.
    Shuffle {
        /// Number of output (reduce) partitions.
        partitions: u32,
    },
    /// One block per task, read whole by every task of its consumers, once per executor.
    Broadcast,
    /// One block per task, sent to the driver, which binds it into stages that it submits later.
    Value,
    /// One block per task, sent to the driver for whoever asked.
    Result,
}

impl StageOutput {
    /// Output partitions per task.
    pub fn partitions(self) -> u32 {
        match self {
            Self::Shuffle { partitions } => partitions,
            Self::Broadcast | Self::Value | Self::Result => 1,
        }
    }

    /// True if the driver takes the output: no stage reads it as an input.
    pub fn is_for_driver(self) -> bool {
        matches!(self, Self::Value | Self::Result)
    }
}

/// The differences that a second run of a task may make. Ordered from the safest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repeatability {
    /// The same rows in the same partitions, every time.
    Exact,
    /// Rows may differ, but any mix of attempts gives the same answer.
    Equivalent,
    /// Equivalent while the value only travels to the result; indeterminate once it places rows.
    Rounding,
    /// A recomputation rolls back whatever used the old output.
    Indeterminate,
}

/// One node of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The id of the stage.
    pub id: StageId,
    /// A line for people: progress, `EXPLAIN`, the web interface.
    pub label: String,
    /// The program that its tasks run.
    pub program: ProgramRef,
    /// The values that fill the program's holes in this job: subquery values, clock, seed,
    /// settings.
    pub bindings: Option<ContentHash>,
    /// Number of tasks, at least 1.
    pub tasks: u32,
    /// Slots that each task holds. 1, but for `local[N]`, where one task drives N partitions.
    pub slots_per_task: u32,
    /// Inputs from other stages, in the order of the program's input ordinals.
    pub inputs: Vec<StageInput>,
    /// The destination of its rows.
    pub output: StageOutput,
    /// The differences that a second run of a task may make, its inputs being equal.
    pub repeatability: Repeatability,
}
