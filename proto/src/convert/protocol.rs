//! The messages of both conversations.

use gnist_common::error::Failure;
use gnist_common::ids::{ApplicationId, WorkerId};
use gnist_common::protocol::{
    DriverToManager, JobStats, ManagerToDriver, ManagerToWorker, PROTOCOL_VERSION, Registration,
    ResultLocation, StageProgress, StageSummary, WorkerToManager,
};
use gnist_common::stores::StoreSettings;
use gnist_common::time::WallTime;

use super::{ConvertError, from_wire, required, to_wire, try_from_wire};
use crate::wire::control as wire;

/// A first message, whose version is read before anything else of it is believed.
pub trait FirstMessage {
    /// Checks that this message opens a conversation in this process's version.
    ///
    /// # Errors
    /// `Unopened` when it is another message, `ProtocolVersion` when the peer speaks another version.
    fn check_opening(&self) -> Result<(), ConvertError>;
}

/// Refuses any version but this process's.
fn check_version(peer: &'static str, theirs: u32) -> Result<(), ConvertError> {
    if theirs == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(ConvertError::ProtocolVersion { peer, theirs, ours: PROTOCOL_VERSION })
}

impl FirstMessage for wire::WorkerMessage {
    fn check_opening(&self) -> Result<(), ConvertError> {
        match &self.message {
            Some(wire::worker_message::Message::Register(register)) => {
                check_version("worker", register.protocol_version)
            }
            _ => Err(ConvertError::Unopened { expected: "register" }),
        }
    }
}

impl FirstMessage for wire::DriverMessage {
    fn check_opening(&self) -> Result<(), ConvertError> {
        match &self.message {
            Some(wire::driver_message::Message::OpenApplication(open)) => {
                check_version("driver", open.protocol_version)
            }
            _ => Err(ConvertError::Unopened { expected: "open_application" }),
        }
    }
}

impl From<Registration> for wire::Register {
    fn from(registration: Registration) -> Self {
        Self {
            protocol_version: PROTOCOL_VERSION,
            worker: registration.worker.0,
            address: registration.address,
            slots: registration.slots,
            memory_bytes: registration.memory_bytes,
            process_id: registration.process_id,
            running: to_wire(registration.running),
            held: to_wire(registration.held),
        }
    }
}

impl From<wire::Register> for Registration {
    fn from(register: wire::Register) -> Self {
        Self {
            worker: WorkerId(register.worker),
            address: register.address,
            slots: register.slots,
            memory_bytes: register.memory_bytes,
            process_id: register.process_id,
            running: from_wire(register.running),
            held: from_wire(register.held),
        }
    }
}

