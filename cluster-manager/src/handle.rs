//! The cluster manager from outside: starting one, connecting to it inside the same process, and
//! asking it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::ContentHash;
use gnist_common::ids::{ApplicationId, JobId, StageId};
use gnist_common::stores::StoreSettings;
use gnist_common::task::OutputTable;
use gnist_proto::link::{ContentSink, ContentSource, DriverLink, LINK_MESSAGES_MAX, WorkerLink};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::ManagerConfig;
use crate::content::ContentStore;
use crate::input::{
    Carrier, DriverPeer, INBOX_INPUTS_MAX, Input, SessionId, WorkerPeer, carry_driver, carry_worker,
};
use crate::shell::Shell;
use crate::view::{ClusterState, JobView, StageView, TaskView};

/// Messages towards one peer that wait for it. A peer that leaves more unread counts as gone, so
/// that the shell never waits for anyone. Room is made as it is needed.
pub(crate) const OUTBOX_MESSAGES_MAX: usize = 1 << 16;

/// A cluster manager.
pub struct Manager;

impl Manager {
    /// Starts a cluster manager on the current runtime. It ends with [`ManagerHandle::stop`], or
    /// when every handle and link is gone.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: ManagerConfig) -> ManagerHandle {
        let runtime = Handle::current();
        let (inbox, inputs) = mpsc::channel(INBOX_INPUTS_MAX);
        let content = Arc::new(ContentStore::new(config.content_bytes_max));
        let shell = Shell::new(config, Arc::clone(&content), inbox.downgrade());
        runtime.spawn(shell.run(inputs));
        let sessions = Arc::new(AtomicU64::new(0));
        ManagerHandle { inbox, content, sessions, runtime }
    }
}

/// A way to talk to a running cluster manager; clones talk to the same one.
#[derive(Clone)]
pub struct ManagerHandle {
    inbox: mpsc::Sender<Input>,
    content: Arc<ContentStore>,
    sessions: Arc<AtomicU64>,
    runtime: Handle,
}

impl ManagerHandle {
    /// Opens a worker's conversation inside this process. Dropping the link loses the worker.
    pub fn connect_worker(&self) -> WorkerLink {
        self.open_worker(Carrier::Channels)
    }

    /// Opens a driver's conversation inside this process. Dropping the link ends the application.
    pub fn connect_driver(&self) -> DriverLink {
        self.open_driver(Carrier::Channels)
    }

    pub(crate) fn open_worker(&self, carrier: Carrier) -> WorkerLink {
        let (to_manager, said) = mpsc::channel(LINK_MESSAGES_MAX);
        let (outbox, from_manager) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let peer = WorkerPeer { carrier, outbox };
        self.runtime.spawn(carry_worker(self.session(), peer, said, self.inbox.clone()));
        WorkerLink { to_manager, from_manager, content: Arc::new(self.clone()) }
    }

    pub(crate) fn open_driver(&self, carrier: Carrier) -> DriverLink {
        let (to_manager, said) = mpsc::channel(LINK_MESSAGES_MAX);
        let (outbox, from_manager) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let (opened, application) = watch::channel(None);
        let peer = DriverPeer { carrier, outbox, opened };
        self.runtime.spawn(carry_driver(self.session(), peer, said, self.inbox.clone()));
        let content = Arc::new(Sink { content: Arc::clone(&self.content), application });
        DriverLink { to_manager, from_manager, content }
    }

    fn session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// Says that the process of a worker was seen to exit: the worker is lost at once.
    pub async fn worker_process_gone(&self, process_id: u32, reason: impl Into<String>) {
        let reason = reason.into();
        // A manager that has stopped has no workers.
        let _ = self.inbox.send(Input::ProcessGone { process_id, reason }).await;
    }

