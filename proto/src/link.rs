//! The ends of a conversation, whatever carries it: channels inside one process, or gRPC.
//!
//! Driver, worker and cluster manager are written against these, so that `local[*]` and a cluster
//! run the same code. A link is broken when its receiver ends; messages keep their order.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gnist_common::error::Failure;
use gnist_common::graph::ContentHash;
use gnist_common::ids::{ApplicationId, StageId};
use gnist_common::protocol::{DriverToManager, ManagerToDriver, ManagerToWorker, WorkerToManager};
use gnist_common::stores::StoreSettings;
use gnist_common::task::OutputTable;
use tokio::sync::mpsc;

/// Messages a link holds before its sender waits.
pub const LINK_MESSAGES_MAX: usize = 1024;

/// A worker's end of its conversation with the cluster manager.
pub struct WorkerLink {
    /// Messages of the worker; the first one is `Register`.
    pub to_manager: mpsc::Sender<WorkerToManager>,
    /// Messages of the manager; they end when the conversation is broken.
    pub from_manager: mpsc::Receiver<ManagerToWorker>,
    /// The content that it pulls by name.
    pub content: Arc<dyn ContentSource>,
}

/// A driver's end of its conversation with the cluster manager.
pub struct DriverLink {
    /// Messages of the driver; the first one is `OpenApplication`.
    pub to_manager: mpsc::Sender<DriverToManager>,
    /// Messages of the manager; they end when the conversation is broken.
    pub from_manager: mpsc::Receiver<ManagerToDriver>,
    /// The store into which it puts programs and bindings before it submits stages that name them.
    pub content: Arc<dyn ContentSink>,
}

/// The content that an executor pulls from the cluster manager by name.
#[async_trait]
pub trait ContentSource: Send + Sync {
    /// The bytes of a program or of bindings.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone, `NotFound` when it never had them.
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure>;

    /// The places of a stage's outputs, at this version or a later one. Waits for a stage that
    /// still runs; whoever drops the future waits no more.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone, `NotFound` when the stage's job has ended or the stage
    /// has lost outputs since that version.
    async fn outputs(&self, stage: StageId, version: u32) -> Result<Arc<OutputTable>, Failure>;

    /// The settings of the stores that an application uses.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone, `NotFound` when the application has ended.
    async fn stores(&self, application: ApplicationId) -> Result<StoreSettings, Failure>;
}

/// The store into which a driver puts what executors will pull.
#[async_trait]
pub trait ContentSink: Send + Sync {
    /// Stores bytes under their hash; putting what is there already is cheap and no error.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone.
    async fn put_content(&self, hash: ContentHash, bytes: Bytes) -> Result<(), Failure>;

    /// Says that this driver needs the content of this name no more, until it puts it again.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone.
    async fn release_content(&self, hash: ContentHash) -> Result<(), Failure>;
}
