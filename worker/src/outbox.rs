//! Ends of attempts on their way to the cluster manager.
//!
//! It outlives a broken stream, so an end is not lost with it. Never full: it holds at most two
//! messages for each attempt that was launched: that its slots are free, and its end.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gnist_common::protocol::WorkerToManager;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: Mutex<VecDeque<WorkerToManager>>,
    filled: Notify,
}

impl Outbox {
    pub(crate) fn push(&self, message: WorkerToManager) {
        self.messages().push_back(message);
        self.filled.notify_one();
    }

    /// The oldest message.
    pub(crate) fn pop(&self) -> Option<WorkerToManager> {
        self.messages().pop_front()
    }

    /// Waits until there may be a message.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<WorkerToManager>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