impl From<WorkerToManager> for wire::WorkerMessage {
    fn from(message: WorkerToManager) -> Self {
        use wire::worker_message::Message;
        let message = match message {
            WorkerToManager::Register(registration) => Message::Register(registration.into()),
            WorkerToManager::AttemptEnded { attempt, end } => {
                let (attempt, end) = (Some(attempt.into()), Some(end.into()));
                Message::AttemptEnded(wire::AttemptEnded { attempt, end })
            }
            WorkerToManager::SlotsReleased { attempt } => Message::SlotsReleased(attempt.into()),
            WorkerToManager::Heartbeat { running, memory_used_bytes } => {
                let running = to_wire(running);
                Message::Heartbeat(wire::WorkerHeartbeat { running, memory_used_bytes })
            }
            WorkerToManager::Deregister => Message::Deregister(wire::Empty {}),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<wire::WorkerMessage> for WorkerToManager {
    type Error = ConvertError;

    fn try_from(message: wire::WorkerMessage) -> Result<Self, ConvertError> {
        use wire::worker_message::Message;
        Ok(match required(message.message, "WorkerMessage.message")? {
            Message::Register(register) => Self::Register(register.into()),
            Message::AttemptEnded(ended) => Self::AttemptEnded {
                attempt: required(ended.attempt, "AttemptEnded.attempt")?.into(),
                end: required(ended.end, "AttemptEnded.end")?.try_into()?,
            },
            Message::Heartbeat(heartbeat) => Self::Heartbeat {
                running: from_wire(heartbeat.running),
                memory_used_bytes: heartbeat.memory_used_bytes,
            },
            Message::SlotsReleased(attempt) => Self::SlotsReleased { attempt: attempt.into() },
            Message::Deregister(wire::Empty {}) => Self::Deregister,
        })
    }
}

impl From<ManagerToWorker> for wire::ManagerToWorkerMessage {
    fn from(message: ManagerToWorker) -> Self {
        use wire::manager_to_worker_message::Message;
        let attempts = |ids| wire::Attempts { attempts: to_wire(ids) };
        let message = match message {
            ManagerToWorker::Registered { heartbeat_interval_ms } => {
                Message::Registered(wire::WorkerRegistered { heartbeat_interval_ms })
            }
            ManagerToWorker::Launch(launches) => {
                Message::Launch(wire::Launches { launches: to_wire(launches) })
            }
            ManagerToWorker::Cancel(ids) => Message::Cancel(attempts(ids)),
            ManagerToWorker::DropAttempts(ids) => Message::DropAttempts(attempts(ids)),
            ManagerToWorker::DropJob(job) => Message::DropJob(job.into()),
            ManagerToWorker::WorkerLost(worker) => {
                Message::LostPeer(wire::LostPeer { worker: worker.0 })
            }
            ManagerToWorker::Shutdown { reason } => Message::Shutdown(wire::Shutdown { reason }),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<wire::ManagerToWorkerMessage> for ManagerToWorker {
    type Error = ConvertError;

    fn try_from(message: wire::ManagerToWorkerMessage) -> Result<Self, ConvertError> {
        use wire::manager_to_worker_message::Message;
        Ok(match required(message.message, "ManagerToWorkerMessage.message")? {
            Message::Registered(wire::WorkerRegistered { heartbeat_interval_ms }) => {
                Self::Registered { heartbeat_interval_ms }
            }
            Message::Launch(launches) => Self::Launch(try_from_wire(launches.launches)?),
            Message::Cancel(ids) => Self::Cancel(from_wire(ids.attempts)),
            Message::DropAttempts(ids) => Self::DropAttempts(from_wire(ids.attempts)),
            Message::DropJob(job) => Self::DropJob(job.into()),
            Message::LostPeer(wire::LostPeer { worker }) => Self::WorkerLost(WorkerId(worker)),
            Message::Shutdown(wire::Shutdown { reason }) => Self::Shutdown { reason },
        })
    }
}

impl From<DriverToManager> for wire::DriverMessage {
    fn from(message: DriverToManager) -> Self {
        use wire::driver_message::Message;
        let message = match message {
            DriverToManager::OpenApplication { name, submitted_at, stores } => {
                Message::OpenApplication(wire::OpenApplication {
                    protocol_version: PROTOCOL_VERSION,
                    name,
                    submitted_at_ms: submitted_at.0,
                    stores: Some(stores.into()),
                })
            }
            DriverToManager::SubmitStages { job, stages, sealed } => {
                let (job, stages) = (Some(job.into()), to_wire(stages));
                Message::SubmitStages(wire::SubmitStages { job, stages, sealed })
            }
            DriverToManager::CancelJob { job } => Message::CancelJob(job.into()),
            DriverToManager::ResultTaken { attempt } => Message::ResultTaken(attempt.into()),
            DriverToManager::ResultMissing { attempt } => Message::ResultMissing(attempt.into()),
            DriverToManager::Heartbeat => Message::Heartbeat(wire::Empty {}),
            DriverToManager::CloseApplication { error } => {
                Message::CloseApplication(wire::CloseApplication { error })
            }
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<wire::DriverMessage> for DriverToManager {
    type Error = ConvertError;

    fn try_from(message: wire::DriverMessage) -> Result<Self, ConvertError> {
        use wire::driver_message::Message;
        Ok(match required(message.message, "DriverMessage.message")? {
            Message::OpenApplication(open) => Self::OpenApplication {
                name: open.name,
                submitted_at: WallTime(open.submitted_at_ms),
                stores: open.stores.map(StoreSettings::from).unwrap_or_default(),
            },
            Message::SubmitStages(submit) => Self::SubmitStages {
                job: required(submit.job, "SubmitStages.job")?.into(),
                stages: try_from_wire(submit.stages)?,
                sealed: submit.sealed,
            },
            Message::CancelJob(job) => Self::CancelJob { job: job.into() },
            Message::ResultTaken(attempt) => Self::ResultTaken { attempt: attempt.into() },
            Message::ResultMissing(attempt) => Self::ResultMissing { attempt: attempt.into() },
            Message::Heartbeat(wire::Empty {}) => Self::Heartbeat,
            Message::CloseApplication(close) => Self::CloseApplication { error: close.error },
        })
    }
}

impl From<ResultLocation> for wire::ResultLocation {
    fn from(location: ResultLocation) -> Self {
        use wire::result_location::Location;
        let location = match location {
            ResultLocation::Inline(bytes) => Location::Inline(bytes.into()),
            ResultLocation::Worker { worker, address, bytes } => {
                Location::Worker(wire::WorkerLocation { worker: worker.0, address, bytes })
            }
        };
        Self { location: Some(location) }
    }
}

impl TryFrom<wire::ResultLocation> for ResultLocation {
    type Error = ConvertError;

    fn try_from(location: wire::ResultLocation) -> Result<Self, ConvertError> {
        use wire::result_location::Location;
        Ok(match required(location.location, "ResultLocation.location")? {
            Location::Inline(bytes) => Self::Inline(bytes.into()),
            Location::Worker(wire::WorkerLocation { worker, address, bytes }) => {
                Self::Worker { worker: WorkerId(worker), address, bytes }
            }
        })
    }
}

impl From<StageSummary> for wire::StageSummary {
    fn from(summary: StageSummary) -> Self {
        let (run_us_min, run_us_median, run_us_max) = summary.run_us_min_median_max;
        Self {
            stage: Some(summary.stage.into()),
            bytes: summary.bytes,
            rows: summary.rows,
            metrics: Some(summary.metrics.into()),
            operators: to_wire(summary.operators),
            winners: to_wire(summary.winners),
            run_us_min,
            run_us_median,
            run_us_max,
        }
    }
}

impl TryFrom<wire::StageSummary> for StageSummary {
    type Error = ConvertError;

    fn try_from(summary: wire::StageSummary) -> Result<Self, ConvertError> {
        Ok(Self {
            stage: required(summary.stage, "StageSummary.stage")?.into(),
            bytes: summary.bytes,
            rows: summary.rows,
            metrics: required(summary.metrics, "StageSummary.metrics")?.into(),
            operators: from_wire(summary.operators),
            winners: from_wire(summary.winners),
            run_us_min_median_max: (summary.run_us_min, summary.run_us_median, summary.run_us_max),
        })
    }
}

impl From<StageProgress> for wire::StageProgress {
    fn from(progress: StageProgress) -> Self {
        let StageProgress { stage, done, running, tasks, rows, bytes } = progress;
        Self { stage: Some(stage.into()), done, running, tasks, rows, bytes }
    }
}

impl TryFrom<wire::StageProgress> for StageProgress {
    type Error = ConvertError;

    fn try_from(progress: wire::StageProgress) -> Result<Self, ConvertError> {
        let wire::StageProgress { stage, done, running, tasks, rows, bytes } = progress;
        let stage = required(stage, "StageProgress.stage")?.into();
        Ok(Self { stage, done, running, tasks, rows, bytes })
    }
}

impl From<JobStats> for wire::JobStats {
    fn from(stats: JobStats) -> Self {
        let JobStats { stages, tasks, attempts, recomputed, workers_lost } = stats;
        Self { stages, tasks, attempts, recomputed, workers_lost }
    }
}

impl From<wire::JobStats> for JobStats {
    fn from(stats: wire::JobStats) -> Self {
        let wire::JobStats { stages, tasks, attempts, recomputed, workers_lost } = stats;
        Self { stages, tasks, attempts, recomputed, workers_lost }
    }
}

impl From<ManagerToDriver> for wire::ManagerToDriverMessage {
    fn from(message: ManagerToDriver) -> Self {
        use wire::manager_to_driver_message::Message;
        let message = match message {
            ManagerToDriver::ApplicationOpened {
                application,
                heartbeat_interval_ms,
                slots,
                workers,
            } => Message::ApplicationOpened(wire::ApplicationOpened {
                application: application.0,
                heartbeat_interval_ms,
                slots,
                workers,
            }),
            ManagerToDriver::StageFinished(summary) => Message::StageFinished(summary.into()),
            ManagerToDriver::ResultReady { attempt, location, rows } => {
                let (attempt, location) = (Some(attempt.into()), Some(location.into()));
                Message::ResultReady(wire::ResultReady { attempt, location, rows })
            }
            ManagerToDriver::WorkerLost { worker, reason } => {
                Message::WorkerLost(wire::WorkerLost { worker: worker.0, reason })
            }
            ManagerToDriver::Progress { job, stages } => {
                let (job, stages) = (Some(job.into()), to_wire(stages));
                Message::Progress(wire::Progress { job, stages })
            }
            ManagerToDriver::JobEnded { job, outcome, stats } => {
                let failure = outcome.err().map(Into::into);
                let (job, stats) = (Some(job.into()), Some(stats.into()));
                Message::JobEnded(wire::JobEnded { job, failure, stats })
            }
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<wire::ManagerToDriverMessage> for ManagerToDriver {
    type Error = ConvertError;

    fn try_from(message: wire::ManagerToDriverMessage) -> Result<Self, ConvertError> {
        use wire::manager_to_driver_message::Message;
        Ok(match required(message.message, "ManagerToDriverMessage.message")? {
            Message::ApplicationOpened(opened) => Self::ApplicationOpened {
                application: ApplicationId(opened.application),
                heartbeat_interval_ms: opened.heartbeat_interval_ms,
                slots: opened.slots,
                workers: opened.workers,
            },
            Message::StageFinished(summary) => Self::StageFinished(summary.try_into()?),
            Message::ResultReady(ready) => Self::ResultReady {
                attempt: required(ready.attempt, "ResultReady.attempt")?.into(),
                location: required(ready.location, "ResultReady.location")?.try_into()?,
                rows: ready.rows,
            },
            Message::WorkerLost(wire::WorkerLost { worker, reason }) => {
                Self::WorkerLost { worker: WorkerId(worker), reason }
            }
            Message::Progress(progress) => Self::Progress {
                job: required(progress.job, "Progress.job")?.into(),
                stages: try_from_wire(progress.stages)?,
            },
            Message::JobEnded(ended) => Self::JobEnded {
                job: required(ended.job, "JobEnded.job")?.into(),
                outcome: match ended.failure {
                    Some(failure) => Err(Failure::try_from(failure)?),
                    None => Ok(()),
                },
                stats: required(ended.stats, "JobEnded.stats")?.into(),
            },
        })
    }
}
