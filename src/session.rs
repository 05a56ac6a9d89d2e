//! Sessions as users make them: a master URL in, a session with all it needs out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::master::MasterUrl;
use gnist_driver::{JobObserver, SessionParts};
use gnist_proto::client;
use gnist_storage::stores::settings_of;

use crate::child::{self, Children, ReadyChild, Role};
use crate::local::LocalCluster;
use crate::machine;
use crate::threads;

/// One of this session's own processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `driver`, `cluster-manager` or `worker`.
    pub role: &'static str,
    /// Process id.
    pub id: u32,
    /// Memory budget, where it has one.
    pub budget_bytes: Option<u64>,
}

/// The settings that a session is opened with.
#[derive(Clone)]
pub struct SessionBuilder {
    master: MasterUrl,
    name: String,
    memory: Option<ByteSize>,
    work_dir: PathBuf,
    observer: Option<Arc<dyn JobObserver>>,
    shuffle_partitions: Option<u32>,
    broadcast_threshold: ByteSize,
    sort_threshold: ByteSize,
    batch_rows: usize,
    ansi: bool,
    heartbeat_interval: Duration,
    lease: Duration,
    store_keys: Vec<(&'static str, String)>,
}

/// A session, with the processes and threads that its master made necessary. They end with it.
pub struct Session {
    session: gnist_driver::Session,
    slots: u32,
    processes: Vec<Process>,
    _children: Children,
    _local: Option<LocalCluster>,
}

impl Session {
    /// A builder for this master.
    pub fn builder(master: MasterUrl) -> SessionBuilder {
        SessionBuilder {
            master,
            name: "gnist".to_owned(),
            memory: None,
            work_dir: std::env::temp_dir().join("gnist"),
            observer: None,
            shuffle_partitions: None,
            broadcast_threshold: ByteSize::mib(10),
            sort_threshold: ByteSize::mib(32),
            batch_rows: 8192,
            ansi: true,
            heartbeat_interval: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            store_keys: Vec::new(),
        }
    }

    /// Slots of the master when the session was opened.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Returns this process and every process that the session started.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }
}

impl std::ops::Deref for Session {
    type Target = gnist_driver::Session;

    fn deref(&self) -> &Self::Target {
        &self.session
    }
}

impl SessionBuilder {
    /// The application's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The memory budget of this process; of its executor under `local[N]`.
    #[must_use]
    pub fn memory(mut self, memory: Option<ByteSize>) -> Self {
        self.memory = memory;
        self
    }

    /// Sets the folder in which executors spill.
    #[must_use]
    pub fn work_dir(mut self, work_dir: PathBuf) -> Self {
        self.work_dir = work_dir;
        self
    }

    /// Sees every message about the session's jobs.
    #[must_use]
    pub fn observer(mut self, observer: Option<Arc<dyn JobObserver>>) -> Self {
        self.observer = observer;
        self
    }

    /// Output partitions of every exchange.
    #[must_use]
    pub fn shuffle_partitions(mut self, partitions: Option<u32>) -> Self {
        self.shuffle_partitions = partitions;
        self
    }

    /// Largest build side of a join that is sent whole to every executor of a cluster.
    #[must_use]
    pub fn broadcast_threshold(mut self, threshold: ByteSize) -> Self {
        self.broadcast_threshold = threshold;
        self
    }

    /// Bytes of a sorted result above which a cluster samples it and merges by ranges of keys.
    #[must_use]
    pub fn sort_threshold(mut self, threshold: ByteSize) -> Self {
        self.sort_threshold = threshold;
        self
    }

    /// Rows per batch.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    /// Returns true if an overflow of integers and decimals is an error.
    #[must_use]
    pub fn ansi(mut self, ansi: bool) -> Self {
        self.ansi = ansi;
        self
    }

    /// Config keys of stores, such as `s3.region`. They come before the environment of this process and `~/.aws`.
    #[must_use]
    pub fn store_keys(mut self, keys: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.store_keys = keys.into_iter().collect();
        self
    }

    /// Heartbeat interval and lease of a cluster that the session starts.
    #[must_use]
    pub fn lease(mut self, heartbeat_interval: Duration, lease: Duration) -> Self {
        self.heartbeat_interval = heartbeat_interval;
        self.lease = lease;
        self
    }