    /// Ends an application; false when it had ended before.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Cluster` when the manager has stopped.
    pub async fn kill(&self, application: ApplicationId) -> Result<bool, Failure> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inbox.send(Input::Kill { application, reply }).await;
        sent.map_err(|_| stopped())?;
        let known = answer.await.map_err(|_| stopped())?;
        known.ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, format!("there is no application `{application}`"))
        })
    }

    /// Every worker and application that is known.
    ///
    /// # Errors
    /// `Cluster` when the manager has stopped.
    pub async fn state(&self) -> Result<ClusterState, Failure> {
        self.read(|shell| shell.state()).await
    }

    /// The jobs of an application, in order; nothing when there is no such application.
    ///
    /// # Errors
    /// `Cluster` when the manager has stopped.
    pub async fn jobs(&self, application: ApplicationId) -> Result<Option<Vec<JobView>>, Failure> {
        self.read(move |shell| shell.history(application).map(|history| history.jobs())).await
    }

    /// The stages of a job, in order; nothing when there is no such job.
    ///
    /// # Errors
    /// `Cluster` when the manager has stopped.
    pub async fn stages(&self, job: JobId) -> Result<Option<Vec<StageView>>, Failure> {
        self.read(move |shell| shell.history(job.application)?.stages(job)).await
    }

    /// The attempts at the tasks of a stage, in task order; nothing when there is no such stage.
    ///
    /// # Errors
    /// `Cluster` when the manager has stopped.
    pub async fn tasks(&self, stage: StageId) -> Result<Option<Vec<TaskView>>, Failure> {
        self.read(move |shell| shell.history(stage.job.application)?.tasks(stage)).await
    }

    /// Bytes of the programs, bindings and rows of tables that applications need.
    pub fn content_bytes(&self) -> u64 {
        self.content.bytes()
    }

    /// Ends the manager: every conversation ends, and what is served with it.
    pub async fn stop(&self) {
        // One that has stopped already needs no telling.
        let _ = self.inbox.send(Input::Stop).await;
        self.inbox.closed().await;
    }

    /// Waits until the manager has stopped.
    pub async fn stopped(&self) {
        self.inbox.closed().await;
    }

    pub(crate) fn content_store(&self) -> &ContentStore {
        &self.content
    }

    /// Asks the shell something between two inputs.
    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Shell) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let read = Input::Read(Box::new(move |shell| {
            // Whoever asked may have lost interest.
            let _ = reply.send(ask(shell));
        }));
        self.inbox.send(read).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}

/// The failure of asking a manager that is no more.
fn stopped() -> Failure {
    Failure::new(ErrorKind::Cluster, "the cluster manager has stopped")
}

#[async_trait]
impl ContentSource for ManagerHandle {
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        self.content.get(hash)
    }

    async fn outputs(&self, stage: StageId, version: u32) -> Result<Arc<OutputTable>, Failure> {
        let (reply, answer) = oneshot::channel();
        let pull = move |shell: &mut Shell| shell.pull_table(stage, version, reply);
        self.inbox.send(Input::Read(Box::new(pull))).await.map_err(|_| stopped())?;
        let table = answer.await.map_err(|_| stopped())?;
        table.ok_or_else(|| {
            let message = format!("there is no output table of `{stage}` at version {version}");
            Failure::new(ErrorKind::NotFound, message)
        })
    }

    async fn stores(&self, application: ApplicationId) -> Result<StoreSettings, Failure> {
        let stores = self.read(move |shell| shell.stores(application)).await?;
        stores.ok_or_else(|| {
            let message = format!("the application `{application}` has ended");
            Failure::new(ErrorKind::NotFound, message)
        })
    }
}

/// The store into which a driver in this process puts programs.
struct Sink {
    content: Arc<ContentStore>,
    /// Known once the application is open; ends with the conversation.
    application: watch::Receiver<Option<ApplicationId>>,
}

#[async_trait]
impl ContentSink for Sink {
    async fn put_content(&self, hash: ContentHash, bytes: Bytes) -> Result<(), Failure> {
        self.content.put(self.application().await?, hash, bytes)
    }

    async fn release_content(&self, hash: ContentHash) -> Result<(), Failure> {
        self.content.release(self.application().await?, hash);
        Ok(())
    }
}

impl Sink {
    /// The application, once it is open.
    async fn application(&self) -> Result<ApplicationId, Failure> {
        let mut application = self.application.clone();
        let opened = application.wait_for(Option::is_some).await.ok().and_then(|opened| *opened);
        opened.ok_or_else(stopped)
    }
}
