//! Blocks from everywhere, in task order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use futures::{Stream, stream};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{BlockId, WorkerId};
use gnist_common::task::OutputTable;
use gnist_operators::block::decode_block;
use gnist_operators::exchange::FetchError;

use super::broadcast::SharedBlocks;
use super::credit::Credit;
use super::remote::RemoteBlocks;
use super::{InputSource, ReadCounts, Wanted};
use crate::blocks::{Block, SegmentReader};

/// Reads wanted blocks in their order. Local ones are taken from the store when their turn comes;
/// remote ones are asked for at the first poll, from all workers at once.
pub(super) struct OrderedBlocks {
    source: Arc<InputSource>,
    table: Arc<OutputTable>,
    wanted: VecDeque<Wanted>,
    counts: Arc<ReadCounts>,
    /// The block being read; there while batches of it are `ready`.
    current: Option<(BlockId, Reading)>,
    /// Decoded and not yet handed out.
    ready: VecDeque<RecordBatch>,
    remote: Option<HashMap<WorkerId, RemoteBlocks>>,
    shared: Option<Arc<SharedBlocks>>,
}

enum Reading {
    /// In this worker's store. It is looked up for every batch: one that goes to disk meanwhile frees its memory.
    Stored {
        next: usize,
    },
    Shared {
        batches: Arc<[RecordBatch]>,
        next: usize,
    },
    Disk(SegmentReader),
    Remote(WorkerId),
    Done,
}

impl OrderedBlocks {
    pub(super) fn new(
        source: Arc<InputSource>,
        table: Arc<OutputTable>,
        wanted: Vec<Wanted>,
        counts: Arc<ReadCounts>,
    ) -> Self {
        Self {
            source,
            table,
            wanted: wanted.into(),
            counts,
            current: None,
            ready: VecDeque::new(),
            remote: None,
            shared: None,
        }
    }

    /// Takes the remote blocks from what the executor shares, fetching them if nobody has.
    pub(super) async fn share(&mut self) -> Result<()> {
        let remote = self.remote_wanted();
        if !remote.is_empty() {
            let source = Arc::clone(&self.source);
            self.shared = source.broadcasts.get(&source, &self.table, remote, &self.counts).await?;
        }
        Ok(())
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        stream::try_unfold(self, |mut blocks| async move {
            let Some((_, batch)) = blocks.next().await? else { return Ok(None) };
            blocks.counts.add_rows(batch.num_rows());
            Ok(Some((batch, blocks)))
        })
    }

    /// The next batch and the block it is of.
    pub(super) async fn next(&mut self) -> Result<Option<(BlockId, RecordBatch)>> {
        if self.remote.is_none() {
            self.start_remote()?;
        }
        loop {
            if let Some((id, _)) = &self.current
                && let Some(batch) = self.ready.pop_front()
            {
                return Ok(Some((*id, batch)));
            }
            match self.current.take() {
                None | Some((_, Reading::Done)) => {
                    let Some(wanted) = self.wanted.pop_front() else { return Ok(None) };
                    self.current = Some((wanted.id, self.open(wanted)?));
                }
                Some((id, reading)) => {
                    self.current = Some((id, self.read_on(id, reading).await?));
                }
            }
        }
    }

    /// Makes more of a block `ready`, and says how to go on.
    async fn read_on(&mut self, id: BlockId, reading: Reading) -> Result<Reading> {
        match reading {
            Reading::Stored { next } => self.read_stored(id, next),
            Reading::Shared { batches, next } => {
                let batch = batches.get(next).cloned();
                Ok(self.take(batch, || Reading::Shared { batches, next: next + 1 }))
            }
            Reading::Disk(reader) => {
                let (reader, batches) = read_frame(id, reader).await?;
                Ok(self.take(batches, || Reading::Disk(reader)))
            }
            Reading::Remote(worker) => {
                let remote = self.remote.as_mut().and_then(|remote| remote.get_mut(&worker));
                let remote = remote.expect("asked for before any block was opened");
                let frame = remote.next_frame().await?;
                let batches = frame.map(|frame| {
                    self.counts.add_fetched(frame.len() as u64);
                    decode_block(&frame).map_err(|_| missing(id))
                });
                Ok(self.take(batches.transpose()?, || Reading::Remote(worker)))
            }
            Reading::Done => Ok(Reading::Done),
        }
    }