    /// Opens the session, starting what its master needs.
    ///
    /// # Errors
    /// No such master, a process that can't be started, a work folder that can't be written.
    pub async fn connect(self) -> Result<Session, Failure> {
        threads::of_sessions(self.start()).await
    }

    async fn start(self) -> Result<Session, Failure> {
        self.memory.map_or(Ok(()), machine::check_memory)?;
        match self.master.clone() {
            MasterUrl::Local { slots } => {
                let slots = slots.map_or_else(machine::available_slots, Into::into);
                self.connect_local(slots).await
            }
            MasterUrl::LocalCluster { workers, slots, memory } => {
                machine::check_memory(memory)?;
                self.start_local_cluster(workers.into(), slots.into(), memory).await
            }
            MasterUrl::Cluster { addresses } => {
                let link = client::connect_driver(&addresses).await?;
                let session = self.open(link, None).await?;
                Ok(Session {
                    slots: session.slots(),
                    session,
                    processes: vec![driver_process(None)],
                    _children: Children::default(),
                    _local: None,
                })
            }
        }
    }

    async fn connect_local(self, slots: u32) -> Result<Session, Failure> {
        let memory = self.memory.unwrap_or_else(machine::default_memory);
        let work_dir = self.work_dir.clone();
        let local = LocalCluster::start(slots, memory, work_dir, self.batch_rows).await?;
        let session = self.open(local.connect(), Some(local.exchange())).await?;
        Ok(Session {
            session,
            slots,
            processes: vec![driver_process(Some(memory))],
            _children: Children::default(),
            _local: Some(local),
        })
    }

    async fn start_local_cluster(
        self,
        workers: u32,
        slots: u32,
        memory: ByteSize,
    ) -> Result<Session, Failure> {
        if std::env::var_os(child::CHILD_ENV).is_some() {
            let message = "a process of a local cluster can't start a local cluster";
            return Err(Failure::new(ErrorKind::Cluster, message));
        }
        if !crate::run::can_start_children() {
            let message = "`local-cluster` needs a program that can be its own worker";
            return Err(Failure::new(ErrorKind::Cluster, message)
                .with_help("wrap `main` in `gnist::run`, or use the master `local[*]`"));
        }
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let manager = child::start(&Role::Manager {
            heartbeat_ms: millis(self.heartbeat_interval),
            lease_ms: millis(self.lease),
        })
        .await?;
        let role = Role::Worker {
            manager: manager.address.clone(),
            slots,
            memory_bytes: memory.0,
            work_dir: self.work_dir.clone(),
            batch_rows: self.batch_rows,
        };
        let started = (0..workers).map(|_| child::start(&role));
        let started = futures::future::try_join_all(started).await?;
        let mut processes = vec![driver_process(self.memory)];
        processes.push(child_process("cluster-manager", &manager, None));
        let budget = Some(memory.0);
        processes.extend(started.iter().map(|worker| child_process("worker", worker, budget)));
        let link = client::connect_driver(std::slice::from_ref(&manager.address)).await?;
        let session = self.open(link, None).await?;
        let mut children = Children(vec![manager]);
        children.0.extend(started);
        Ok(Session {
            session,
            slots: workers * slots,
            processes,
            _children: children,
            _local: None,
        })
    }

    async fn open(
        self,
        link: gnist_proto::link::DriverLink,
        in_process: Option<Arc<dyn gnist_driver::InProcess>>,
    ) -> Result<gnist_driver::Session, Failure> {
        let environment = std::env::vars_os();
        let environment = environment.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let home = std::env::home_dir();
        gnist_driver::Session::open(SessionParts {
            stores: settings_of(self.store_keys, environment, home.as_deref()),
            link,
            in_process,
            name: self.name,
            submitted_at: machine::now(),
            observer: self.observer,
            shuffle_partitions: self.shuffle_partitions,
            batch_rows: self.batch_rows,
            ansi: self.ansi,
            memory: self.memory.unwrap_or_else(machine::default_memory),
            broadcast_threshold: self.broadcast_threshold,
            sort_threshold: self.sort_threshold,
        })
        .await
    }
}

fn driver_process(memory: Option<ByteSize>) -> Process {
    let budget_bytes = memory.map(|memory| memory.0);
    Process { role: "driver", id: std::process::id(), budget_bytes }
}

fn child_process(role: &'static str, child: &ReadyChild, budget_bytes: Option<u64>) -> Process {
    let id = child.process.id().expect("a child that is held has not been reaped");
    Process { role, id, budget_bytes }
}
