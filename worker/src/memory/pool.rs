//! DataFusion's memory pool as a view on the budget, one per attempt, so that an attempt's peak is
//! known and a refusal names its operator.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use gnist_common::bytes::ByteSize;

use super::budget::{Class, MemoryBudget, Refused};

/// Operators that a refusal lists.
const HOLDERS_SHOWN: usize = 3;

/// The last request of an attempt that the budget refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The operator, as it named itself.
    pub operator: String,
    /// The most that the attempt would have held.
    pub peak_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    reserved: u64,
    peak: u64,
    refusal: Option<Refusal>,
    /// Operators and the bytes that each holds, by the id of its consumer.
    holders: BTreeMap<usize, Holder>,
}

#[derive(Debug)]
struct Holder {
    name: String,
    bytes: u64,
}

impl State {
    fn grow(&mut self, reservation: &MemoryReservation, bytes: u64) {
        self.reserved += bytes;
        self.peak = self.peak.max(self.reserved);
        let consumer = reservation.consumer();
        let holder = self
            .holders
            .entry(consumer.id())
            .or_insert_with(|| Holder { name: consumer.name().to_owned(), bytes: 0 });
        holder.bytes += bytes;
    }

    fn shrink(&mut self, reservation: &MemoryReservation, bytes: u64) {
        self.reserved -= bytes;
        if let Some(holder) = self.holders.get_mut(&reservation.consumer().id()) {
            holder.bytes -= bytes;
        }
    }

    /// The operators that hold most, largest first, as a clause of a message; empty when none holds
    /// anything.
    fn largest_holders(&self) -> String {
        let mut holders: Vec<&Holder> =
            self.holders.values().filter(|holder| holder.bytes > 0).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
        let shown = holders.iter().take(HOLDERS_SHOWN);
        let shown = shown.map(|holder| format!("`{}` {}", holder.name, ByteSize(holder.bytes)));
        let shown = shown.collect::<Vec<_>>().join(", ");
        if shown.is_empty() { shown } else { format!("; held by {shown}") }
    }
}

/// The pool that the operators of one attempt see.
#[derive(Debug)]
pub struct AttemptPool {
    budget: Arc<MemoryBudget>,
    state: Mutex<State>,
}

impl AttemptPool {
    /// A pool without reservations.
    pub fn new(budget: &Arc<MemoryBudget>) -> Arc<Self> {
        Arc::new(Self { budget: Arc::clone(budget), state: Mutex::default() })
    }

    /// Returns the most bytes that the attempt's operators reserved at once.
    pub fn peak_bytes(&self) -> u64 {
        self.state().peak
    }

    /// The last request that was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        self.state().refusal.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(
        &self,
        reservation: &MemoryReservation,
        bytes: u64,
        free_bytes: u64,
    ) -> DataFusionError {
        let operator = reservation.consumer().name().to_owned();
        let has = ByteSize(as_u64(reservation.size()));
        let (limit, free, more) = (self.budget.memory(), ByteSize(free_bytes), ByteSize(bytes));
        let mut state = self.state();
        let peak_bytes = state.peak.max(state.reserved + bytes);
        let message = format!(
            "`{operator}` holds {has} and needs {more} more, but only {free} of the memory budget of \
             {limit} is left for it (peak of the task: {}{})",
            ByteSize(peak_bytes),
            state.largest_holders()
        );
        state.refusal = Some(Refusal { operator, peak_bytes });
        DataFusionError::ResourcesExhausted(message)
    }
}

/// The merge of a sort registers as one that can't spill, but it goes on with fewer runs.
const MERGE: &str = "ExternalSorterMerge";

fn class_of(consumer: &MemoryConsumer) -> Class {
    if consumer.can_spill() {
        Class::Spillable
    } else if consumer.name().starts_with(MERGE) {
        Class::Merging
    } else {
        Class::Fixed
    }
}

fn as_u64(bytes: usize) -> u64 {
    bytes as u64
}

impl MemoryPool for AttemptPool {
    fn name(&self) -> &'static str {
        "gnist"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.budget.add_holder(class_of(consumer));
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.state().holders.remove(&consumer.id());
        self.budget.remove_holder(class_of(consumer));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.budget.add(class_of(reservation.consumer()), as_u64(additional));
        self.state().grow(reservation, as_u64(additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.budget.remove(class_of(reservation.consumer()), as_u64(shrink));
        self.state().shrink(reservation, as_u64(shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        // Nothing more is never refused, however little is left.
        if additional == 0 {
            return Ok(());
        }
        let class = class_of(reservation.consumer());
        let additional = as_u64(additional);
        match self.budget.try_add(class, as_u64(reservation.size()), additional) {
            Ok(()) => {
                self.state().grow(reservation, additional);
                Ok(())
            }
            Err(Refused::Full { free_bytes, .. }) => {
                Err(self.refuse(reservation, additional, free_bytes))
            }
            Err(Refused::Disk(error)) => Err(DataFusionError::IoError(error)),
        }
    }

    fn reserved(&self) -> usize {
        usize::try_from(self.state().reserved).unwrap_or(usize::MAX)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(usize::try_from(self.budget.limit_bytes()).unwrap_or(usize::MAX))
    }
}

impl fmt::Display for AttemptPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gnist memory budget of {}", self.budget.memory())
    }
}
