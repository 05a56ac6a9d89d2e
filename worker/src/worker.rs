//! A worker as its owner holds it: started, joined, asked to leave.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gnist_common::error::Failure;
use gnist_common::ids::WorkerId;
use gnist_common::protocol::Registration;
use gnist_proto::connect::Listener;
use gnist_proto::link::WorkerLink;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::blocks::BlockStore;
use crate::config::WorkerConfig;
use crate::conversation::{Conversation, Wish};
use crate::cpu::CpuRuntime;
use crate::data_plane;
use crate::executor::Executor;
use crate::inputs::{InputSource, Tables};
use crate::memory::MemoryBudget;
use crate::panics;
use crate::programs::ProgramSource;
use crate::results::ResultSink;
use crate::runner::Runner;
use crate::work_dir::WorkDir;

/// Opens a new link after the old one broke.
pub type Reconnect = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<WorkerLink, Failure>> + Send>> + Send + Sync,
>;

/// The parties that a worker talks to.
pub struct Connections {
    /// The cluster manager.
    pub link: WorkerLink,
    /// Opens that link again; without it, a broken link ends the worker.
    pub reconnect: Option<Reconnect>,
    /// The source of programs.
    pub programs: Arc<dyn ProgramSource>,
    /// Takes result rows when the driver is in this process.
    pub results: Option<Arc<dyn ResultSink>>,
    /// The port at which peers fetch blocks; without it nobody can.
    pub listener: Option<Listener>,
}

/// Reasons why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The owner asked for it.
    Asked,
    /// The cluster manager told it to stop.
    ShutDown {
        /// The reason that the manager gave.
        reason: String,
    },
    /// The cluster manager is gone.
    Disconnected,
}

/// A running worker. Dropped, it stops without a word, and all that it ran with it.
#[derive(Debug)]
pub struct Worker {
    handle: WorkerHandle,
    work_dir: Arc<WorkDir>,
    conversation: Option<JoinHandle<WorkerEnd>>,
}

/// Asks a worker to end.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    wishes: Arc<watch::Sender<Wish>>,
    worker: WorkerId,
    address: String,
}

impl Worker {
    /// Starts a worker and registers it. Everything but operators runs on the runtime this is
    /// called on.
    ///
    /// # Errors
    /// When the work folder can't be written, or the cluster manager does not take it.
    pub async fn start(config: WorkerConfig, connections: Connections) -> Result<Self, Failure> {
        panics::install_hook();
        let Connections { mut link, reconnect, programs, results, listener } = connections;
        let work_dir = Arc::new(WorkDir::create(&config.work_dir, config.worker)?);
        let ended_in = Arc::clone(&work_dir);
        let cpu = CpuRuntime::start(config.slots, config.before_waiting.clone())?;
        let budget = MemoryBudget::of_memory(config.memory);
        Arc::clone(&programs).count_in(&budget);
        let store = BlockStore::new(work_dir.segments(), Arc::clone(&budget));
        let tables = Tables::new(Arc::clone(&link.content));
        let io = Handle::current();
        let (own_store, own_budget) = (Arc::clone(&store), Arc::clone(&budget));
        let inputs = InputSource::new(config.worker, own_store, own_budget, tables, io);
        let content = (Arc::clone(&link.content), Handle::current());
        let executor =
            Executor::new(&config, Arc::clone(&work_dir), inputs, programs, results, content)?;
        let runner = Runner::new(Arc::new(executor), cpu.handle().clone());
        let address = address(&config, listener.as_ref());
        let (wishes, wished) = watch::channel(Wish::Work);
        let conversation = Conversation {
            runner: Arc::clone(&runner),
            registration: registration(&config, address.clone()),
            wishes: wished,
            reconnect,
            reconnect_for: config.reconnect_for,
        };
        // Served before it is registered: peers may ask as soon as they know of it.
        let data_plane =
            listener.map(|listener| data_plane::serve(listener, config.worker, store, budget));
        let running = Running { runner, data_plane, _cpu: cpu };
        let heartbeat = conversation.register(&mut link).await?;
        tracing::info!(worker = %config.worker, address, "registered");
        let conversation = tokio::spawn(async move {
            let running = running;
            let end = conversation.run(link, heartbeat).await;
            tracing::info!(worker = %running.runner.executor.worker, ?end, "worker ended");
            drop(running);
            ended_in.close();
            end
        });
        let handle = WorkerHandle { wishes: Arc::new(wishes), worker: config.worker, address };
        Ok(Self { handle, work_dir, conversation: Some(conversation) })
    }

    /// Returns a handle to ask it to end.
    pub fn handle(&self) -> WorkerHandle {
        self.handle.clone()
    }

    /// Waits for its end.
    pub async fn join(mut self) -> WorkerEnd {
        let Some(conversation) = self.conversation.as_mut() else { return WorkerEnd::Asked };
        let end = conversation.await.unwrap_or(WorkerEnd::Asked);
        self.conversation = None;
        end
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(conversation) = self.conversation.take() {
            conversation.abort();
            // The process may end before the threads of its tasks do.
            self.work_dir.close();
        }
    }
}

impl WorkerHandle {
    /// Returns the id of the worker.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// `HOST:PORT` of its data plane; empty when it has none.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Leaves in good order: says so to the manager, then stops.
    pub fn deregister(&self) {
        self.wishes.send_replace(Wish::Leave);
    }

    /// Stops without a word.
    pub fn stop(&self) {
        self.wishes.send_replace(Wish::Stop);
    }
}

/// The parts that must stop when the conversation is over, however it ends.
struct Running {
    runner: Arc<Runner>,
    data_plane: Option<JoinHandle<()>>,
    _cpu: CpuRuntime,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runner.stop();
        if let Some(data_plane) = &self.data_plane {
            data_plane.abort();
        }
    }
}

fn address(config: &WorkerConfig, listener: Option<&Listener>) -> String {
    let Some(listener) = listener else { return String::new() };
    match &config.advertise {
        Some(whole)
            if whole.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) =>
        {
            whole.clone()
        }
        Some(host) => format!("{host}:{}", listener.address.port()),
        None => listener.address.to_string(),
    }
}

fn registration(config: &WorkerConfig, address: String) -> Registration {
    Registration {
        worker: config.worker,
        address,
        slots: config.slots,
        memory_bytes: config.memory.0,
        process_id: std::process::id(),
        running: Vec::new(),
        held: Vec::new(),
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
