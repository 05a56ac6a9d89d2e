//! One operator's view of its attempt's memory pool: what it reserves is counted for it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::measured::Counts;

#[derive(Debug)]
pub(crate) struct OperatorPool {
    attempt: Arc<dyn MemoryPool>,
    counts: Arc<Counts>,
}

impl OperatorPool {
    pub(crate) fn new(attempt: Arc<dyn MemoryPool>, counts: Arc<Counts>) -> Self {
        Self { attempt, counts }
    }
}

impl MemoryPool for OperatorPool {
    fn name(&self) -> &str {
        self.attempt.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.attempt.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.attempt.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.attempt.grow(reservation, additional);
        self.counts.grow(additional as u64);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.attempt.shrink(reservation, shrink);
        self.counts.shrink(shrink as u64);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.attempt.try_grow(reservation, additional)?;
        self.counts.grow(additional as u64);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.attempt.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.attempt.memory_limit()
    }
}

impl fmt::Display for OperatorPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempt.fmt(f)
    }
}
