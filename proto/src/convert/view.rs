//! Workers and applications as the command line sees them.

use gnist_common::ids::{ApplicationId, WorkerId};
use gnist_common::time::WallTime;

use super::{ConvertError, to_wire, try_from_wire};
use crate::view::{ApplicationState, ApplicationView, ClusterState, WorkerState, WorkerView};
use crate::wire::control as wire;

impl From<ClusterState> for wire::ClusterState {
    fn from(state: ClusterState) -> Self {
        Self { workers: to_wire(state.workers), applications: to_wire(state.applications) }
    }
}

impl TryFrom<wire::ClusterState> for ClusterState {
    type Error = ConvertError;

    fn try_from(state: wire::ClusterState) -> Result<Self, ConvertError> {
        Ok(Self {
            workers: try_from_wire(state.workers)?,
            applications: try_from_wire(state.applications)?,
        })
    }
}

impl From<WorkerState> for wire::WorkerState {
    fn from(state: WorkerState) -> Self {
        match state {
            WorkerState::Alive => Self::Alive,
            WorkerState::Suspect => Self::Suspect,
            WorkerState::Lost => Self::Lost,
            WorkerState::Draining => Self::Draining,
        }
    }
}

/// The worker state that a number on the wire stands for.
fn worker_state(value: i32) -> Result<WorkerState, ConvertError> {
    match wire::WorkerState::try_from(value) {
        Ok(wire::WorkerState::Alive) => Ok(WorkerState::Alive),
        Ok(wire::WorkerState::Suspect) => Ok(WorkerState::Suspect),
        Ok(wire::WorkerState::Lost) => Ok(WorkerState::Lost),
        Ok(wire::WorkerState::Draining) => Ok(WorkerState::Draining),
        Ok(wire::WorkerState::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { enumeration: "WorkerState", value })
        }
    }
}

impl From<WorkerView> for wire::WorkerView {
    fn from(view: WorkerView) -> Self {
        Self {
            worker: view.id.0,
            address: view.address,
            state: wire::WorkerState::from(view.state).into(),
            slots: view.slots,
            memory_bytes: view.memory_bytes,
            process_id: view.process_id,
            memory_used_bytes: view.memory_used_bytes,
            running: view.running,
            reason: view.reason,
        }
    }
}

impl TryFrom<wire::WorkerView> for WorkerView {
    type Error = ConvertError;

    fn try_from(view: wire::WorkerView) -> Result<Self, ConvertError> {
        Ok(Self {
            id: WorkerId(view.worker),
            address: view.address,
            state: worker_state(view.state)?,
            slots: view.slots,
            memory_bytes: view.memory_bytes,
            process_id: view.process_id,
            memory_used_bytes: view.memory_used_bytes,
            running: view.running,
            reason: view.reason,
        })
    }
}

impl From<ApplicationState> for wire::ApplicationState {
    fn from(state: ApplicationState) -> Self {
        match state {
            ApplicationState::Submitted => Self::Submitted,
            ApplicationState::Running => Self::Running,
            ApplicationState::Finished => Self::Finished,
            ApplicationState::Failed => Self::Failed,
            ApplicationState::Killed => Self::Killed,
        }
    }
}

/// The application state that a number on the wire stands for.
fn application_state(value: i32) -> Result<ApplicationState, ConvertError> {
    match wire::ApplicationState::try_from(value) {
        Ok(wire::ApplicationState::Submitted) => Ok(ApplicationState::Submitted),
        Ok(wire::ApplicationState::Running) => Ok(ApplicationState::Running),
        Ok(wire::ApplicationState::Finished) => Ok(ApplicationState::Finished),
        Ok(wire::ApplicationState::Failed) => Ok(ApplicationState::Failed),
        Ok(wire::ApplicationState::Killed) => Ok(ApplicationState::Killed),
        Ok(wire::ApplicationState::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { enumeration: "ApplicationState", value })
        }
    }
}

impl From<ApplicationView> for wire::ApplicationView {
    fn from(view: ApplicationView) -> Self {
        Self {
            application: view.id.0,
            name: view.name,
            state: wire::ApplicationState::from(view.state).into(),
            deploy_mode: view.deploy_mode,
            submitted_at_ms: view.submitted_at.0,
            ended_at_ms: view.ended_at.map(|time| time.0),
            error: view.error,
        }
    }
}

impl TryFrom<wire::ApplicationView> for ApplicationView {
    type Error = ConvertError;

    fn try_from(view: wire::ApplicationView) -> Result<Self, ConvertError> {
        Ok(Self {
            id: ApplicationId(view.application),
            name: view.name,
            state: application_state(view.state)?,
            deploy_mode: view.deploy_mode,
            submitted_at: WallTime(view.submitted_at_ms),
            ended_at: view.ended_at_ms.map(WallTime),
            error: view.error,
        })
    }
}
