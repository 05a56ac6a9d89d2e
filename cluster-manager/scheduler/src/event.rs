//! What the scheduler is told, and what it wants done: two closed enums.

use gnist_common::error::Failure;
use gnist_common::graph::Stage;
use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};
use gnist_common::protocol::{JobStats, ResultLocation, StageSummary};
use gnist_common::task::{AttemptEnd, Launch};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker registered, for the first time or again after a broken stream.
    WorkerJoined {
        /// This incarnation.
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
    /// Its stream broke: no launches there until it is heard again.
    WorkerSuspect {
        /// Which.
        worker: WorkerId,
    },
    /// Its process is gone or its lease is over.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
    },
    /// It will leave: no launches there.
    WorkerDraining {
        /// Which.
        worker: WorkerId,
    },
    /// A worker says what it really runs.
    Heartbeat {
        /// Which.
        worker: WorkerId,
        /// Its running attempts.
        running: Vec<AttemptId>,
    },
    /// A driver opened an application.
    ApplicationOpened {
        /// Which.
        application: ApplicationId,
    },
    /// It was closed, or its lease is over: its jobs are cancelled and it is forgotten.
    ApplicationClosed {
        /// Which.
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
    /// Somebody asked for the end of a job.
    JobCancelled {
        /// Which.
        job: JobId,
    },
    /// An attempt waits for whoever reads its rows: it runs on without its slots.
    SlotsReleased {
        /// Who says so.
        worker: WorkerId,
        /// Which.
        attempt: AttemptId,
    },
    /// An attempt ended.
    AttemptEnded {
        /// Who says so.
        worker: WorkerId,
        /// Which.
        attempt: AttemptId,
        /// How.
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

/// Something the shell must do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run an attempt.
    Launch {
        /// Where.
        worker: WorkerId,
        /// What.
        launch: Launch,
    },
    /// Stop an attempt. It holds its slots until it ends or its worker no longer reports it.
    Cancel {
        /// Where it runs.
        worker: WorkerId,
        /// Which.
        attempt: AttemptId,
    },
    /// Delete the blocks of an attempt: it lost, was rolled back, or its result was taken.
    DropAttempt {
        /// Who holds them.
        worker: WorkerId,
        /// Whose.
        attempt: AttemptId,
    },
    /// Delete everything of an ended job.
    DropJob {
        /// Who ran some of it.
        worker: WorkerId,
        /// Which.
        job: JobId,
    },
    /// A consumer could not fetch from this worker: see whether it is alive, and answer
    /// [`Event::WorkerLost`] or nothing.
    Probe {
        /// Which.
        worker: WorkerId,
    },
    /// Tell the driver that a stage is complete; said again if it completes again.
    StageFinished {
        /// What it made.
        summary: StageSummary,
    },
    /// Tell the driver that a partition of a result is ready. Said again, with another attempt,
    /// only if the first was lost or rolled back before the driver had it: the later one counts.
    ResultReady {
        /// The attempt that made it; its task names stage and partition.
        attempt: AttemptId,
        /// Where it is.
        location: ResultLocation,
        /// Its rows.
        rows: u64,
    },
    /// Report a bug: a stage that was to be exact made other rows the second time. It is taken for
    /// indeterminate from now on.
    StageDemoted {
        /// Which.
        stage: StageId,
    },
    /// Tell the driver that a worker which its running jobs had work or blocks on is gone.
    WorkerLost {
        /// Whose driver.
        application: ApplicationId,
        /// Which worker.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
    },
    /// Tell the driver that a job ended. Nothing about the job follows but `DropJob`.
    JobEnded {
        /// Which.
        job: JobId,
        /// Nothing, or why it failed.
        outcome: Result<(), Failure>,
        /// What it cost.
        stats: JobStats,
    },
}
