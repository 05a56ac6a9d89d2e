//! The messages between driver, cluster manager and worker.
//!
//! These are the domain's own types. `local[*]` passes them over channels inside one process;
//! a cluster passes their conversions (crate `gnist-proto`) over gRPC. Each conversation is one
//! ordered, bidirectional stream; its messages stay small ([`MESSAGE_BYTES_MAX`]), and programs,
//! bindings, output tables and results are pulled by name beside it, so that a heartbeat never
//! waits behind a large plan.

use crate::error::Failure;
use crate::graph::Stage;
use crate::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};
use crate::stores::StoreSettings;
use crate::task::{AttemptEnd, Launch, OperatorMetrics, TaskMetrics};
use crate::time::WallTime;

/// The version of what processes say to each other: the `.proto` files, and the encoding of
/// programs, bindings and blocks. Peers of another version are refused at registration. It grows
/// with every change of these.
pub const PROTOCOL_VERSION: u32 = 4;

/// Bound on one message of a stream; what is larger is pulled by name.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A result up to this size travels inside the attempt's end, larger ones are fetched.
pub const INLINE_RESULT_BYTES_MAX: usize = 16 * 1024;

/// The description that a worker gives of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The incarnation of the worker process.
    pub worker: WorkerId,
    /// `HOST:PORT` of its data plane.
    pub address: String,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Memory budget, in bytes.
    pub memory_bytes: u64,
    /// Process id, for people and for tests.
    pub process_id: u32,
    /// Attempts still running, after a broken stream.
    pub running: Vec<AttemptId>,
    /// Finished attempts whose blocks it still holds, after a broken stream.
    pub held: Vec<AttemptId>,
}

/// Worker to cluster manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerToManager {
    /// First message of the stream.
    Register(Registration),
    /// An attempt ended.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// The way in which it ended.
        end: AttemptEnd,
    },
    /// An attempt waits for whoever reads its rows, for as long as that takes: it runs on, and others
    /// may have its slots.
    SlotsReleased {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Every heartbeat interval.
    Heartbeat {
        /// Attempts it really runs; the manager's slots are reconciled with it.
        running: Vec<AttemptId>,
        /// Bytes reserved of its budget.
        memory_used_bytes: u64,
    },
    /// The worker leaves in good order: lost at once, no lease.
    Deregister,
}

/// Cluster manager to worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagerToWorker {
    /// The registration was accepted.
    Registered {
        /// Time between two heartbeats, in milliseconds.
        heartbeat_interval_ms: u64,
    },
    /// Run these.
    Launch(Vec<Launch>),
    /// Stop these; each still ends, with `Cancelled`.
    Cancel(Vec<AttemptId>),
    /// Delete every block of these attempts.
    DropAttempts(Vec<AttemptId>),
    /// Delete everything of this job: blocks, programs, tables, temporary files.
    DropJob(JobId),
    /// Another worker was declared lost: fetches from it are over, though its connections may stand.
    WorkerLost(WorkerId),
    /// The registration was refused, or this incarnation was declared lost: stop.
    Shutdown {
        /// The reason, for people.
        reason: String,
    },
}

/// Driver to cluster manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverToManager {
    /// First message of the stream.
    OpenApplication {
        /// The name, for people.
        name: String,
        /// Time when the user submitted it.
        submitted_at: WallTime,
        /// The stores that it uses; executors pull them.
        stores: StoreSettings,
    },
    /// Stages of a job: the first such message opens it, and more may follow until it is sealed.
    /// Their programs and bindings were put before.
    SubmitStages {
        /// The job.
        job: JobId,
        /// New stages; inputs name stages of this or an earlier message.
        stages: Vec<Stage>,
        /// No more stages will follow: the job ends when its result stages end.
        sealed: bool,
    },
    /// End the job; it ends as cancelled.
    CancelJob {
        /// The job.
        job: JobId,
    },
    /// The driver has these rows: their block may go, and losing it loses nothing.
    ResultTaken {
        /// The attempt whose result was ready.
        attempt: AttemptId,
    },
    /// The worker of these rows answers and does not have them, or has damaged them: compute them
    /// again.
    ResultMissing {
        /// The attempt whose result was ready.
        attempt: AttemptId,
    },
    /// Every heartbeat interval; the application's jobs are cancelled when its lease runs out.
    Heartbeat,
    /// The driver leaves in good order.
    CloseApplication {
        /// The reason, if the application failed.
        error: Option<String>,
    },
}

