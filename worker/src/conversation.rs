//! The stream to the cluster manager, from registration to the end, across reconnections.
//!
//! ```text
//! connect ─▶ Register ─▶ Registered ─▶ converse ──broken──▶ reconnect, with what runs and is held
//!                └─▶ Shutdown(reason): refused              └─ too long ago: the end
//! ```
//!
//! Listening and speaking are two halves of one task, and neither waits for the other: a manager
//! that is slow to listen is still heard. Nothing here computes, so heartbeats are never late.

use std::sync::Arc;
use std::time::Duration;

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::protocol::{ManagerToWorker, Registration, WorkerToManager};
use gnist_proto::link::WorkerLink;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::runner::Runner;
use crate::worker::{Reconnect, WorkerEnd};

/// Time that a manager may take to answer a registration.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

const RECONNECT_WAIT: Duration = Duration::from_millis(500);

/// The wish of a worker's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Go on.
    Work,
    /// Say goodbye, then stop.
    Leave,
    /// Stop without a word.
    Stop,
}

/// A worker's side of the conversation.
pub(crate) struct Conversation {
    pub(crate) runner: Arc<Runner>,
    /// The description that the worker gives of itself; what runs and is held is filled in.
    pub(crate) registration: Registration,
    pub(crate) wishes: watch::Receiver<Wish>,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) reconnect_for: Duration,
}

/// Reasons why a worker is not registered.
pub(crate) enum Unregistered {
    /// The manager does not want it, and would not the next time.
    Refused {
        /// The reason that the manager gave.
        reason: String,
    },
    /// The manager gave no answer to the registration.
    Failed(Failure),
}

impl From<Unregistered> for Failure {
    fn from(unregistered: Unregistered) -> Self {
        match unregistered {
            Unregistered::Refused { reason } => {
                let message = format!("the cluster manager refused this worker: {reason}");
                Failure::new(ErrorKind::Cluster, message)
            }
            Unregistered::Failed(failure) => failure,
        }
    }
}

/// Reasons why a stretch of conversation ended.
enum Pause {
    Broken,
    Over(WorkerEnd),
}

impl Conversation {
    /// Registers over a new link. Returns the time between two heartbeats.
    pub(crate) async fn register(&self, link: &mut WorkerLink) -> Result<Duration, Unregistered> {
        let registration = Registration {
            running: self.runner.running_attempts(),
            held: self.runner.executor.store.attempts(),
            ..self.registration.clone()
        };
        let failed = |message| Unregistered::Failed(Failure::new(ErrorKind::Cluster, message));
        let gone = || failed("the cluster manager hung up at registration");
        let register = WorkerToManager::Register(registration);
        link.to_manager.send(register).await.map_err(|_| gone())?;
        let answer = timeout(REGISTER_TIMEOUT, link.from_manager.recv()).await;
        let answer = answer.map_err(|_| failed("the cluster manager did not answer"))?;
        match answer.ok_or_else(gone)? {
            ManagerToWorker::Registered { heartbeat_interval_ms } => {
                Ok(Duration::from_millis(heartbeat_interval_ms.max(1)))
            }
            ManagerToWorker::Shutdown { reason } => Err(Unregistered::Refused { reason }),
            _ => Err(failed("the cluster manager spoke before it answered the registration")),
        }
    }

    /// Talks until the end.
    pub(crate) async fn run(mut self, mut link: WorkerLink, mut heartbeat: Duration) -> WorkerEnd {
        loop {
            match self.converse(&mut link, heartbeat).await {
                Pause::Over(end) => return end,
                Pause::Broken => tracing::warn!("the conversation with the cluster manager broke"),
            }
            match self.reconnect().await {
                Ok((again, interval)) => (link, heartbeat) = (again, interval),
                Err(end) => return end,
            }
        }
    }

    async fn converse(&mut self, link: &mut WorkerLink, heartbeat: Duration) -> Pause {
        let mut wishes = self.wishes.clone();
        tokio::select! {
            pause = listen(&self.runner, &mut link.from_manager) => pause,
            () = speak(&self.runner, &link.to_manager, heartbeat) => Pause::Broken,
            wish = wished(&mut wishes) => {
                if wish == Wish::Leave {
                    say_goodbye(&self.runner, link).await;
                }
                Pause::Over(WorkerEnd::Asked)
            }
        }
    }

