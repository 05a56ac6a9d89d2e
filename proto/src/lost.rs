//! The workers that were declared lost, for those who wait for one.
//!
//! A process that is stopped keeps its connections: its kernel acknowledges what nobody will
//! answer. So a wait for a worker ends with its loss, not only with its connection.

use std::collections::VecDeque;
use std::future::Future;

use gnist_common::ids::WorkerId;
use tokio::sync::watch;

/// Lost workers that are remembered, the latest; the cluster manager remembers as many.
const REMEMBERED_MAX: usize = 1024;

/// Lost workers, oldest first. An incarnation that was lost never comes back.
#[derive(Debug, Default)]
pub struct LostWorkers(watch::Sender<VecDeque<WorkerId>>);

impl LostWorkers {
    /// Ends every wait for this worker, now and later.
    pub fn add(&self, worker: WorkerId) {
        self.0.send_modify(|lost| {
            lost.push_back(worker);
            let surplus = lost.len().saturating_sub(REMEMBERED_MAX);
            lost.drain(..surplus);
        });
    }

    /// Returns the output of `work`, or nothing if the worker is lost before.
    pub async fn unless_lost<T>(
        &self,
        worker: WorkerId,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut lost = self.0.subscribe();
        tokio::select! {
            biased;
            // The sender is `self`, so this ends with the loss alone.
            _ = lost.wait_for(|lost| lost.contains(&worker)) => None,
            done = work => Some(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_wait_for_a_worker_ends_with_its_loss_and_no_later_one_begins() {
        let lost = LostWorkers::default();
        let mut waiting = Box::pin(lost.unless_lost(WorkerId(1), pending::<()>()));
        assert_eq!(waiting.as_mut().now_or_never(), None, "it waits");
        lost.add(WorkerId(2));
        assert_eq!(waiting.as_mut().now_or_never(), None, "another worker was lost");
        lost.add(WorkerId(1));
        assert_eq!(waiting.await, None);
        assert_eq!(lost.unless_lost(WorkerId(1), ready(())).await, None);
        assert_eq!(lost.unless_lost(WorkerId(3), ready(())).await, Some(()));
    }

    #[tokio::test]
    async fn the_latest_losses_are_remembered() {
        let lost = LostWorkers::default();
        (0..=REMEMBERED_MAX as u64).for_each(|id| lost.add(WorkerId(id)));
        assert_eq!(lost.unless_lost(WorkerId(0), ready(())).await, Some(()));
        assert_eq!(lost.unless_lost(WorkerId(1), ready(())).await, None);
    }
}
