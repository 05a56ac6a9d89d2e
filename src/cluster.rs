//! The processes of a cluster: a cluster manager, a worker. Shared by the standing cluster's
//! commands and by the children of a `local-cluster`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnist_cluster_manager::{Manager, ManagerConfig, serve, serve_rest};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_proto::link::WorkerLink;
use gnist_proto::{client, connect};
use gnist_worker::{Connections, PulledPrograms, Reconnect, Worker, WorkerConfig, WorkerEnd};

use crate::allocator::{give_back_above, give_back_if_asked};
use crate::machine::fresh_worker_id;

/// Time that a worker looks for its cluster manager.
const CONNECT_FOR: Duration = Duration::from_secs(3);
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Freed memory that a cluster manager may keep: content passes through it.
const MANAGER_BYTES: u64 = 128 << 20;

/// The settings that a cluster manager is started with.
#[derive(Clone, Debug)]
pub struct ManagerParts {
    /// `HOST:PORT` for workers and drivers; port 0 takes a free one.
    pub listen: String,
    /// `HOST:PORT` for JSON over HTTP.
    pub ui: Option<String>,
    /// Time between two heartbeats of a worker or driver.
    pub heartbeat_interval: Duration,
    /// Silence after which they are lost.
    pub lease: Duration,
    /// Time that a job waits while there is no worker.
    pub no_worker_timeout: Duration,
    /// True if lost workers may be replaced.
    pub worker_can_return: bool,
}

/// The settings that a worker is started with.
#[derive(Clone, Debug)]
pub struct WorkerParts {
    /// `HOST:PORT` of the cluster managers.
    pub manager: Vec<String>,
    /// `HOST:PORT` of its data plane.
    pub listen: String,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Memory budget.
    pub memory: ByteSize,
    /// The folder in which it spills.
    pub work_dir: PathBuf,
    /// Rows of a batch.
    pub batch_rows: usize,
}

/// Runs a cluster manager until it is stopped; says where it listens once it does.
///
/// # Errors
/// When an address can't be listened on.
pub async fn run_manager(
    parts: ManagerParts,
    ready: impl FnOnce(&str, Option<&str>),
) -> Result<(), Failure> {
    let listener = connect::listen(&parts.listen).await?;
    let ui = match &parts.ui {
        Some(address) => Some(connect::listen(address).await?),
        None => None,
    };
    let handle = Manager::start(ManagerConfig {
        heartbeat_interval: parts.heartbeat_interval,
        lease: parts.lease,
        no_worker_timeout: parts.no_worker_timeout,
        worker_can_return: parts.worker_can_return,
        ..ManagerConfig::default()
    });
    let ui_address = ui.as_ref().map(|ui| ui.address.to_string());
    ready(&listener.address.to_string(), ui_address.as_deref());
    if let Some(ui) = ui {
        tokio::spawn(serve_rest(handle.clone(), ui));
    }
    tokio::select! {
        end = serve(handle, listener) => end,
        never = give_back_above(MANAGER_BYTES) => match never {},
    }
}

/// Runs a worker until it is told to stop; says where its data plane is once it is registered.
/// SIGTERM takes it from the cluster in good order.
///
/// # Errors
/// No such master, a work folder that can't be written, or a manager that refuses it.
pub async fn run_worker(parts: WorkerParts, ready: impl FnOnce(&str)) -> Result<(), Failure> {
    run_worker_until(parts, ready, terminated()).await
}

/// Runs a worker as [`run_worker`] does; `stop` takes it from the cluster in good order.
pub(crate) async fn run_worker_until(
    parts: WorkerParts,
    ready: impl FnOnce(&str),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let budget_bytes = parts.memory.0;
    tokio::select! {
        end = run_registered(parts, ready, stop) => end,
        never = give_back_above(budget_bytes) => match never {},
    }
}

async fn run_registered(
    parts: WorkerParts,
    ready: impl FnOnce(&str),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let listener = connect::listen(&parts.listen).await?;
    let link = connect_patiently(&parts.manager).await?;
    let addresses = Arc::new(parts.manager);
    let reconnect: Reconnect = Arc::new(move || {
        let addresses = Arc::clone(&addresses);
        Box::pin(async move { client::connect_worker(&addresses).await })
    });
    let programs = Arc::new(PulledPrograms::new(Arc::clone(&link.content)));
    let mut config =
        WorkerConfig::new(fresh_worker_id(), parts.slots, parts.memory, parts.work_dir);
    config.batch_rows = parts.batch_rows;
    config.before_waiting = Some(Arc::new(give_back_if_asked));
    let connections = Connections {
        link,
        reconnect: Some(reconnect),
        programs,
        results: None,
        listener: Some(listener),
    };
    let worker = Worker::start(config, connections).await?;
    let handle = worker.handle();
    ready(handle.address());
    let stopping = tokio::spawn(async move {
        stop.await;
        handle.deregister();
    });
    let end = worker.join().await;
    stopping.abort();
    match end {
        WorkerEnd::Asked => Ok(()),
        WorkerEnd::ShutDown { reason } => Err(Failure::new(ErrorKind::Cluster, reason)),
        WorkerEnd::Disconnected => {
            Err(Failure::new(ErrorKind::Cluster, "lost the cluster manager"))
        }
    }
}

/// Connects a worker; one that is started together with its cluster manager may be first.
async fn connect_patiently(addresses: &[String]) -> Result<WorkerLink, Failure> {
    let give_up = Instant::now() + CONNECT_FOR;
    loop {
        match client::connect_worker(addresses).await {
            Err(failure) if Instant::now() < give_up => {
                tracing::debug!(%failure, "waiting for the cluster manager");
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// Waits for SIGTERM or Ctrl-C; forever where they can't be waited for.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
