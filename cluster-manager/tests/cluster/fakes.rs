//! A manager with workers and drivers that only talk: no program runs, every message is real.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gnist_cluster_manager::{Manager, ManagerConfig, ManagerHandle, serve};
use gnist_common::graph::{
    ContentHash, InputMode, ProgramKind, ProgramRef, Repeatability, Stage, StageInput, StageOutput,
};
use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};
use gnist_common::protocol::{
    DriverToManager, ManagerToDriver, ManagerToWorker, Registration, WorkerToManager,
};
use gnist_common::stores::StoreSettings;
use gnist_common::task::{AttemptEnd, Launch, TaskMetrics, TaskOutput};
use gnist_common::time::WallTime;
use gnist_proto::client::{connect_driver, connect_worker};
use gnist_proto::connect::listen;
use gnist_proto::link::{ContentSource, DriverLink, WorkerLink};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// Longest that any test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The carriers of a test's conversations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Channels,
    Grpc,
}

pub(crate) const BACKENDS: [Backend; 2] = [Backend::Channels, Backend::Grpc];

/// A manager, served at a free port of loopback.
pub(crate) struct Cluster {
    pub(crate) handle: ManagerHandle,
    pub(crate) addresses: Vec<String>,
    backend: Backend,
}

impl Cluster {
    pub(crate) async fn start(backend: Backend, config: ManagerConfig) -> Self {
        let handle = Manager::start(config);
        let listener = listen("127.0.0.1:0").await.expect("a free port");
        let addresses = vec![format!("gnist://{}", listener.address)];
        tokio::spawn(serve(handle.clone(), listener));
        Self { handle, addresses, backend }
    }

    pub(crate) async fn worker_link(&self) -> WorkerLink {
        match self.backend {
            Backend::Channels => self.handle.connect_worker(),
            Backend::Grpc => connect_worker(&self.addresses).await.expect("the manager is there"),
        }
    }

    pub(crate) async fn driver(&self) -> Driver {
        let link = match self.backend {
            Backend::Channels => self.handle.connect_driver(),
            Backend::Grpc => connect_driver(&self.addresses).await.expect("the manager is there"),
        };
        Driver::open(link).await
    }

    pub(crate) async fn worker(&self, registration: Registration, policy: Policy) -> Worker {
        Worker::start(self.worker_link().await, registration, policy).await
    }
}

/// Short intervals, so that leases run out while a test waits.
pub(crate) fn impatient() -> ManagerConfig {
    ManagerConfig {
        heartbeat_interval: Duration::from_millis(100),
        lease: Duration::from_secs(1),
        ..ManagerConfig::default()
    }
}

pub(crate) fn registration(id: u64, slots: u32) -> Registration {
    Registration {
        worker: WorkerId(id),
        // Nobody listens at port 1: a probe is refused, as by a process that is gone.
        address: "127.0.0.1:1".to_owned(),
        slots,
        memory_bytes: 1 << 30,
        process_id: 100 + u32::try_from(id).expect("ids of tests are small"),
        running: Vec::new(),
        held: Vec::new(),
    }
}

/// The behaviour of a worker: the end that it gives an attempt, or nothing while it holds the
/// attempt.
pub(crate) type Policy = Arc<dyn Fn(&Launch) -> Option<AttemptEnd> + Send + Sync>;

/// Every attempt is done at once.
pub(crate) fn obedient() -> Policy {
    Arc::new(|launch| Some(done(launch)))
}

/// A success with ten bytes and one row per output partition, and a result inline.
pub(crate) fn done(launch: &Launch) -> AttemptEnd {
    let partitions = launch.output.partitions() as usize;
    let partition = launch.attempt.task.partition;
    AttemptEnd::Done(TaskOutput {
        bytes: vec![10; partitions],
        rows: vec![1; partitions],
        inline: (launch.output == StageOutput::Result).then(|| partition.to_le_bytes().to_vec()),
        metrics: TaskMetrics { run_us: 7, output_rows: 1, ..TaskMetrics::default() },
        operators: Vec::new(),
    })
}

