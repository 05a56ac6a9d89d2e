//! The store of an executor's outputs: its blocks in memory or on disk, and the choice of those
//! that go to disk first.
//!
//! Memory comes from the worker's budget, whose pressure makes the oldest sealed outputs go to
//! disk; output still being written is not here yet. Age is the right order for shuffle: what was
//! made first is, of what is still needed, read last as likely as not, and a whole segment written
//! at once costs one file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use gnist_common::ids::{AttemptId, BlockId, JobId};

use super::segment::{Segment, SegmentWriter};
use super::writer::OutputWriter;
use super::{Block, HeldBlock, StoredBlock};
use crate::memory::{Evict, MemoryBudget};

/// The outputs of finished attempts.
#[derive(Debug)]
pub struct BlockStore {
    folder: PathBuf,
    budget: Arc<MemoryBudget>,
    state: Mutex<State>,
    /// Some output has been written to disk, or could not be.
    evicted: Condvar,
    evicted_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    outputs: HashMap<AttemptId, Output>,
    /// Outputs in memory, oldest first.
    in_memory: BTreeMap<u64, AttemptId>,
    next_age: u64,
    /// Outputs that are being written to disk for want of memory, each by the thread that needs it.
    being_evicted: usize,
    /// Evictions that have ended, well or not.
    evictions_ended: u64,
}

#[derive(Clone, Debug)]
struct Output {
    schema: SchemaRef,
    kept: Kept,
}

#[derive(Clone, Debug)]
enum Kept {
    Memory { age: u64, blocks: Arc<[Arc<HeldBlock>]> },
    Disk(Arc<Segment>),
}

/// Outputs that are no longer in the store, and are deleted with this.
#[derive(Debug)]
pub(crate) struct Removed(Vec<Output>);

impl Removed {
    /// Returns true if files are deleted.
    pub(crate) fn has_files(&self) -> bool {
        self.0.iter().any(|output| matches!(output.kept, Kept::Disk(_)))
    }
}

/// An eviction that goes on, until it is dropped.
struct Evicting<'a>(&'a BlockStore);

impl Drop for Evicting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.being_evicted -= 1;
        state.evictions_ended += 1;
        drop(state);
        self.0.evicted.notify_all();
    }
}

/// The oldest output in memory, on its way to disk.
struct Oldest {
    age: u64,
    attempt: AttemptId,
    schema: SchemaRef,
    blocks: Arc<[Arc<HeldBlock>]>,
}

impl BlockStore {
    /// An empty store that spills to `folder`, and makes room in `budget` when asked.
    pub fn new(folder: PathBuf, budget: Arc<MemoryBudget>) -> Arc<Self> {
        let store = Arc::new(Self {
            folder,
            budget,
            state: Mutex::default(),
            evicted: Condvar::new(),
            evicted_bytes: AtomicU64::new(0),
        });
        let evict: Arc<dyn Evict> = store.clone();
        store.budget.evict_with(Arc::downgrade(&evict));
        store
    }

    /// Begins the output of an attempt.
    pub fn writer(
        self: &Arc<Self>,
        attempt: AttemptId,
        schema: SchemaRef,
        partitions: usize,
    ) -> OutputWriter {
        OutputWriter::new(Arc::clone(self), attempt, schema, partitions)
    }

    /// A block, if its attempt is here and has such an output partition.
    pub fn block(&self, id: BlockId) -> Option<StoredBlock> {
        let state = self.state();
        let output = state.outputs.get(&id.attempt)?;
        let block = match &output.kept {
            Kept::Memory { blocks, .. } => {
                Block::Held(Arc::clone(blocks.get(id.partition as usize)?))
            }
            Kept::Disk(segment) => ((id.partition as usize) < segment.partitions())
                .then(|| Block::OnDisk(Arc::clone(segment), id.partition))?,
        };
        Some(StoredBlock { schema: Arc::clone(&output.schema), block })
    }

    /// The attempts whose output is here.
    pub fn attempts(&self) -> Vec<AttemptId> {
        let mut attempts: Vec<_> = self.state().outputs.keys().copied().collect();
        attempts.sort_unstable();
        attempts
    }

    /// Deletes the output of an attempt.
    pub fn drop_attempt(&self, attempt: AttemptId) {
        drop(self.remove(&[attempt]));
    }

    /// Forgets the outputs of attempts. They are deleted when what this returns is dropped, which takes as long as
    /// the file system does.
    pub(crate) fn remove(&self, attempts: &[AttemptId]) -> Removed {
        let mut state = self.state();
        Removed(attempts.iter().filter_map(|attempt| state.remove(*attempt)).collect())
    }

    /// Forgets every output of a job, as [`Self::remove`] does.
    pub(crate) fn remove_job(&self, job: JobId) -> Removed {
        let mut attempts = self.attempts();
        attempts.retain(|attempt| attempt.task.stage.job == job);
        self.remove(&attempts)
    }

