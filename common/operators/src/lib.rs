//! Gnist's physical operators and what surrounds them in a stage's program: how a DataFusion plan
//! is encoded, decoded and cut down to one task, how it reads other stages, how its rows are
//! placed, and how Arrow batches become blocks.
//!
//! ```text
//! exchange    what a program reads: StageInputs, installed by the worker
//! reader      StageReaderExec, the leaf that stands for another stage
//! placement   where the rows of a stage go: hash, range, round robin, single
//! coalesce    rows that wait for a full batch of their output partition
//! size        the bytes that rows need
//! program     program = plan + placement, encoded once per stage; instance = one task's copy
//! bindings    what changes from run to run of a program
//! encoder     plans as messages, without what changes from run to run
//! decoder     messages as plans, cut down to one task
//! source      files and rows that leaves scan, and how they travel in the bindings
//! leaves      those leaves on the wire
//! exact       scans of files that lose no digit
//! widening    types that have all values of another one
//! instance    cutting other leaves
//! soft_limit  limits of an aggregate that its input no longer allows
//! canonical   messages as bytes that depend on nothing but the message
//! random      random() and uuid(), the same in every attempt
//! measured    what every operator of a plan does, for EXPLAIN ANALYZE
//! once        inputs that are read once
//! sample      SampleExec, the rows that split points are chosen from
//! shown       values that no text shows
//! stand_in    leaves that take the place of an operator's inputs
//! unclaimed   UnclaimedExec, rows of which less is known
//! collected   CollectedExec, rows for an operator that collects them
//! contexts    functions and settings as executors have them
//! recursive   recursive queries on the wire
//! write       rows as files, and receipts for them
//! json_text   rows as JSON
//! block       Arrow batches <-> checksummed bytes
//! guard       a plan is the same after its encoding, or refused
//! window_rows values of window functions, counted
//! wire        what DataFusion's encoding loses of a plan, carried beside it
//! tree        rebuilding plans node by node
//! functions   functions of Gnist's own, known to driver and executors by name
//! debug_text  texts of plans, bounded
//! dumps       messages without dumps of plans
//! failure     DataFusion's errors as Gnist's closed kinds
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod bindings;
pub mod block;
mod canonical;
mod coalesce;
pub mod codec;
pub mod collected;
pub mod contexts;
mod debug_text;
pub mod decoder;
mod dumps;
pub mod encoder;
pub mod exact;
pub mod exchange;
pub mod failure;
pub mod functions;
pub mod guard;
mod instance;
pub mod json_text;
mod leaves;
pub mod measured;
mod measured_pool;
mod once;
pub mod placement;
mod prepared;
pub mod program;
pub mod random;
pub mod reader;
mod recursive;
pub mod sample;
pub mod shown;
pub mod size;
pub mod soft_limit;
pub mod source;
mod stand_in;
pub mod tree;
pub mod unclaimed;
pub mod widening;
pub mod window_rows;
pub mod wire;
pub mod write;
