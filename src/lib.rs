//! Gnist: a distributed dataflow engine. It runs SQL and DataFrames in one process and on clusters.
//!
//! What users import. Driver, cluster manager and worker never import each other: they are
//! composed here, into one process ([`local`]), into processes of one program ([`child`]), or into
//! the processes of a standing cluster ([`cluster`]).

pub mod allocator;
#[cfg(feature = "bench")]
pub mod bench;
mod child;
pub mod cli;
pub mod cluster;
#[cfg(feature = "bench")]
pub mod demo;
#[cfg(feature = "bench")]
pub mod differential;
mod local;
mod machine;
mod run;
mod session;
mod state_dir;
mod threads;

pub use gnist_common::error::{ErrorKind, Failure};
pub use gnist_common::master::MasterUrl;
pub use gnist_driver::{
    FrameWriter, JobObserver, JobReport, ResultStream, SessionError, WriteFrame,
};
pub use run::{dispatch, run};
pub use session::{Process, Session, SessionBuilder};
