//! Takes the rows of one attempt, by output partition, until they are sealed as its output.
//!
//! What it holds counts against the worker's budget. Refused more, it appends all it holds to its
//! segment and goes on; an output that has spilled once ends up on disk whole.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use gnist_common::ids::AttemptId;
use gnist_operators::size::compacted;

use super::HeldBlock;
use super::segment::SegmentWriter;
use super::store::BlockStore;
use crate::memory::{Class, Grant, Refused};

/// The sizes of an attempt's output, once it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes per output partition, as held in memory; never 0 where there are rows.
    pub bytes: Vec<u64>,
    /// Rows per output partition.
    pub rows: Vec<u64>,
    /// Bytes written to disk for want of memory.
    pub spill_bytes: u64,
}

#[derive(Debug, Default)]
struct Partition {
    batches: Vec<RecordBatch>,
    held_bytes: u64,
    bytes: u64,
    rows: u64,
}

/// The output of one attempt while it is written. Dropped without being sealed, it leaves nothing.
#[derive(Debug)]
pub struct OutputWriter {
    store: Arc<BlockStore>,
    attempt: AttemptId,
    schema: SchemaRef,
    partitions: Vec<Partition>,
    grant: Grant,
    /// The memory of rows that have a partition and wait for a full batch.
    unplaced: Grant,
    /// Batches cut from one buffer hold it together: it is counted once.
    counter: RecordBatchMemoryCounter,
    segment: Option<SegmentWriter>,
}

impl OutputWriter {
    pub(super) fn new(
        store: Arc<BlockStore>,
        attempt: AttemptId,
        schema: SchemaRef,
        partitions: usize,
    ) -> Self {
        let grant = Grant::empty(store.budget(), Class::Spillable);
        let unplaced = Grant::empty(store.budget(), Class::Fixed);
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        let counter = RecordBatchMemoryCounter::new();
        Self { store, attempt, schema, partitions, grant, unplaced, counter, segment: None }
    }

    /// Takes rows of an output partition.
    ///
    /// # Errors
    /// When they must go to disk and the disk refuses.
    pub fn push(&mut self, partition: u32, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = compacted(batch)?;
        let bytes = self.counter.count_batch(&batch) as u64;
        let is_full = match self.grant.try_grow(bytes) {
            Ok(()) => false,
            Err(Refused::Full { .. }) => {
                // These rows exist already; they leave with the others.
                self.grant.grow(bytes);
                true
            }
            Err(Refused::Disk(error)) => return Err(error.into()),
        };
        let into = &mut self.partitions[partition as usize];
        into.rows += batch.num_rows() as u64;
        into.bytes += bytes.max(1);
        into.held_bytes += bytes;
        into.batches.push(batch);
        if is_full { self.spill() } else { Ok(()) }
    }

    /// Reserves the bytes of rows that are not yet pushed; false when the budget has no room for
    /// them: they must be pushed, and may go to disk then.
    ///
    /// # Errors
    /// When making room for them needs the disk and it refuses.
    pub fn reserve_unplaced(&mut self, bytes: u64) -> Result<bool> {
        /// Changes below are not worth asking for.
        const STEP_BYTES: u64 = 256 << 10;
        let wanted = bytes.next_multiple_of(STEP_BYTES);
        let held = self.unplaced.bytes();
        if wanted <= held {
            self.unplaced.shrink(held - wanted);
            return Ok(true);
        }
        match self.unplaced.try_grow(wanted - held) {
            Ok(()) => Ok(true),
            Err(Refused::Full { .. }) => Ok(false),
            Err(Refused::Disk(error)) => Err(error.into()),
        }
    }

    /// Stores what was written under its attempt.
    ///
    /// # Errors
    /// When it must go to disk and the disk refuses.
    pub fn seal(mut self) -> Result<Sealed> {
        if self.segment.is_some() {
            self.spill()?;
        }
        let mut sealed = Sealed {
            bytes: self.partitions.iter().map(|partition| partition.bytes).collect(),
            rows: self.partitions.iter().map(|partition| partition.rows).collect(),
            spill_bytes: 0,
        };
        let schema = Arc::clone(&self.schema);
        match self.segment.take() {
            Some(segment) => {
                sealed.spill_bytes = segment.written_bytes();
                self.store.put_on_disk(self.attempt, schema, segment.finish()?);
            }
            None => {
                let blocks = self.take_blocks();
                self.store.put_in_memory(self.attempt, schema, blocks);
            }
        }
        Ok(sealed)
    }

    /// Returns the batches written so far, without storing them; nothing once some of them are on
    /// disk.
    pub fn in_memory(&self) -> Option<Vec<&RecordBatch>> {
        let batches = || self.partitions.iter().flat_map(|partition| &partition.batches);
        self.segment.is_none().then(|| batches().collect())
    }

    /// The schema of what is written.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Bytes and rows per output partition so far.
    pub fn so_far(&self) -> (Vec<u64>, Vec<u64>) {
        self.partitions.iter().map(|partition| (partition.bytes, partition.rows)).unzip()
    }

    fn take_blocks(&mut self) -> Vec<Arc<HeldBlock>> {
        let grant = &mut self.grant;
        let block = |partition: &mut Partition| {
            let batches = std::mem::take(&mut partition.batches);
            Arc::new(HeldBlock {
                batches,
                grant: grant.split_off(partition.held_bytes, Class::Blocks),
            })
        };
        self.partitions.iter_mut().map(block).collect()
    }

    fn spill(&mut self) -> Result<()> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(self.store.segment_writer(self.attempt, self.partitions.len())?),
        };
        for (number, partition) in (0_u32..).zip(&mut self.partitions) {
            // Each batch is freed as soon as it is written.
            for batch in std::mem::take(&mut partition.batches) {
                segment.append(&self.schema, number, &batch)?;
            }
            partition.held_bytes = 0;
        }
        self.counter = RecordBatchMemoryCounter::new();
        self.grant.clear();
        Ok(())
    }
}