    /// Tries to find the manager again. What runs goes on meanwhile.
    async fn reconnect(&mut self) -> Result<(WorkerLink, Duration), WorkerEnd> {
        let Some(reconnect) = self.reconnect.clone() else { return Err(WorkerEnd::Disconnected) };
        let mut wishes = self.wishes.clone();
        let search = async {
            loop {
                if let Ok(mut link) = reconnect().await {
                    match self.register(&mut link).await {
                        Ok(heartbeat) => return Ok((link, heartbeat)),
                        Err(Unregistered::Refused { reason }) => {
                            return Err(WorkerEnd::ShutDown { reason });
                        }
                        Err(Unregistered::Failed(failure)) => {
                            tracing::debug!(%failure, "registering again failed");
                        }
                    }
                }
                sleep(RECONNECT_WAIT).await;
            }
        };
        let found = tokio::select! {
            found = timeout(self.reconnect_for, search) => found,
            _ = wished(&mut wishes) => return Err(WorkerEnd::Asked),
        };
        let (link, heartbeat) = found.unwrap_or(Err(WorkerEnd::Disconnected))?;
        self.runner.executor.inputs.tables.pull_from(Arc::clone(&link.content));
        self.runner.executor.programs.pull_from(Arc::clone(&link.content));
        self.runner.executor.applications.pull_from(Arc::clone(&link.content));
        Ok((link, heartbeat))
    }
}

async fn wished(wishes: &mut watch::Receiver<Wish>) -> Wish {
    let wish = wishes.wait_for(|wish| *wish != Wish::Work).await.map(|wish| *wish);
    match wish {
        Ok(wish) => wish,
        // Every handle is gone: nobody can wish for anything.
        Err(_) => std::future::pending().await,
    }
}

async fn listen(runner: &Arc<Runner>, from: &mut mpsc::Receiver<ManagerToWorker>) -> Pause {
    while let Some(message) = from.recv().await {
        match message {
            ManagerToWorker::Launch(launches) => {
                launches.into_iter().for_each(|launch| runner.launch(launch));
            }
            ManagerToWorker::Cancel(attempts) => runner.cancel(&attempts),
            ManagerToWorker::DropAttempts(attempts) => runner.drop_attempts(&attempts),
            ManagerToWorker::DropJob(job) => runner.drop_job(job),
            ManagerToWorker::WorkerLost(worker) => runner.executor.inputs.lose(worker),
            ManagerToWorker::Registered { .. } => {}
            ManagerToWorker::Shutdown { reason } => {
                return Pause::Over(WorkerEnd::ShutDown { reason });
            }
        }
    }
    Pause::Broken
}

/// Sends ends as they come and a heartbeat every interval, until the link is broken.
async fn speak(runner: &Runner, to: &mpsc::Sender<WorkerToManager>, heartbeat: Duration) {
    let mut ticks = interval_at(Instant::now() + heartbeat, heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_tick = tokio::select! {
            () = runner.outbox.filled() => false,
            _ = ticks.tick() => true,
            () = to.closed() => return,
        };
        // What runs is read before the ends are sent: whatever is no longer in it is said first.
        let beat = is_tick.then(|| WorkerToManager::Heartbeat {
            running: runner.running_attempts(),
            memory_used_bytes: runner.executor.budget.used_bytes(),
        });
        if !send_ends(runner, to).await {
            return;
        }
        if let Some(beat) = beat
            && to.send(beat).await.is_err()
        {
            return;
        }
    }
}

/// Sends the ends of attempts that wait in the outbox. Returns true if all could be sent.
async fn send_ends(runner: &Runner, to: &mpsc::Sender<WorkerToManager>) -> bool {
    loop {
        // A place is taken first, so that no message is in hand when this is dropped.
        let Ok(place) = to.reserve().await else { return false };
        let Some(message) = runner.outbox.pop() else { return true };
        place.send(message);
    }
}

/// Leaves, and waits until the manager hangs up: this process may end right after, and a message
/// that is still on its way would end with it.
async fn say_goodbye(runner: &Runner, link: &mut WorkerLink) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let goodbye = async {
        if send_ends(runner, &link.to_manager).await
            && link.to_manager.send(WorkerToManager::Deregister).await.is_ok()
        {
            while let Some(message) = link.from_manager.recv().await {
                if matches!(message, ManagerToWorker::Shutdown { .. }) {
                    return;
                }
            }
        }
    };
    let _late = timeout(PATIENCE, goodbye).await;
}
