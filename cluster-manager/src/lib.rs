//! The cluster manager: the shell around the pure scheduler.
//!
//! ```text
//!  local[N]      WorkerLink, DriverLink ──────────┐
//!                                                 ├──▶ ManagerHandle ──▶ Shell ──▶ Scheduler
//!  gnist://      gRPC streams ──▶ grpc ───────────┤        (inbox)    (one task)    (pure)
//!  people        HTTP ──────────▶ rest ───────────┘
//! ```
//!
//! Layers, each leaning only on those above it:
//!
//! ```text
//! config, view                what it is told, what it shows
//! content, history            programs by hash; what jobs did
//! input, workers, applications   conversations and who is at their other end
//! shell                       the actor
//! handle                      the way in
//! grpc, rest                  sockets
//! ```
//!
//! Invariant: no Arrow and no DataFusion. Programs are bytes with a hash here.

mod applications;
mod config;
mod content;
mod grpc;
mod handle;
mod history;
mod input;
mod rest;
mod shell;
mod tables;
pub mod view;
mod workers;

pub use config::ManagerConfig;
pub use gnist_scheduler::SchedulerConfig;
pub use grpc::serve;
pub use handle::{Manager, ManagerHandle};
pub use rest::serve_rest;
