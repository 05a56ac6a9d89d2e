//! What is stored, where, and what goes to disk first.
//!
//! Memory comes from the worker's budget, whose pressure makes the oldest sealed outputs go to
//! disk; output still being written is not here yet. Age is the right order for shuffle: what was
//! made first is, of what is still needed, read last as likely as not, and a whole segment written
//! at once costs one file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Held by whoever writes outputs to disk for want of memory.
    evicting: Mutex<()>,
    evicted_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    outputs: HashMap<AttemptId, Output>,
    /// Outputs in memory, oldest first.
    in_memory: BTreeMap<u64, AttemptId>,
    next_age: u64,
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

impl BlockStore {
    /// An empty store that spills to `folder`, and makes room in `budget` when asked.
    pub fn new(folder: PathBuf, budget: Arc<MemoryBudget>) -> Arc<Self> {
        let store = Arc::new(Self {
            folder,
            budget,
            state: Mutex::default(),
            evicting: Mutex::new(()),
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
        let dropped = self.state().remove(attempt);
        drop(dropped);
    }

    /// Deletes every output of a job.
    pub fn drop_job(&self, job: JobId) {
        let attempts = self.attempts();
        for attempt in attempts.into_iter().filter(|attempt| attempt.task.stage.job == job) {
            self.drop_attempt(attempt);
        }
    }

    /// Bytes that stored outputs have written to disk for want of memory.
    pub fn evicted_bytes(&self) -> u64 {
        self.evicted_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn budget(&self) -> &Arc<MemoryBudget> {
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
        let Some((age, attempt, output)) = self.state().take_oldest() else { return Ok(None) };
        let Kept::Memory { blocks, .. } = &output.kept else { return Ok(Some(0)) };
        let bytes = blocks.iter().map(|block| block.grant.bytes()).sum();
        let segment = match self.write_segment(attempt, &output.schema, blocks) {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                self.state().in_memory.insert(age, attempt);
                return Err(as_io(error));
            }
        };
        let replaced = self.state().replace(attempt, Kept::Disk(segment));
        drop(replaced);
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        tracing::debug!(%attempt, bytes, "stored output went to disk for want of memory");
        Ok(Some(bytes))
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

    fn take_oldest(&mut self) -> Option<(u64, AttemptId, Output)> {
        let (age, attempt) = self.in_memory.pop_first()?;
        let output = self.outputs.get(&attempt).expect("what is in memory is stored").clone();
        Some((age, attempt, output))
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
    fn evict(&self, bytes: u64) -> io::Result<u64> {
        let before = self.evicted_bytes();
        let _turn = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        let by_others = self.evicted_bytes() - before;
        if by_others > 0 {
            return Ok(by_others);
        }
        let mut evicted = 0;
        while evicted < bytes {
            match self.evict_oldest()? {
                Some(more) => evicted += more,
                None => break,
            }
        }
        Ok(evicted)
    }
}

fn as_io(error: DataFusionError) -> io::Error {
    match error {
        DataFusionError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