    /// Bytes that stored outputs have written to disk for want of memory.
    pub fn evicted_bytes(&self) -> u64 {
        self.evicted_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    pub(super) fn segment_writer(
        &self,
        attempt: AttemptId,
        partitions: usize,
    ) -> io::Result<SegmentWriter> {
        SegmentWriter::create(self.folder.join(format!("{attempt}.segment")), partitions)
    }

    pub(super) fn put_in_memory(
        &self,
        attempt: AttemptId,
        schema: SchemaRef,
        blocks: Vec<Arc<HeldBlock>>,
    ) {
        let mut state = self.state();
        let age = state.next_age;
        state.next_age += 1;
        state.in_memory.insert(age, attempt);
        let kept = Kept::Memory { age, blocks: blocks.into() };
        let replaced = state.outputs.insert(attempt, Output { schema, kept });
        assert!(replaced.is_none(), "an attempt is sealed once");
    }

    pub(super) fn put_on_disk(&self, attempt: AttemptId, schema: SchemaRef, segment: Segment) {
        let kept = Kept::Disk(Arc::new(segment));
        let replaced = self.state().outputs.insert(attempt, Output { schema, kept });
        assert!(replaced.is_none(), "an attempt is sealed once");
    }

    /// Writes the oldest output in memory to disk; returns its bytes, nothing when none is left.
    fn evict_oldest(&self) -> io::Result<Option<u64>> {
        let Some(oldest) = self.state().take_oldest() else { return Ok(None) };
        // Ends last: whoever waits for this eviction finds its memory free, or the output as it was.
        let _ended = Evicting(self);
        let written = self.write_segment(oldest.attempt, &oldest.schema, &oldest.blocks);
        let bytes = oldest.blocks.iter().map(|block| block.grant.bytes()).sum();
        let mut state = self.state();
        let written = match written {
            Ok(segment) => Ok(state.replace(oldest.attempt, Kept::Disk(Arc::new(segment)))),
            Err(error) => {
                state.put_back(oldest.age, oldest.attempt);
                Err(as_io(error))
            }
        };
        drop(state);
        let attempt = oldest.attempt;
        // Not freed under the lock.
        drop(oldest);
        drop(written?);
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        tracing::debug!(%attempt, bytes, "stored output went to disk for want of memory");
        Ok(Some(bytes))
    }

    /// Waits until one of the outputs that others write is on disk; returns the bytes that went, which are none if the
    /// disk refused it, and nothing if nobody writes.
    fn wait_for_others(&self) -> Option<u64> {
        let mut state = self.state();
        let (before, ended) = (self.evicted_bytes(), state.evictions_ended);
        if state.being_evicted == 0 {
            return None;
        }
        while state.evictions_ended == ended {
            state = self.evicted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(self.evicted_bytes() - before)
    }

    fn write_segment(
        &self,
        attempt: AttemptId,
        schema: &SchemaRef,
        blocks: &[Arc<HeldBlock>],
    ) -> Result<Segment> {
        let mut writer = self.segment_writer(attempt, blocks.len())?;
        for (partition, block) in (0_u32..).zip(blocks) {
            for batch in &block.batches {
                writer.append(schema, partition, batch)?;
            }
        }
        Ok(writer.finish()?)
    }

    #[cfg(test)]
    pub(super) fn being_evicted(&self) -> usize {
        self.state().being_evicted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, attempt: AttemptId) -> Option<Output> {
        let output = self.outputs.remove(&attempt)?;
        if let Kept::Memory { age, .. } = output.kept {
            self.in_memory.remove(&age);
        }
        Some(output)
    }

    fn take_oldest(&mut self) -> Option<Oldest> {
        let (age, attempt) = self.in_memory.pop_first()?;
        let output = self.outputs.get(&attempt).expect("what is in memory is stored");
        let Kept::Memory { blocks, .. } = &output.kept else { unreachable!("it is in memory") };
        self.being_evicted += 1;
        Some(Oldest {
            age,
            attempt,
            schema: Arc::clone(&output.schema),
            blocks: Arc::clone(blocks),
        })
    }

    /// Keeps an output in memory after all, unless it was dropped meanwhile.
    fn put_back(&mut self, age: u64, attempt: AttemptId) {
        if self.outputs.contains_key(&attempt) {
            self.in_memory.insert(age, attempt);
        }
    }

    /// Gives back what was there, or the new form when the attempt was dropped meanwhile.
    fn replace(&mut self, attempt: AttemptId, kept: Kept) -> Kept {
        match self.outputs.get_mut(&attempt) {
            Some(output) => std::mem::replace(&mut output.kept, kept),
            None => kept,
        }
    }
}

impl Evict for BlockStore {
    /// Every thread that needs room writes an output of its own: none waits while another encodes.
    fn evict(&self, bytes: u64) -> io::Result<u64> {
        loop {
            let mut evicted = 0;
            while evicted < bytes {
                match self.evict_oldest()? {
                    Some(more) => evicted += more,
                    None => break,
                }
            }
            if evicted > 0 {
                return Ok(evicted);
            }
            match self.wait_for_others() {
                // What the disk refused is here again: this thread learns why.
                Some(0) => {}
                Some(others) => return Ok(others),
                None => return Ok(0),
            }
        }
    }
}

fn as_io(error: DataFusionError) -> io::Error {
    match error {
        DataFusionError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use gnist_common::ids::ApplicationId;

    use super::*;

    fn attempt(task: u32) -> AttemptId {
        ApplicationId(1).job(0).stage(0).task(task).attempt(0)
    }

    fn state(tasks: u32) -> State {
        let mut state = State::default();
        for task in 0..tasks {
            let kept = Kept::Memory { age: u64::from(task), blocks: Vec::new().into() };
            state.in_memory.insert(u64::from(task), attempt(task));
            state.outputs.insert(attempt(task), Output { schema: Schema::empty().into(), kept });
        }
        state
    }

    #[test]
    fn an_output_that_was_dropped_while_the_disk_refused_it_is_not_put_back() {
        let mut state = state(2);
        let oldest = state.take_oldest().unwrap();
        state.remove(oldest.attempt).unwrap();
        state.put_back(oldest.age, oldest.attempt);
        assert_eq!(state.take_oldest().unwrap().attempt, attempt(1));
    }

    #[test]
    fn an_output_that_the_disk_refused_is_the_oldest_again() {
        let mut state = state(2);
        let oldest = state.take_oldest().unwrap();
        state.put_back(oldest.age, oldest.attempt);
        assert_eq!(state.take_oldest().unwrap().attempt, attempt(0));
    }
}
