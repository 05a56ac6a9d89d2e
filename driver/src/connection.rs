//! The driver's conversation with its cluster manager: one link, many jobs.
//!
//! Messages about a job are routed to that job's inbox, which is never full (see [`crate::inbox`]). The
//! link's end ends every inbox, and every job with it: nobody waits for a manager that is gone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::Stage;
use gnist_common::ids::ApplicationId;
use gnist_common::protocol::{DriverToManager, ManagerToDriver};
use gnist_common::stores::StoreSettings;
use gnist_common::time::WallTime;
use gnist_proto::link::DriverLink;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::content::Contents;
use crate::fetch::Fetcher;
use crate::inbox::{Inboxes, JobInbox};
use crate::tables::Tables;

/// Time that a manager may take to hear a goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

/// Sees every message about the session's jobs, for progress and tests.
pub trait JobObserver: Send + Sync {
    /// Called once per message, in order, before the job acts on it. Must not block.
    fn event(&self, message: &ManagerToDriver);
}

/// An open application.
pub(crate) struct Connection {
    application: ApplicationId,
    slots: u32,
    to_manager: mpsc::Sender<DriverToManager>,
    contents: Contents,
    tables: Tables,
    fetcher: Arc<Fetcher>,
    inboxes: Arc<Inboxes>,
    next_job: AtomicU32,
    tasks: Vec<JoinHandle<()>>,
    /// Ends when the manager has hung up.
    hung_up: watch::Receiver<()>,
    /// The reason, if the application failed.
    failed: OnceLock<String>,
}

/// The failure of everything that waits for a manager that is gone.
pub(crate) fn manager_gone() -> Failure {
    Failure::new(ErrorKind::Cluster, "lost the cluster manager while the job was running")
        .with_help("see the cluster manager's log; submit the job again when it is back")
}

impl Connection {
    /// Opens the application.
    ///
    /// # Errors
    /// `Cluster`, when the manager refuses or is gone.
    pub(crate) async fn open(
        mut link: DriverLink,
        name: String,
        submitted_at: WallTime,
        stores: StoreSettings,
        observer: Option<Arc<dyn JobObserver>>,
    ) -> Result<Self, Failure> {
        let open = DriverToManager::OpenApplication { name, submitted_at, stores };
        link.to_manager.send(open).await.map_err(|_| manager_gone())?;
        let (application, heartbeat_interval_ms, slots) = match link.from_manager.recv().await {
            Some(ManagerToDriver::ApplicationOpened {
                application,
                heartbeat_interval_ms,
                slots,
                ..
            }) => (application, heartbeat_interval_ms, slots),
            Some(_) => {
                return Err(Failure::new(
                    ErrorKind::Internal,
                    "the cluster manager answered before the application was opened",
                ));
            }
            None => return Err(manager_gone()),
        };
        let inboxes = Arc::new(Inboxes::default());
        let (conversing, hung_up) = watch::channel(());
        let fetcher = Arc::<Fetcher>::default();
        let route = route(link.from_manager, Arc::clone(&inboxes), Arc::clone(&fetcher), observer);
        let routing = async move {
            route.await;
            drop(conversing);
        };
        let beating = beat(link.to_manager.clone(), Duration::from_millis(heartbeat_interval_ms));
        Ok(Self {
            application,
            slots,
            to_manager: link.to_manager,
            contents: Contents::new(link.content),
            tables: Tables::default(),
            fetcher,
            inboxes,
            next_job: AtomicU32::new(0),
            tasks: vec![tokio::spawn(routing), tokio::spawn(beating)],
            hung_up,
            failed: OnceLock::new(),
        })
    }

    /// The application's id.
    pub(crate) fn application(&self) -> ApplicationId {
        self.application
    }

    /// Slots of the cluster when the application was opened.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// Fetches results from the workers.
    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Opens the next job.
    pub(crate) fn open_job(&self) -> JobInbox {
        let job = self.application.job(self.next_job.fetch_add(1, Ordering::Relaxed));
        self.inboxes.open(job, self.to_manager.clone())
    }

    /// Returns the programs and bindings that executors pull.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Tables in memory whose rows executors pull.
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Releases content that no job and no table uses any more, but for a little.
    pub(crate) async fn release_unused(&self) {
        self.tables.sweep();
        self.contents.trim().await;
    }

    /// Submits stages whose content was put. From the first on, the job is cancelled when its inbox
    /// is dropped before its end was heard.
    pub(crate) async fn submit(
        &self,
        inbox: &mut JobInbox,
        stages: Vec<Stage>,
        sealed: bool,
    ) -> Result<(), Failure> {
        inbox.submitted();
        let job = inbox.job;
        self.say(DriverToManager::SubmitStages { job, stages, sealed }).await
    }

    /// Says something to the manager.
    pub(crate) async fn say(&self, message: DriverToManager) -> Result<(), Failure> {
        self.to_manager.send(message).await.map_err(|_| manager_gone())
    }

    /// Says why the application failed; the first word counts.
    pub(crate) fn fail(&self, error: String) {
        // Set already: the first failure is the cause.
        let _ = self.failed.set(error);
    }

    fn goodbye(&self) -> DriverToManager {
        DriverToManager::CloseApplication { error: self.failed.get().cloned() }
    }

    /// Leaves in good order: returns once the manager has heard it.
    pub(crate) async fn close(&self) {
        let mut hung_up = self.hung_up.clone();
        let goodbye = async {
            if self.say(self.goodbye()).await.is_ok() {
                // Nothing is ever sent: this ends when the other end is dropped.
                let _ = hung_up.changed().await;
            }
        };
        // A manager that is gone has closed the application already.
        let _ = timeout(GOODBYE_PATIENCE, goodbye).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.to_manager.try_send(self.goodbye());
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn route(
    mut from_manager: mpsc::Receiver<ManagerToDriver>,
    inboxes: Arc<Inboxes>,
    fetcher: Arc<Fetcher>,
    observer: Option<Arc<dyn JobObserver>>,
) {
    while let Some(message) = from_manager.recv().await {
        if let Some(observer) = &observer {
            observer.event(&message);
        }
        if let ManagerToDriver::WorkerLost { worker, .. } = &message {
            fetcher.lose(*worker);
        }
        inboxes.deliver(message);
    }
    inboxes.close();
}

async fn beat(to_manager: mpsc::Sender<DriverToManager>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(10)));
    while to_manager.send(DriverToManager::Heartbeat).await.is_ok() {
        ticks.tick().await;
    }
}