    fn take(
        &mut self,
        batches: Option<impl IntoBatches>,
        go_on: impl FnOnce() -> Reading,
    ) -> Reading {
        let Some(batches) = batches else { return Reading::Done };
        batches.put_into(&mut self.ready);
        go_on()
    }

    fn open(&mut self, wanted: Wanted) -> Result<Reading> {
        let Wanted { id, worker, .. } = wanted;
        if worker != self.source.worker {
            let Some(shared) = &self.shared else { return Ok(Reading::Remote(worker)) };
            let batches = shared.block(id);
            let batches = batches.ok_or_else(|| missing(id))?;
            return Ok(Reading::Shared { batches, next: 0 });
        }
        self.read_stored(id, 0)
    }

    /// Makes a batch of the store's `ready`, or goes on in the segment that the block is in by now.
    fn read_stored(&mut self, id: BlockId, next: usize) -> Result<Reading> {
        let stored = self.source.store.block(id).ok_or_else(|| missing(id))?;
        match stored.block {
            Block::Held(block) => {
                self.ready.extend(block.batches.get(next).cloned());
                let is_last = next + 1 >= block.batches.len();
                Ok(if is_last { Reading::Done } else { Reading::Stored { next: next + 1 } })
            }
            // A frame of a segment is a batch.
            Block::OnDisk(segment, partition) => {
                Ok(Reading::Disk(segment.open(partition, next).map_err(|_| missing(id))?))
            }
        }
    }

    fn remote_wanted(&self) -> Vec<Wanted> {
        let here = self.source.worker;
        self.wanted.iter().filter(|wanted| wanted.worker != here).copied().collect()
    }

    /// Asks every worker for its blocks, those of one worker in one request.
    fn start_remote(&mut self) -> Result<()> {
        let mut remote = HashMap::new();
        if self.shared.is_none() {
            let mut by_worker: HashMap<WorkerId, (Vec<BlockId>, u64)> = HashMap::new();
            for block in self.remote_wanted() {
                let (blocks, bytes) = by_worker.entry(block.worker).or_default();
                blocks.push(block.id);
                *bytes += block.bytes;
            }
            let peers = by_worker.len();
            for (worker, (blocks, bytes)) in by_worker {
                let address = self.address(worker)?;
                let credit = Credit::new(&self.source.ahead, bytes, peers);
                let blocks = RemoteBlocks::fetch(&self.source, worker, address, blocks, credit);
                remote.insert(worker, blocks);
            }
        }
        self.remote = Some(remote);
        Ok(())
    }

    fn address(&self, worker: WorkerId) -> Result<String> {
        let found = self.table.workers.iter().find(|(id, _)| *id == worker);
        found.map(|(_, address)| address.clone()).ok_or_else(|| {
            let failure = Failure::new(ErrorKind::Transient, "its address is not known");
            FetchError::Unreachable { worker, failure }.into()
        })
    }
}

/// One batch from memory, or those of a frame.
trait IntoBatches {
    fn put_into(self, ready: &mut VecDeque<RecordBatch>);
}

impl IntoBatches for RecordBatch {
    fn put_into(self, ready: &mut VecDeque<RecordBatch>) {
        ready.push_back(self);
    }
}

impl IntoBatches for Vec<RecordBatch> {
    fn put_into(self, ready: &mut VecDeque<RecordBatch>) {
        ready.extend(self);
    }
}

/// Reads and decodes a frame where blocking is allowed.
async fn read_frame(
    id: BlockId,
    mut reader: SegmentReader,
) -> Result<(SegmentReader, Option<Vec<RecordBatch>>)> {
    let read = move || {
        let frame = reader.next_frame().map_err(|_| missing(id))?;
        let batches = frame.map(|frame| decode_block(&frame)).transpose();
        Ok((reader, batches.map_err(|_| missing(id))?))
    };
    let joined = tokio::task::spawn_blocking(read).await;
    joined.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}

fn missing(id: BlockId) -> DataFusionError {
    FetchError::Missing { blocks: vec![id] }.into()
}
