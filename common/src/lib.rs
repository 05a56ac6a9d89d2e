//! The types that every part of Gnist agrees on: ids, time, sizes, config, errors, the stage graph
//! and the messages between driver, cluster manager and worker.
//!
//! Invariant: no Arrow, no DataFusion, no object_store, no tokio, no clock, no randomness. A
//! program is a hash, a kind and a length here; a block is an id and a size. That is why the
//! scheduler, which sees nothing else, builds and is simulated in seconds.
//!
//! Layers, each leaning only on those above it:
//!
//! ```text
//! ids, time, bytes            newtypes
//! error                       what went wrong, whose fault, what to do
//! graph                       stages, inputs, outputs, repeatability
//! task                        attempts: how they are launched, how they end
//! protocol                    who says what to whom
//! config, master              what the user typed, validated
//! stores                      settings of the stores that an application uses
//! ```

pub mod bytes;
pub mod config;
pub mod error;
pub mod graph;
pub mod ids;
pub mod master;
pub mod protocol;
pub mod stores;
pub mod task;
pub mod time;
