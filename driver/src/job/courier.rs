//! Brings the partitions of a result from the workers to the reader.
//!
//! ```text
//! ResultReady ──offer──▶ waiting ──fetch, several at once──▶ ready ──in their order──▶ reader
//!                           ▲                │ missing: computed and offered again
//!                           └────────────────┘
//! ```
//!
//! It runs beside the job, so a reader that is slow holds up nothing else: the job hears what the
//! manager says, and goes on. What is fetched and not read is bounded in bytes; only the partition
//! whose turn it is may come in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::RecordBatch;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::AttemptId;
use gnist_common::protocol::{DriverToManager, ResultLocation};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::results::fetch_partition;
use crate::connection::Connection;
use crate::partition::Partition;

/// Partitions that are fetched at once.
const FETCHES_MAX: usize = 8;

/// Bytes, as their workers count them, that are being fetched or wait for the reader.
const AHEAD_BYTES_MAX: u64 = 64 << 20;

/// The job's end of a courier. Dropped, the courier stops.
pub(super) struct Courier {
    offers: Arc<Offers>,
    /// The running courier; nothing once its end was heard.
    running: Option<JoinHandle<Result<(), Failure>>>,
}

/// Partitions that are ready and that the courier has not seen; the latest word about each counts.
#[derive(Default)]
struct Offers {
    unseen: Mutex<Unseen>,
    changed: Notify,
    /// Some partition was accepted: it can't be taken back.
    is_out: AtomicBool,
}

#[derive(Default)]
struct Unseen {
    partitions: BTreeMap<u32, (AttemptId, ResultLocation)>,
    /// No more will come.
    is_closed: bool,
}

impl Offers {
    fn unseen(&self) -> MutexGuard<'_, Unseen> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Courier {
    /// Starts a courier. With `in_order` it delivers the partitions one after the other, else as
    /// they come.
    pub(super) fn start(
        connection: Arc<Connection>,
        rows: mpsc::Sender<Result<RecordBatch, Failure>>,
        in_order: bool,
    ) -> Self {
        let offers = Arc::new(Offers::default());
        let delivery = Delivery {
            connection,
            rows,
            in_order,
            offers: Arc::clone(&offers),
            waiting: BTreeMap::new(),
            fetching: BTreeSet::new(),
            fetches: JoinSet::new(),
            ready: BTreeMap::new(),
            accepted: BTreeSet::new(),
            next: 0,
            ahead_bytes: 0,
        };
        Self { offers, running: Some(tokio::spawn(delivery.run())) }
    }

    /// A partition is ready.
    pub(super) fn offer(&self, attempt: AttemptId, location: ResultLocation) {
        self.offers.unseen().partitions.insert(attempt.task.partition, (attempt, location));
        self.offers.changed.notify_one();
    }

    /// Waits for a failure of the courier. Loses nothing when it is dropped early.
    pub(super) async fn failed(&mut self) -> Failure {
        match self.ended().await {
            Err(failure) => failure,
            // It has ended well, and says no more.
            Ok(()) => std::future::pending().await,
        }
    }

    /// Waits until all that was offered is with the reader.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        self.offers.unseen().is_closed = true;
        self.offers.changed.notify_one();
        self.ended().await
    }

    /// Stops, and says whether rows are out that can't be taken back.
    pub(super) async fn stop(&mut self) -> bool {
        if let Some(running) = &self.running {
            running.abort();
        }
        // That it was stopped is no failure.
        let _stopped = self.ended().await;
        self.offers.is_out.load(Ordering::Acquire)
    }

    async fn ended(&mut self) -> Result<(), Failure> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let ended = running.await;
        self.running = None;
        ended.unwrap_or_else(|error| Err(panicked(&error)))
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

fn panicked(error: &JoinError) -> Failure {
    Failure::new(ErrorKind::Panic, format!("delivering a result: {error}"))
}

/// The outcome of a fetch.
struct Fetched {
    attempt: AttemptId,
    bytes: u64,
    /// True if the result was left on its worker, which may let go of it now.
    is_held: bool,
    /// The rows; nothing when they have to be computed again.
    rows: Result<Option<Partition>, Failure>,
}

struct Delivery {
    connection: Arc<Connection>,
    rows: mpsc::Sender<Result<RecordBatch, Failure>>,
    in_order: bool,
    offers: Arc<Offers>,
    /// Offered, and not yet fetched.
    waiting: BTreeMap<u32, (AttemptId, ResultLocation)>,
    fetching: BTreeSet<u32>,
    fetches: JoinSet<Fetched>,
    /// Fetched, and not yet delivered, with their bytes.
    ready: BTreeMap<u32, (Partition, u64)>,
    /// Fetched once: one that is announced again is not delivered again.
    accepted: BTreeSet<u32>,
    /// The partition whose turn it is, when they go in order.
    next: u32,
    ahead_bytes: u64,
}