/// The log of what a worker saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) launched: Vec<AttemptId>,
    pub(crate) done: Vec<AttemptId>,
    pub(crate) running: BTreeSet<AttemptId>,
    pub(crate) batches: usize,
    pub(crate) dropped_jobs: Vec<JobId>,
    /// Ids of other workers, in the order in which they were lost.
    pub(crate) lost: Vec<WorkerId>,
    pub(crate) shutdown: Option<String>,
    pub(crate) is_disconnected: bool,
}

/// A worker that talks.
pub(crate) struct Worker {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Worker {
    async fn start(link: WorkerLink, registration: Registration, policy: Policy) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let register = WorkerToManager::Register(registration);
        link.to_manager.send(register).await.expect("the manager listens");
        let task = tokio::spawn(talk(link, policy, Arc::clone(&seen)));
        Self { seen, task }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().expect("no test panics with it").clone()
    }

    /// Drops the link without a word.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn talk(link: WorkerLink, policy: Policy, seen: Arc<Mutex<Seen>>) {
    let mut heartbeat = tokio::time::interval(Duration::from_secs(3600));
    let (to_manager, content, mut from_manager) =
        (link.to_manager, link.content, link.from_manager);
    let (pulled, waiting) = (BTreeSet::new(), JoinSet::new());
    let mut attempts = Attempts { to_manager, content, policy, seen, pulled, waiting };
    loop {
        let message = tokio::select! {
            message = from_manager.recv() => message,
            Some(Ok((launch, is_there))) = attempts.waiting.join_next() => {
                attempts.run(&launch, is_there).await;
                continue;
            }
            _ = heartbeat.tick() => {
                attempts.beat().await;
                continue;
            }
        };
        match message {
            Some(ManagerToWorker::Registered { heartbeat_interval_ms }) => {
                heartbeat = tokio::time::interval(Duration::from_millis(heartbeat_interval_ms));
            }
            Some(ManagerToWorker::Launch(launches)) => {
                attempts.see().batches += 1;
                for launch in launches {
                    attempts.launch(launch).await;
                }
            }
            Some(ManagerToWorker::DropJob(job)) => attempts.see().dropped_jobs.push(job),
            Some(ManagerToWorker::Cancel(cancelled)) => attempts.cancel(&cancelled).await,
            Some(ManagerToWorker::DropAttempts(_)) => {}
            Some(ManagerToWorker::WorkerLost(worker)) => attempts.see().lost.push(worker),
            Some(ManagerToWorker::Shutdown { reason }) => {
                attempts.see().shutdown = Some(reason);
            }
            None => {
                attempts.see().is_disconnected = true;
                return;
            }
        }
    }
}

/// The attempts that a worker runs. Once this is dropped, none of them waits any more.
struct Attempts {
    to_manager: mpsc::Sender<WorkerToManager>,
    content: Arc<dyn ContentSource>,
    policy: Policy,
    seen: Arc<Mutex<Seen>>,
    /// Tables that came.
    pulled: BTreeSet<(StageId, u32)>,
    /// Launches whose inputs are waited for, and whether they came.
    waiting: JoinSet<(Launch, bool)>,
}

impl Attempts {
    fn see(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panics with it")
    }

    async fn beat(&self) {
        let running = self.see().running.iter().copied().collect();
        let heartbeat = WorkerToManager::Heartbeat { running, memory_used_bytes: 5 };
        let _ = self.to_manager.send(heartbeat).await;
    }

    /// Waits, as a real worker does, for what an attempt reads before it does anything.
    async fn launch(&mut self, launch: Launch) {
        self.see().launched.push(launch.attempt);
        self.see().running.insert(launch.attempt);
        if tables(&launch).all(|table| self.pulled.contains(&table)) {
            return self.run(&launch, true).await;
        }
        let content = Arc::clone(&self.content);
        self.waiting.spawn(async move {
            let mut is_there = true;
            for (stage, version) in tables(&launch) {
                is_there &= content.outputs(stage, version).await.is_ok();
            }
            (launch, is_there)
        });
    }

