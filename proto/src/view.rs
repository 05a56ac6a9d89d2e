//! The cluster as people and scripts see it: what `gnist workers`, `gnist apps` and `gnist status`
//! print, and what `/api/v1` serves, in one JSON form.
//!
//! Field names and values are a contract with users; fields may be added, none renamed.

use gnist_common::ids::{ApplicationId, WorkerId};
use gnist_common::time::WallTime;
use serde::{Serialize, Serializer};

/// Workers and applications, each in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterState {
    /// Every worker that is known, lost ones too.
    pub workers: Vec<WorkerView>,
    /// Every application, ended ones too.
    pub applications: Vec<ApplicationView>,
}

/// The health of a worker, as far as the manager knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// The worker's conversation goes on.
    Alive,
    /// The worker's conversation broke; its lease runs.
    Suspect,
    /// The worker is gone with everything it held.
    Lost,
    /// The worker finishes what it runs and takes nothing new.
    Draining,
}

impl WorkerState {
    /// The stable name used in JSON and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
            Self::Draining => "draining",
        }
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerView {
    /// The id of this incarnation.
    #[serde(serialize_with = "display")]
    pub id: WorkerId,
    /// `HOST:PORT` of its data plane.
    pub address: String,
    /// The health, as far as the manager knows.
    pub state: WorkerState,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Memory budget, in bytes.
    pub memory_bytes: u64,
    /// The id of its process.
    pub process_id: u32,
    /// Bytes reserved of its budget at its last heartbeat.
    pub memory_used_bytes: u64,
    /// Attempts it ran at its last heartbeat.
    pub running: u32,
    /// The reason, if it was lost.
    pub reason: Option<String>,
}

/// The state of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationState {
    /// Accepted, its driver not running yet.
    Submitted,
    /// The driver is connected.
    Running,
    /// The driver closed the application in good order.
    Finished,
    /// The driver is gone without having closed the application.
    Failed,
    /// A user asked for the end of the application.
    Killed,
}

impl ApplicationState {
    /// The stable name used in JSON and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

/// One application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApplicationView {
    /// The id, `app-7`.
    #[serde(serialize_with = "display")]
    pub id: ApplicationId,
    /// The name its driver gave it.
    pub name: String,
    /// The state that it is in.
    pub state: ApplicationState,
    /// `client` or `cluster`: where its driver runs.
    pub deploy_mode: String,
    /// Time when the user submitted it.
    #[serde(serialize_with = "display")]
    pub submitted_at: WallTime,
    /// Time when it ended.
    #[serde(serialize_with = "display_option")]
    pub ended_at: Option<WallTime>,
    /// The reason, if it failed.
    pub error: Option<String>,
}

/// Serialises a value as its display form.
///
/// # Errors
/// Those of the serialiser.
pub fn display<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serialises a value that may be missing as its display form or null.
///
/// # Errors
/// Those of the serialiser.
pub fn display_option<T: std::fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
