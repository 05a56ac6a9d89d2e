//! The driver: a session over DataFusion, the planner from its physical plans to the stage graph,
//! and the control of jobs.
//!
//! ```text
//! session      SQL and DataFrames in, rows out
//! settings     SET and RESET: taken or refused
//! statement    what runs as a job, what stays here, what is refused
//! numbers      rules that make numbers right: overflow, NaN, statistics of floats
//! planner      physical plan -> drafts of stages
//! job          drafts -> submitted stages -> rows (cluster)
//! prepared     statements with parameters
//! in_process   one stage, one task, rows handed over (local[N])
//! connection   one link to the manager, many jobs
//! content      what was put where executors pull it, and is released again
//! tables       rows in memory as content
//! explained    EXPLAIN in its forms
//! inbox        what the manager says about one job
//! explain      the stage graph as text
//! write        COPY and INSERT: rows staged as files, and committed
//! ```
//!
//! Invariant: no globals. One process may hold many sessions.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connection;
mod content;
mod created;
mod error;
mod explain;
mod explained;
mod fetch;
mod frames;
mod in_process;
mod inbox;
mod job;
mod jobs;
mod numbers;
mod panics;
mod partition;
mod planner;
mod prepared;
mod result;
mod session;
mod settings;
mod split_points;
mod sql;
mod statement;
mod tables;
mod write;

pub use connection::JobObserver;
pub use error::SessionError;
pub use in_process::InProcess;
pub use result::{JobReport, ResultStream};
pub use session::{Session, SessionParts};
pub use sql::parse;
pub use write::{FrameWriter, WriteFrame};