    async fn run(&mut self, launch: &Launch, is_there: bool) {
        if is_there {
            self.pulled.extend(tables(launch));
        }
        let missing = || Some(AttemptEnd::BlocksMissing { blocks: Vec::new() });
        let end = if is_there { (self.policy)(launch) } else { missing() };
        if let Some(end) = end {
            self.end(launch.attempt, end).await;
        }
    }

    async fn cancel(&self, attempts: &[AttemptId]) {
        for attempt in attempts {
            self.end(*attempt, AttemptEnd::Cancelled).await;
        }
    }

    /// Says how an attempt ended, once.
    async fn end(&self, attempt: AttemptId, end: AttemptEnd) {
        if !self.see().running.contains(&attempt) {
            return;
        }
        if matches!(end, AttemptEnd::Done(_)) {
            self.see().done.push(attempt);
        }
        let _ = self.to_manager.send(WorkerToManager::AttemptEnded { attempt, end }).await;
        self.see().running.remove(&attempt);
    }
}

/// The tables that an attempt reads.
fn tables(launch: &Launch) -> impl Iterator<Item = (StageId, u32)> {
    launch.inputs.iter().map(|input| (input.input.stage, input.version))
}

/// A driver that talks.
pub(crate) struct Driver {
    pub(crate) link: DriverLink,
    pub(crate) application: ApplicationId,
}

impl Driver {
    async fn open(mut link: DriverLink) -> Self {
        let name = "a test".to_owned();
        let stores = StoreSettings::default();
        let open = DriverToManager::OpenApplication { name, submitted_at: WallTime(5), stores };
        link.to_manager.send(open).await.expect("the manager listens");
        match link.from_manager.recv().await {
            Some(ManagerToDriver::ApplicationOpened { application, .. }) => {
                Self { link, application }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn say(&self, message: DriverToManager) {
        self.link.to_manager.send(message).await.expect("the manager listens");
    }

    /// Returns the messages up to the end of the next job, that end included.
    pub(crate) async fn until_job_ends(&mut self) -> Vec<ManagerToDriver> {
        let mut heard = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, self.link.from_manager.recv()).await;
            let message = next.expect("the job ends in time").expect("the conversation goes on");
            let is_end = matches!(message, ManagerToDriver::JobEnded { .. });
            heard.push(message);
            if is_end {
                return heard;
            }
        }
    }
}

/// Two stages of empty programs: some tasks that shuffle, and as many that give results.
pub(crate) fn two_stages(job: JobId, tasks: u32) -> Vec<Stage> {
    let mut stages = two_gathered_stages(job, tasks);
    stages[0].output = StageOutput::Shuffle { partitions: tasks };
    stages[1].inputs[0].mode = InputMode::Partition;
    stages
}

/// The same with one partition between them, which every task of the second reads.
pub(crate) fn two_gathered_stages(job: JobId, tasks: u32) -> Vec<Stage> {
    let program =
        ProgramRef { hash: ContentHash([0; 32]), kind: ProgramKind::Empty, length_bytes: 0 };
    let stage = |ordinal, inputs, output| Stage {
        id: job.stage(ordinal),
        label: format!("stage {ordinal}"),
        program,
        bindings: None,
        tasks,
        slots_per_task: 1,
        inputs,
        output,
        repeatability: Repeatability::Exact,
    };
    let input = StageInput { stage: job.stage(0), mode: InputMode::All };
    vec![
        stage(0, vec![], StageOutput::Shuffle { partitions: 1 }),
        stage(1, vec![input], StageOutput::Result),
    ]
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, wait).await;
    assert!(in_time.is_ok(), "{what}: not within {PATIENCE:?}");
}
