//! The workers' side of the shell: registration, what they say, and how they are lost.

use std::time::Duration;

use gnist_common::ids::WorkerId;
use gnist_common::protocol::{ManagerToWorker, Registration, WorkerToManager};
use gnist_proto::connect::{Reach, probe};
use gnist_proto::view::WorkerState;
use gnist_scheduler::Event;

use super::{Peer, Shell};
use crate::input::{Carrier, Input, SessionId, WorkerPeer};
use crate::workers::Worker;

/// Probes of one suspicion.
const PROBES: u32 = 30;

/// Pause between two of them.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

impl Shell {
    /// A worker says something.
    pub(super) fn worker_said(&mut self, session: SessionId, message: WorkerToManager) {
        match self.peers.get(&session) {
            Some(Peer::Worker(worker)) => self.registered_worker_said(*worker, message),
            Some(Peer::NewWorker(_)) => self.new_worker_said(session, message),
            // Stale: the conversation was ended from here.
            Some(Peer::NewDriver(_) | Peer::Driver(_)) | None => {}
        }
    }

    /// The first message of a conversation.
    fn new_worker_said(&mut self, session: SessionId, message: WorkerToManager) {
        let Some(Peer::NewWorker(peer)) = self.peers.remove(&session) else { return };
        let registration = match message {
            WorkerToManager::Register(registration) => registration,
            _ => return refuse(&peer, "a worker registers before it says anything else"),
        };
        match self.reason_to_refuse(&registration) {
            Some(reason) => {
                let worker = registration.worker;
                tracing::warn!(%worker, reason, "worker refused");
                refuse(&peer, &reason);
            }
            None => self.register(session, peer, registration),
        }
    }

    /// Returns the reason to refuse a registration, or nothing if it can be accepted.
    fn reason_to_refuse(&self, registration: &Registration) -> Option<String> {
        let id = registration.worker;
        if registration.slots == 0 {
            return Some(format!("`{id}` has no slots: `--slots` must be at least 1"));
        }
        let known = self.workers.get(id)?;
        match known.state {
            WorkerState::Lost => {
                let why = known.reason.as_deref().unwrap_or("unknown");
                Some(format!("`{id}` was declared lost ({why}) and can't come back as the same"))
            }
            WorkerState::Alive | WorkerState::Draining | WorkerState::Suspect
                if known.is_same_process(registration) =>
            {
                None
            }
            WorkerState::Alive | WorkerState::Draining | WorkerState::Suspect => {
                let address = &known.registration.address;
                Some(format!("`{id}` is registered already, at `{address}`"))
            }
        }
    }

    /// Accepts a worker, or one that is back after its stream broke.
    fn register(&mut self, session: SessionId, peer: WorkerPeer, registration: Registration) {
        let id = registration.worker;
        let known = self.workers.get_mut(id);
        if let Some(stale) = known.and_then(|known| known.session) {
            self.peers.remove(&stale);
        }
        let (slots, address) = (registration.slots, registration.address.clone());
        tracing::info!(worker = %id, slots, address, "worker registered");
        let (running, held) = (registration.running.clone(), registration.held.clone());
        let mut worker = Worker::new(registration, session, peer, self.now);
        let heartbeat_interval_ms = self.config.heartbeat_interval_ms();
        worker.push(ManagerToWorker::Registered { heartbeat_interval_ms });
        self.workers.insert(id, worker);
        self.peers.insert(session, Peer::Worker(id));
        self.feed(Event::WorkerJoined { worker: id, slots, address, running, held });
    }

