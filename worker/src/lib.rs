//! Executor: task runner, memory, block store, data plane.
//!
//! ```text
//! conversation   the stream to the cluster manager: launches in, ends and heartbeats out
//! runner         attempts that run: started, cancelled, reported, each exactly once
//! task           one attempt: program -> instance -> rows -> blocks or result
//! applications   the stores and settings of each application whose programs run here
//! programs       where programs come from, decoded once per executor
//! results        where result rows go when the driver is in this process
//! inputs         what programs read from other stages
//! blocks         what attempts made: in memory, on disk under pressure
//! spill          the files that operators spill to
//! memory         one budget for all of it
//! data_plane     blocks over gRPC
//! work_dir       the folder of this incarnation
//! panics         what a panic of a task said, and where
//! ```
//!
//! CPU work runs on threads of its own (`cpu`), never on those that do IO: the conversation, the
//! data plane and every fetch run on the runtime that [`Worker::start`] was called on.
//!
//! Invariant: nothing here knows the driver or the cluster manager, only the links to them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod applications;
pub mod blocks;
mod config;
mod conversation;
mod cpu;
mod data_plane;
mod executor;
pub mod inputs;
pub mod memory;
mod outbox;
mod panics;
mod programs;
mod pulled;
mod results;
mod runner;
mod spill;
mod task;
mod work_dir;
mod worker;

pub use config::WorkerConfig;
pub use programs::{OneProcessPrograms, ProgramSource, TaskRows};
pub use pulled::{Counted, PulledPrograms};
pub use results::{ResultClosed, ResultSink, ResultWriter};
pub use work_dir::WorkDir;
pub use worker::{Connections, Reconnect, Worker, WorkerEnd, WorkerHandle};

#[cfg(test)]
mod tests;
