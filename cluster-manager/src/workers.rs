//! The workers that have registered: who they are, how they are reached, when they were heard.
//!
//! ```text
//!   register ──▶ Alive ──stream broke──▶ Suspect ──process gone, lease over──▶ Lost
//!                  ▲                        │
//!                  └──── registers again ───┘
//! ```

use std::collections::BTreeMap;

use gnist_common::ids::WorkerId;
use gnist_common::protocol::{ManagerToWorker, Registration};
use gnist_common::task::Launch;
use gnist_common::time::Time;
use gnist_proto::view::{WorkerState, WorkerView};

use crate::input::{Carrier, SessionId, WorkerPeer};

/// Lost workers that are remembered, so that a late return is refused.
const LOST_MAX: usize = 1024;

/// Launches of one message inside one process; the wire cuts by bytes.
const LAUNCHES_MAX: usize = 1024;

/// One worker.
pub(crate) struct Worker {
    pub(crate) registration: Registration,
    pub(crate) state: WorkerState,
    pub(crate) heard_at: Time,
    /// Time when the attempts that it runs were last compared with those that it should run.
    pub(crate) reconciled_at: Time,
    /// The conversation with it, while there is one.
    pub(crate) session: Option<SessionId>,
    peer: Option<WorkerPeer>,
    pub(crate) carrier: Carrier,
    /// Messages of this round, in order.
    pending: Vec<ManagerToWorker>,
    pub(crate) memory_used_bytes: u64,
    pub(crate) running: u32,
    pub(crate) reason: Option<String>,
}

impl Worker {
    pub(crate) fn new(
        registration: Registration,
        session: SessionId,
        peer: WorkerPeer,
        now: Time,
    ) -> Self {
        Self {
            registration,
            state: WorkerState::Alive,
            heard_at: now,
            reconciled_at: now,
            session: Some(session),
            carrier: peer.carrier,
            peer: Some(peer),
            pending: Vec::new(),
            memory_used_bytes: 0,
            running: 0,
            reason: None,
        }
    }

    /// True if a registration comes from this very process, whose older stream must have broken.
    pub(crate) fn is_same_process(&self, registration: &Registration) -> bool {
        self.registration.process_id == registration.process_id
            && self.registration.address == registration.address
    }

    /// Adds a message to this round; what follows something of its own kind joins it.
    pub(crate) fn push(&mut self, message: ManagerToWorker) {
        match (self.pending.last_mut(), message) {
            (Some(ManagerToWorker::Cancel(last)), ManagerToWorker::Cancel(ids)) => last.extend(ids),
            (Some(ManagerToWorker::DropAttempts(last)), ManagerToWorker::DropAttempts(ids)) => {
                last.extend(ids);
            }
            (_, message) => self.pending.push(message),
        }
    }

    /// Adds a launch to this round.
    pub(crate) fn push_launch(&mut self, launch: Launch) {
        match self.pending.last_mut() {
            Some(ManagerToWorker::Launch(last)) if last.len() < LAUNCHES_MAX => last.push(launch),
            _ => self.pending.push(ManagerToWorker::Launch(vec![launch])),
        }
    }

    /// Sends this round's messages. Without a conversation they are gone: a worker that comes back
    /// says what it runs and holds, and the scheduler starts from that.
    ///
    /// Returns whether the conversation turned out to be broken.
    pub(crate) fn flush(&mut self) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let Some(peer) = &self.peer else { return false };
        pending.into_iter().any(|message| peer.outbox.try_send(message).is_err())
    }

    /// Ends the conversation, after saying why if there is a reason.
    pub(crate) fn hang_up(&mut self, reason: Option<String>) {
        if let Some(reason) = reason {
            self.push(ManagerToWorker::Shutdown { reason });
        }
        self.flush();
        self.peer = None;
        self.session = None;
    }

    fn view(&self, id: WorkerId) -> WorkerView {
        WorkerView {
            id,
            address: self.registration.address.clone(),
            state: self.state,
            slots: self.registration.slots,
            memory_bytes: self.registration.memory_bytes,
            process_id: self.registration.process_id,
            memory_used_bytes: self.memory_used_bytes,
            running: self.running,
            reason: self.reason.clone(),
        }
    }
}

/// All workers.
#[derive(Default)]
pub(crate) struct Workers {
    by_id: BTreeMap<WorkerId, Worker>,
    /// Ids in the order in which the workers came.
    order: Vec<WorkerId>,
}

impl Workers {
    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.by_id.get_mut(&id)
    }

    /// Adds a worker, or puts a new conversation in the place of its broken one.
    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        if self.by_id.insert(id, worker).is_none() {
            self.order.push(id);
        }
        self.forget_lost();
    }

    /// Keeps the bound on lost workers, oldest first.
    fn forget_lost(&mut self) {
        let is_lost = |id: &WorkerId| self.by_id[id].state == WorkerState::Lost;
        let lost: Vec<_> = self.order.iter().copied().filter(is_lost).collect();
        for id in &lost[..lost.len().saturating_sub(LOST_MAX)] {
            self.by_id.remove(id);
            self.order.retain(|other| other != id);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.by_id.iter().map(|(id, worker)| (*id, worker))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.by_id.values_mut()
    }

    /// Sends this round's messages of every worker; names those whose conversation is broken.
    pub(crate) fn flush(&mut self) -> Vec<WorkerId> {
        let broken = self.by_id.iter_mut().filter_map(|(id, worker)| worker.flush().then_some(*id));
        broken.collect()
    }

    /// True if a worker that can be reached has messages of this round.
    pub(crate) fn has_pending(&self) -> bool {
        self.by_id.values().any(|worker| worker.peer.is_some() && !worker.pending.is_empty())
    }

    /// Slots and number of the workers that are alive.
    pub(crate) fn alive(&self) -> (u32, u32) {
        let alive = self.by_id.values().filter(|worker| worker.state == WorkerState::Alive);
        alive.fold((0, 0), |(slots, count), worker| (slots + worker.registration.slots, count + 1))
    }

    pub(crate) fn views(&self) -> Vec<WorkerView> {
        self.order.iter().map(|id| self.by_id[id].view(*id)).collect()
    }
}