    fn registered_worker_said(&mut self, id: WorkerId, message: WorkerToManager) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.heard_at = self.now;
        match message {
            WorkerToManager::AttemptEnded { attempt, end } => {
                let job = attempt.task.stage.job;
                if let Some(application) = self.applications.get_mut(job.application) {
                    application.history.ended(self.wall, attempt, &end);
                }
                self.touch(job);
                self.feed(Event::AttemptEnded { worker: id, attempt, end });
            }
            WorkerToManager::SlotsReleased { attempt } => {
                self.feed(Event::SlotsReleased { worker: id, attempt });
            }
            WorkerToManager::Heartbeat { running, memory_used_bytes } => {
                worker.memory_used_bytes = memory_used_bytes;
                worker.running = u32::try_from(running.len()).unwrap_or(u32::MAX);
                // The scheduler counts how often an attempt is missing. Heartbeats that come in a
                // burst, after either side stood still, are one word and not several: the launches
                // between them are still on their way.
                if self.now.since(worker.reconciled_at) >= self.config.heartbeat_interval / 2 {
                    worker.reconciled_at = self.now;
                    self.feed(Event::Heartbeat { worker: id, running });
                }
            }
            WorkerToManager::Deregister => self.lose_worker(id, "it left"),
            WorkerToManager::Register(_) => {
                self.lose_worker(id, "it registered twice in one conversation");
            }
        }
    }

    /// A worker's conversation ended without a word: it is suspect, or gone with this process's
    /// end of a channel.
    pub(super) fn worker_broke(&mut self, id: WorkerId, session: SessionId, why: &str) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        if worker.session != Some(session) || worker.state == WorkerState::Lost {
            return; // Stale: it has another conversation, or none.
        }
        worker.hang_up(None);
        if worker.carrier == Carrier::Channels {
            return self.lose_worker(id, why);
        }
        worker.state = WorkerState::Suspect;
        tracing::info!(worker = %id, why, "worker suspect: its conversation broke");
        self.feed(Event::WorkerSuspect { worker: id });
        self.probe(id);
    }

    /// Declares a worker lost, with everything it held.
    pub(super) fn lose_worker(&mut self, id: WorkerId, reason: &str) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        if worker.state == WorkerState::Lost {
            return;
        }
        tracing::info!(worker = %id, reason, "worker lost");
        worker.state = WorkerState::Lost;
        worker.running = 0;
        worker.reason = Some(reason.to_owned());
        let session = worker.session;
        worker.hang_up(Some(format!("`{id}` was declared lost: {reason}")));
        if let Some(session) = session {
            self.peers.remove(&session);
        }
        for application in self.applications.values_mut() {
            application.history.worker_lost(self.wall, id);
        }
        self.feed(Event::WorkerLost { worker: id, reason: reason.to_owned() });
        self.tell_peers_of_loss(id);
    }

    /// Ends what other workers still wait for from a lost one. Its connections may stand for long:
    /// the kernel of a process that is stopped goes on to acknowledge.
    fn tell_peers_of_loss(&mut self, lost: WorkerId) {
        for worker in self.workers.values_mut().filter(|worker| worker.session.is_some()) {
            worker.push(ManagerToWorker::WorkerLost(lost));
        }
    }

    /// Tries whether a worker's process is there at all, beside the shell.
    pub(super) fn probe(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        if worker.carrier == Carrier::Channels {
            return; // It lives as long as this process.
        }
        let (session, address) = (worker.session, worker.registration.address.clone());
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let reach = probe_for_a_while(&address).await;
            if let Some(inbox) = inbox.upgrade() {
                // A shell that has stopped needs no answer.
                let _ = inbox.send(Input::Probed { worker: id, session, reach }).await;
            }
        });
    }

    /// Takes the answer of a probe. Only a refusal means something: an answer may be the machine's
    /// backlog, and silence may pass before the lease does.
    pub(super) fn probed(&mut self, id: WorkerId, session: Option<SessionId>, reach: Reach) {
        let is_current = self.workers.get(id).is_some_and(|worker| worker.session == session);
        if is_current && reach == Reach::Refused {
            self.lose_worker(id, "its process is gone");
        }
    }

    /// Loses the workers of a process that was seen to exit.
    pub(super) fn process_gone(&mut self, process_id: u32, reason: &str) {
        let of_process = self.workers.iter().filter(|(_, worker)| {
            worker.registration.process_id == process_id && worker.carrier == Carrier::Connection
        });
        let gone: Vec<_> = of_process.map(|(id, _)| id).collect();
        for id in gone {
            self.lose_worker(id, reason);
        }
    }
}

/// Probes until the address refuses, for a while: a process that is being killed loses its streams
/// a moment before its listener, and would seem to answer.
async fn probe_for_a_while(address: &str) -> Reach {
    for _ in 1..PROBES {
        if probe(address).await == Reach::Refused {
            return Reach::Refused;
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    probe(address).await
}

/// Tells a worker that it can't take part.
fn refuse(peer: &WorkerPeer, reason: &str) {
    // One that is gone already needs no telling.
    let _ = peer.outbox.try_send(ManagerToWorker::Shutdown { reason: reason.to_owned() });
}
