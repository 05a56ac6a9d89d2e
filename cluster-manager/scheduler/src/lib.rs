//! The pure scheduler: stages, tasks, attempts, lineage, slots, fairness.
//!
//! [`Scheduler::handle`] takes the time and one [`Event`] and answers with [`Action`]s; a shell
//! performs them. No IO, no clock, no randomness, no locks, no hash order: the same events give
//! the same actions, so that one implementation schedules `local[*]`, a cluster and the simulator.
//!
//! ```text
//!            Event                                     Action
//!   shell ───────────▶ Scheduler (&mut self, now) ───────────────▶ shell
//!            Tick  ◀── next_deadline()
//!
//!   a task:   Queued ──launch──▶ Running ──done──▶ Done ──blocks gone──▶ Lost
//!               ▲ ▲                 │               │                     │
//!               │ └── retry now ────┤               └── rolled back ─┐    │ needed again
//!               └── Backoff ◀───────┘                                ▼    ▼
//!                                                                   Queued
//! ```
//!
//! A stage is runnable when every stage it reads is complete; its `Queued` tasks then compete for
//! slots. Slots that no runnable task wants go to tasks whose last producers run, until a runnable
//! one wants them (`early`). Applications share by fewest running slots; within one, jobs, stages and tasks go by
//! their ordinals. The work per event is independent of the number of tasks, but for the loss of
//! a worker or a block, the end of a stage and the end of a job.
//!
//! What the shell must keep: messages of one worker arrive in the order they were sent; `now`
//! never goes back; after [`Event::WorkerLost`] an incarnation never comes back under its id.
//! Launches read [`Scheduler::output_table`] at the version they name, or a later one. While it is
//! [`TableLookup::Pending`] the attempt waits, in its slot, and reads nothing else; when it is
//! [`TableLookup::Gone`] the attempt must not wait, but end with `BlocksMissing` of no blocks.
//!
//! Results: a small one travels in [`Action::ResultReady`] and is delivered by it; a large one
//! stays on its worker until [`Event::ResultTaken`] says that the driver has it, and is computed
//! and announced again if its worker is lost before. A job ends when it is sealed, nothing is left
//! to run, and every result is delivered.
//!
//! Layers, each leaning only on those above it:
//!
//! ```text
//! config, event, policy, timers, sizes    values
//! lineage                                 what is missing, what is rolled back: pure functions
//! task, stage, job, worker                state and its transitions
//! placement                               which worker
//! early                                   what starts before its inputs are there, and gives way
//! submit, attempts, membership, recovery, results, dispatch    one event, one short function
//! snapshot                                read-only views
//! ```
//!
//! Not yet: speculative copies of slow tasks; waiting for a local slot; taking over winners from a
//! driver after a restart of the manager.

mod attempts;
mod config;
mod dispatch;
mod early;
mod event;
mod job;
mod lineage;
mod membership;
mod placement;
mod policy;
mod recovery;
mod results;
mod scheduler;
mod sizes;
mod snapshot;
mod stage;
mod submit;
mod task;
mod timers;
mod worker;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use config::SchedulerConfig;
pub use event::{Action, Event};
pub use scheduler::{Scheduler, TableLookup};
pub use snapshot::{
    JobView, RunTimes, Snapshot, StageStatus, StageView, TaskStatus, TaskView, WorkerStatus,
    WorkerView,
};
