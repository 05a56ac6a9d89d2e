//! The two closed enums at the scheduler's edge: events, which it is told, and actions, which it
//! wants done.

use gnist_common::error::Failure;
use gnist_common::graph::Stage;
use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};
use gnist_common::protocol::{JobStats, ResultLocation, StageSummary};
use gnist_common::task::{AttemptEnd, Launch};

/// An event that the scheduler is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker registered, for the first time or again after a broken stream.
    WorkerJoined {
        /// The incarnation of the worker process.
        worker: WorkerId,
        /// Tasks it runs at once.
        slots: u32,
        /// `HOST:PORT` of its data plane.
        address: String,
        /// Attempts it still runs.
        running: Vec<AttemptId>,
        /// Finished attempts whose blocks it still holds.
        held: Vec<AttemptId>,
    },
    /// The stream of a worker broke: no launches there until it is heard again.
    WorkerSuspect {
        /// The worker.
        worker: WorkerId,
    },
    /// The process of a worker is gone, or its lease is over.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// The reason, for people.
        reason: String,
    },
    /// A worker will leave: no launches there.
    WorkerDraining {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker says what it really runs.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
        /// Attempts that it runs.
        running: Vec<AttemptId>,
    },
    /// A driver opened an application.
    ApplicationOpened {
        /// The application.
        application: ApplicationId,
    },
    /// An application was closed, or its lease is over: its jobs are cancelled and it is forgotten.
    ApplicationClosed {
        /// The application.
        application: ApplicationId,
    },
    /// Stages of a job; the first such event opens it.
    StagesSubmitted {
        /// The job.
        job: JobId,
        /// New stages; inputs name stages of this or an earlier event.
        stages: Vec<Stage>,
        /// No more will follow.
        sealed: bool,
    },
    /// A user asked for the end of a job.
    JobCancelled {
        /// The job.
        job: JobId,
    },
    /// An attempt waits for whoever reads its rows: it runs on without its slots.
    SlotsReleased {
        /// The worker that says so.
        worker: WorkerId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The worker that says so.
        worker: WorkerId,
        /// The attempt.
        attempt: AttemptId,
        /// The way in which it ended.
        end: AttemptEnd,
    },
    /// The driver has the rows of a result that was left on a worker.
    ResultTaken {
        /// The attempt that made it.
        attempt: AttemptId,
    },
    /// The driver asked for such a result, and the worker, which answered, does not have it or has
    /// damaged it: it is computed and announced again. Of a worker that does not answer, the
    /// driver waits for the manager's word.
    ResultMissing {
        /// The attempt that made it.
        attempt: AttemptId,
    },
    /// The time given by `next_deadline` has come.
    Tick,
}

/// An action that the shell must perform, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run an attempt.
    Launch {
        /// The worker to run it.
        worker: WorkerId,
        /// The attempt, and what it reads.
        launch: Launch,
    },
    /// Stop an attempt. It holds its slots until it ends or its worker no longer reports it.
    Cancel {
        /// The worker that runs it.
        worker: WorkerId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Delete the blocks of an attempt: it lost, was rolled back, or its result was taken.
    DropAttempt {
        /// The worker that holds the blocks.
        worker: WorkerId,
        /// The attempt that made them.
        attempt: AttemptId,
    },
    /// Delete everything of an ended job.
    DropJob {
        /// A worker that ran some of its tasks.
        worker: WorkerId,
        /// The job.
        job: JobId,
    },
    /// A consumer could not fetch from this worker: see whether it is alive, and answer
    /// [`Event::WorkerLost`] or nothing.
    Probe {
        /// The worker.
        worker: WorkerId,
    },
    /// Tell the driver that a stage is complete; said again if it completes again.
    StageFinished {
        /// The counts of the stage, over its winners.
        summary: StageSummary,
    },
    /// Tell the driver that a partition of a result is ready. Said again, with another attempt,
    /// only if the first was lost or rolled back before the driver had it: the later one counts.
    ResultReady {
        /// The attempt that made it; its task names stage and partition.
        attempt: AttemptId,
        /// The place of the rows.
        location: ResultLocation,
        /// Rows in the partition.
        rows: u64,
    },
    /// Report a bug: a stage that was to be exact made other rows the second time. It is taken for
    /// indeterminate from now on.
    StageDemoted {
        /// The stage.
        stage: StageId,
    },
    /// Tell the driver that a worker which its running jobs had work or blocks on is gone.
    WorkerLost {
        /// The application whose driver is told.
        application: ApplicationId,
        /// The worker.
        worker: WorkerId,
        /// The reason, for people.
        reason: String,
    },
    /// Tell the driver that a job ended. Nothing about the job follows but `DropJob`.
    JobEnded {
        /// The job.
        job: JobId,
        /// Nothing if it succeeded, else the reason why it failed.
        outcome: Result<(), Failure>,
        /// The counts of the work done for the job.
        stats: JobStats,
    },
}