impl Delivery {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            let is_closed = self.take_offers().await?;
            self.start_fetches();
            if let Some(partition) = self.next_ready() {
                self.deliver(partition).await?;
                continue;
            }
            if is_closed && self.fetches.is_empty() {
                return self.end();
            }
            let offers = Arc::clone(&self.offers);
            tokio::select! {
                () = offers.changed.notified() => {}
                Some(fetched) = self.fetches.join_next() => {
                    self.take(fetched.map_err(|error| panicked(&error))?).await?;
                }
            }
        }
    }

    /// The end of a job that has ended well: everything was offered, fetched and delivered.
    fn end(&self) -> Result<(), Failure> {
        if self.waiting.is_empty() && self.ready.is_empty() {
            return Ok(());
        }
        let message = "a job ended before all partitions of its result were there";
        Err(Failure::new(ErrorKind::Internal, message))
    }

    /// Takes what was offered; says whether no more will be.
    async fn take_offers(&mut self) -> Result<bool, Failure> {
        let (offered, is_closed) = {
            let mut unseen = self.offers.unseen();
            (std::mem::take(&mut unseen.partitions), unseen.is_closed)
        };
        for (partition, (attempt, location)) in offered {
            if self.accepted.contains(&partition) {
                // Its worker was lost before the manager heard that the rows are here.
                self.say_taken(attempt).await?;
            } else {
                self.waiting.insert(partition, (attempt, location));
            }
        }
        Ok(is_closed)
    }

    fn start_fetches(&mut self) {
        let candidates: Vec<u32> = self.waiting.keys().copied().collect();
        for partition in candidates {
            let bytes = match &self.waiting[&partition].1 {
                ResultLocation::Inline(bytes) => bytes.len() as u64,
                ResultLocation::Worker { bytes, .. } => *bytes,
            };
            let is_turn = match self.in_order {
                true => partition == self.next,
                false => self.fetching.is_empty() && self.ready.is_empty(),
            };
            let has_room = self.fetching.len() < FETCHES_MAX
                && self.ahead_bytes.saturating_add(bytes) <= AHEAD_BYTES_MAX;
            if self.fetching.contains(&partition) || !(is_turn || has_room) {
                continue;
            }
            let (attempt, location) = self.waiting.remove(&partition).expect("listed above");
            self.fetching.insert(partition);
            self.ahead_bytes = self.ahead_bytes.saturating_add(bytes);
            let connection = Arc::clone(&self.connection);
            let is_held = matches!(location, ResultLocation::Worker { .. });
            self.fetches.spawn(async move {
                let rows = fetch_partition(&connection, attempt, location).await;
                Fetched { attempt, bytes, is_held, rows }
            });
        }
    }

    /// Takes what was fetched. One that is missing waits until it is offered again.
    async fn take(&mut self, fetched: Fetched) -> Result<(), Failure> {
        let Fetched { attempt, bytes, is_held, rows } = fetched;
        let partition = attempt.task.partition;
        self.fetching.remove(&partition);
        let Some(rows) = rows? else {
            self.ahead_bytes -= bytes;
            return self.connection.say(DriverToManager::ResultMissing { attempt }).await;
        };
        self.accepted.insert(partition);
        self.offers.is_out.store(true, Ordering::Release);
        self.ready.insert(partition, (rows, bytes));
        if is_held {
            self.say_taken(attempt).await?;
        }
        if let Some((again, _)) = self.waiting.remove(&partition) {
            self.say_taken(again).await?;
        }
        Ok(())
    }

    fn next_ready(&mut self) -> Option<(Partition, u64)> {
        if !self.in_order {
            return self.ready.pop_first().map(|(_, partition)| partition);
        }
        let partition = self.ready.remove(&self.next)?;
        self.next += 1;
        Some(partition)
    }

    async fn deliver(&mut self, (mut partition, bytes): (Partition, u64)) -> Result<(), Failure> {
        while let Some(batch) = partition.next().await? {
            if batch.num_rows() > 0 {
                // A closed receiver is noticed, and the job cancelled, where the job runs.
                let _ = self.rows.send(Ok(batch)).await;
            }
        }
        self.ahead_bytes -= bytes;
        Ok(())
    }

    async fn say_taken(&self, attempt: AttemptId) -> Result<(), Failure> {
        self.connection.say(DriverToManager::ResultTaken { attempt }).await
    }
}