/// The place of one partition of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultLocation {
    /// The rows themselves, as Arrow IPC.
    Inline(Vec<u8>),
    /// The block of the attempt that made it, on this worker.
    Worker {
        /// The worker that holds the block.
        worker: WorkerId,
        /// `HOST:PORT` of its data plane.
        address: String,
        /// Length of the block, in bytes.
        bytes: u64,
    },
}

/// The counts of a stage that is complete, over its winners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageSummary {
    /// The stage.
    pub stage: StageId,
    /// Bytes per output partition, over all tasks.
    pub bytes: Vec<u64>,
    /// Rows per output partition, over all tasks.
    pub rows: Vec<u64>,
    /// Counts over the winning attempts.
    pub metrics: TaskMetrics,
    /// Measures of every operator over the winning attempts, by position; none unless the job asked
    /// for them.
    pub operators: Vec<OperatorMetrics>,
    /// Winning attempt of every task, in task order.
    pub winners: Vec<AttemptId>,
    /// Shortest, median and longest run of a winning attempt, in microseconds: the skew.
    pub run_us_min_median_max: (u64, u64, u64),
}

/// State of one stage, for the progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageProgress {
    /// The stage.
    pub stage: StageId,
    /// Tasks finished.
    pub done: u32,
    /// Tasks running.
    pub running: u32,
    /// Tasks in all.
    pub tasks: u32,
    /// Rows out of the finished tasks.
    pub rows: u64,
    /// Bytes out of the finished tasks.
    pub bytes: u64,
}

/// The counts of the work done for a job, known at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobStats {
    /// Stages that ran.
    pub stages: u32,
    /// Tasks of those stages, each counted once.
    pub tasks: u32,
    /// Attempts launched, but for those that gave way before their inputs were there.
    pub attempts: u32,
    /// Tasks that had ended, or ran on a lost worker, and ran again; each counted once.
    pub recomputed: u32,
    /// Workers lost while it ran.
    pub workers_lost: u32,
}

/// Cluster manager to driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagerToDriver {
    /// Answer to `OpenApplication`.
    ApplicationOpened {
        /// The id of the application.
        application: ApplicationId,
        /// Time between two heartbeats, in milliseconds.
        heartbeat_interval_ms: u64,
        /// Slots of all workers that are alive now.
        slots: u32,
        /// Number of workers that are alive now.
        workers: u32,
    },
    /// A stage is complete. Said again if it was rolled back and completed again.
    StageFinished(StageSummary),
    /// A partition of a result stage is ready.
    ResultReady {
        /// The attempt that made it; its task names stage and partition.
        attempt: AttemptId,
        /// The place of the rows.
        location: ResultLocation,
        /// Rows in the partition.
        rows: u64,
    },
    /// A worker that a running job had work or blocks on is gone.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// The reason, for people.
        reason: String,
    },
    /// The progress of a job. Sent a few times per second at most.
    Progress {
        /// The job.
        job: JobId,
        /// Stages that have started and not been reported finished.
        stages: Vec<StageProgress>,
    },
    /// The last message about a job.
    JobEnded {
        /// The job.
        job: JobId,
        /// Nothing if it succeeded, else the reason why it failed.
        outcome: Result<(), Failure>,
        /// The counts of the work done for the job.
        stats: JobStats,
    },
}
