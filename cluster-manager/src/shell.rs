//! The shell: one task that owns the pure scheduler and performs what it decides.
//!
//! ```text
//!  workers ──┐                ┌───────────── Shell ─────────────┐       ┌──▶ workers
//!  drivers ──┼─▶ inbox ─▶ take a batch ─▶ scheduler ─▶ perform ─▶ flush ┤
//!  probes  ──┘  (bounded)     └────────── timers, leases ───────┘       └──▶ drivers
//! ```
//!
//! A round takes all that waits in the inbox, then sends what came of it, so that ten thousand
//! ends make a few hundred messages and not ten thousand. Nothing is polled: a round begins with an
//! input or with the next timer.
//!
//! Invariant: the shell waits for its inbox and its timers only. A peer that does not take its
//! messages is treated like one whose connection broke.

mod driver;
mod perform;
mod timers;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gnist_common::error::Failure;
use gnist_common::ids::{ApplicationId, JobId, StageId, WorkerId};
use gnist_common::stores::StoreSettings;
use gnist_common::time::{Time, WallTime};
use gnist_proto::view::ClusterState;
use gnist_scheduler::{Event, Scheduler};
use tokio::sync::mpsc;

use self::timers::Progress;
use crate::applications::Applications;
use crate::config::ManagerConfig;
use crate::content::ContentStore;
use crate::history::History;
use crate::input::{DriverPeer, Input, SessionId, WorkerPeer};
use crate::tables::{Reply, Tables};
use crate::workers::Workers;

/// Inputs of one round.
const ROUND_INPUTS_MAX: usize = 1024;

/// The other end of a conversation.
enum Peer {
    /// A worker that has not registered yet.
    NewWorker(WorkerPeer),
    Worker(WorkerId),
    /// A driver that has not opened its application yet.
    NewDriver(DriverPeer),
    Driver(ApplicationId),
}

/// The actor's state. One owner, no locks but the content store's.
pub(crate) struct Shell {
    config: ManagerConfig,
    origin: Instant,
    /// The time of this round.
    now: Time,
    wall: WallTime,
    scheduler: Scheduler,
    peers: BTreeMap<SessionId, Peer>,
    workers: Workers,
    applications: Applications,
    content: Arc<ContentStore>,
    tables: Tables,
    /// Jobs that run, and what their drivers were told of them.
    jobs: BTreeMap<JobId, Progress>,
    /// Jobs that end for a reason that the scheduler does not know.
    refused: BTreeMap<JobId, Failure>,
    /// Drivers that turned out to be unreachable in this round.
    broken_drivers: Vec<ApplicationId>,
    leases_checked_at: Time,
    /// The shell's own inbox, for the answers of probes; weak, so that the shell does not keep
    /// itself alive.
    inbox: mpsc::WeakSender<Input>,
}

impl Shell {
    pub(crate) fn new(
        config: ManagerConfig,
        content: Arc<ContentStore>,
        inbox: mpsc::WeakSender<Input>,
    ) -> Self {
        Self {
            origin: Instant::now(),
            now: Time::default(),
            wall: wall_time(),
            scheduler: Scheduler::new(config.scheduler()),
            config,
            peers: BTreeMap::new(),
            workers: Workers::default(),
            applications: Applications::default(),
            content,
            tables: Tables::default(),
            jobs: BTreeMap::new(),
            refused: BTreeMap::new(),
            broken_drivers: Vec::new(),
            leases_checked_at: Time::default(),
            inbox,
        }
    }

    /// Runs round after round until it is told to stop or nobody is left who could say anything.
    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut round = Vec::new();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                count = inputs.recv_many(&mut round, ROUND_INPUTS_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            self.set_time();
            for input in round.drain(..) {
                if matches!(input, Input::Stop) {
                    self.shut_down();
                    return;
                }
                self.take(input);
            }
            self.finish_round();
            self.tables.answer_waiting(&self.scheduler);
        }
    }

    fn set_time(&mut self) {
        let ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now = Time(ms);
        self.wall = wall_time();
    }

    /// Takes one input.
    fn take(&mut self, input: Input) {
        match input {
            Input::WorkerConnected { session, peer } => {
                self.peers.insert(session, Peer::NewWorker(peer));
            }
            Input::WorkerSaid { session, messages } => {
                for message in messages {
                    self.worker_said(session, message);
                }
            }
            Input::DriverConnected { session, peer } => {
                self.peers.insert(session, Peer::NewDriver(peer));
            }
            Input::DriverSaid { session, messages } => {
                for message in messages {
                    self.driver_said(session, message);
                }
            }
            Input::Disconnected { session } => self.disconnected(session),
            Input::Probed { worker, session, reach } => self.probed(worker, session, reach),
            Input::ProcessGone { process_id, reason } => self.process_gone(process_id, &reason),
            // Whoever asked may have lost interest.
            Input::Kill { application, reply } => drop(reply.send(self.kill(application))),
            Input::Read(read) => read(self),
            Input::Stop => {}
        }
    }

    /// The peer's end of a conversation is gone.
    fn disconnected(&mut self, session: SessionId) {
        match self.peers.remove(&session) {
            Some(Peer::Worker(worker)) => {
                self.worker_broke(worker, session, "its link was dropped")
            }
            Some(Peer::Driver(application)) => {
                self.driver_broke(application, session, "its driver left without closing it");
            }
            Some(Peer::NewWorker(_) | Peer::NewDriver(_)) | None => {}
        }
    }

    /// Lets the scheduler decide, and performs what it decided.
    fn feed(&mut self, event: Event) {
        for action in self.scheduler.handle(self.now, event) {
            self.perform(action);
        }
    }

    /// Fires the timers that are due, then sends the messages of this round, until sending them
    /// leads to no more.
    fn finish_round(&mut self) {
        self.fire_timers();
        loop {
            for application in std::mem::take(&mut self.broken_drivers) {
                if let Some(session) = self.applications.get(application).and_then(|a| a.session) {
                    self.peers.remove(&session);
                    self.driver_broke(application, session, "its driver takes no messages");
                }
            }
            for worker in self.workers.flush() {
                if let Some(session) = self.workers.get(worker).and_then(|w| w.session) {
                    self.peers.remove(&session);
                    self.worker_broke(worker, session, "it takes no messages");
                }
            }
            if self.broken_drivers.is_empty() && !self.workers.has_pending() {
                return;
            }
        }
    }

    /// Says goodbye to everyone.
    fn shut_down(&mut self) {
        for worker in self.workers.values_mut() {
            worker.hang_up(Some("the cluster manager stops".to_owned()));
        }
    }

    /// Every worker and application that is known.
    pub(crate) fn state(&self) -> ClusterState {
        ClusterState { workers: self.workers.views(), applications: self.applications.views() }
    }

    /// Returns the history of an application's jobs.
    pub(crate) fn history(&self, application: ApplicationId) -> Option<&History> {
        self.applications.get(application).map(|application| &application.history)
    }

    /// Returns the stores of an application that is running.
    pub(crate) fn stores(&self, application: ApplicationId) -> Option<StoreSettings> {
        let application = self.applications.get(application)?;
        application.is_running().then(|| application.stores.clone())
    }

    /// Answers with the output table of a stage at this version or a later one, once there is one.
    pub(crate) fn pull_table(&mut self, stage: StageId, version: u32, reply: Reply) {
        self.tables.pull(&self.scheduler, stage, version, reply);
    }
}

fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
