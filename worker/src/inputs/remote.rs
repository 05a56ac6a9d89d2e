//! The blocks that one reader wants of one other worker: one conversation, as far ahead as its
//! credit goes, tried again where it broke off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{BlockId, WorkerId};
use gnist_operators::exchange::FetchError;
use gnist_proto::lost::LostWorkers;
use gnist_proto::wire::data::FetchChunk;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tonic::Streaming;

use super::InputSource;
use super::credit::Credit;
use crate::data_plane::{Allowed, DataPlaneClient, trouble};
use crate::memory::Refused;

/// Waits before trying again; after the last the worker is said to be unreachable.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

enum Item {
    Frame(Bytes),
    BlockEnd,
    /// A frame of this length is next, and the credit does not cover it.
    FrameWaits(u64),
}

/// Frames of the blocks asked for, as they come. Dropping it ends the fetch.
pub(super) struct RemoteBlocks {
    /// Bounded by the credit, and by the number of blocks: the sender must never wait.
    items: mpsc::UnboundedReceiver<Result<Item, FetchError>>,
    credit: Credit,
    allowed: watch::Sender<u64>,
    blocks_left: usize,
    fetching: AbortHandle,
}

impl RemoteBlocks {
    /// Begins to fetch blocks of a worker, in this order, on the source's IO runtime.
    pub(super) fn fetch(
        source: &InputSource,
        worker: WorkerId,
        address: String,
        blocks: Vec<BlockId>,
        credit: Credit,
    ) -> Self {
        let (sender, items) = mpsc::unbounded_channel();
        let (allowed, to_fetch) = watch::channel(credit.allowed());
        let blocks_left = blocks.len();
        let fetch = Fetch {
            client: Arc::clone(&source.client),
            worker,
            address,
            blocks,
            allowed: to_fetch,
            sender,
            next_block: 0,
            frames_of_block: 0,
            handed_on_bytes: 0,
        };
        let fetching = source.io.spawn(fetch.run_unless_lost(Arc::clone(&source.lost)));
        let fetching = fetching.abort_handle();
        Self { items, credit, allowed, blocks_left, fetching }
    }

    /// The next frame of the current block; nothing at its end.
    pub(super) async fn next_frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.items.recv().await {
                Some(Ok(Item::Frame(frame))) => {
                    self.credit.took(frame.len() as u64);
                    self.tell();
                    return Ok(Some(frame));
                }
                Some(Ok(Item::BlockEnd)) => {
                    self.blocks_left -= 1;
                    if self.blocks_left == 0 {
                        self.credit.end();
                    }
                    return Ok(None);
                }
                Some(Ok(Item::FrameWaits(bytes))) => {
                    self.credit.cover(bytes).map_err(|refused| refusal(bytes, refused))?;
                    self.tell();
                }
                Some(Err(error)) => return Err(error.into()),
                None => {
                    return Err(internal_datafusion_err!("a fetch ended before its blocks did"));
                }
            }
        }
    }

    fn tell(&self) {
        let allowed = self.credit.allowed();
        self.allowed.send_if_modified(|told| std::mem::replace(told, allowed) != allowed);
    }
}

impl Drop for RemoteBlocks {
    fn drop(&mut self) {
        self.fetching.abort();
    }
}

fn refusal(frame_bytes: u64, refused: Refused) -> DataFusionError {
    match refused {
        Refused::Full { free_bytes, limit_bytes } => {
            let (frame, free, limit) =
                (ByteSize(frame_bytes), ByteSize(free_bytes), ByteSize(limit_bytes));
            DataFusionError::ResourcesExhausted(format!(
                "reading a row of another stage needs {frame}, but only {free} of the memory budget \
                 of {limit} is left for it (a peak of {frame} in one piece)"
            ))
        }
        Refused::Disk(error) => DataFusionError::IoError(error),
    }
}

/// Reasons why a conversation ended before its blocks did.
enum Stop {
    /// The reader is gone.
    ReaderGone,
    /// The worker answers, and does not have these.
    Missing(Vec<BlockId>),
    /// The connection; may be tried again.
    Trouble(Failure),
}

struct Fetch {
    client: Arc<DataPlaneClient>,
    worker: WorkerId,
    address: String,
    blocks: Vec<BlockId>,
    /// Bytes of frames that the reader has allowed since the beginning.
    allowed: watch::Receiver<u64>,
    sender: mpsc::UnboundedSender<Result<Item, FetchError>>,
    /// The first block that is not complete, and how many of its frames were handed on.
    next_block: usize,
    frames_of_block: u64,
    /// Bytes of all frames that were handed on.
    handed_on_bytes: u64,
}

impl Fetch {
    /// Fetches to the end, or to that of the worker.
    async fn run_unless_lost(mut self, lost: Arc<LostWorkers>) {
        let worker = self.worker;
        if lost.unless_lost(worker, self.run()).await.is_none() {
            self.client.forget(&self.address);
            let message = format!("fetching from `{}`: the worker was lost", self.address);
            let failure = Failure::new(ErrorKind::Transient, message);
            self.fail(FetchError::Unreachable { worker, failure });
        }
    }

    async fn run(&mut self) {
        let mut tries = 0;
        loop {
            let before = (self.next_block, self.frames_of_block);
            let failure = match self.converse().await {
                Ok(()) | Err(Stop::ReaderGone) => return,
                Err(Stop::Missing(blocks)) => return self.fail(FetchError::Missing { blocks }),
                Err(Stop::Trouble(failure)) => failure,
            };
            self.client.forget(&self.address);
            if before != (self.next_block, self.frames_of_block) {
                tries = 0;
            }
            let Some(wait) = RETRY_AFTER.get(tries) else {
                return self.fail(FetchError::Unreachable { worker: self.worker, failure });
            };
            tries += 1;
            tokio::time::sleep(*wait).await;
        }
    }

    fn fail(&self, error: FetchError) {
        let _gone = self.sender.send(Err(error));
    }

    /// Asks for what is left and hands it on.
    async fn converse(&mut self) -> Result<(), Stop> {
        let asked = self.next_block;
        let left = &self.blocks[asked..];
        let allowed = Allowed { bytes: self.allowed.clone(), told_bytes: self.handed_on_bytes };
        let chunks = self.client.read(&self.address, left, self.frames_of_block, allowed).await;
        let mut chunks = chunks.map_err(Stop::Trouble)?;
        let mut partial = Vec::new();
        let mut frame_bytes = 0;
        while self.next_block < self.blocks.len() {
            let chunk = self.next_chunk(&mut chunks).await?;
            if chunk.missing {
                let missing = self.all_missing(chunk, &mut chunks, asked).await;
                return Err(Stop::Missing(missing));
            }
            if asked + chunk.index as usize != self.next_block {
                return Err(self.confused());
            }
            if chunk.frame_bytes > 0 {
                frame_bytes = self.begin_frame(&chunk, &mut partial)?;
            }
            self.take(&chunk, &mut partial, frame_bytes)?;
        }
        Ok(())
    }

    /// Makes room for a frame, aligned as Arrow needs it: an allocation of its own.
    fn begin_frame(&self, chunk: &FetchChunk, partial: &mut Vec<u8>) -> Result<usize, Stop> {
        if chunk.data.is_empty() {
            self.send(Item::FrameWaits(chunk.frame_bytes))?;
            return Ok(0);
        }
        let is_covered = self.handed_on_bytes + chunk.frame_bytes <= *self.allowed.borrow();
        let frame_bytes = usize::try_from(chunk.frame_bytes).ok().filter(|_| is_covered);
        let frame_bytes = frame_bytes.filter(|_| partial.is_empty());
        let frame_bytes = frame_bytes.ok_or_else(|| self.confused())?;
        partial.reserve_exact(frame_bytes);
        Ok(frame_bytes)
    }

    fn take(
        &mut self,
        chunk: &FetchChunk,
        partial: &mut Vec<u8>,
        frame_bytes: usize,
    ) -> Result<(), Stop> {
        if partial.len() + chunk.data.len() > frame_bytes {
            return Err(self.confused());
        }
        partial.extend_from_slice(&chunk.data);
        if !chunk.data.is_empty() && partial.len() == frame_bytes {
            self.handed_on_bytes += frame_bytes as u64;
            self.frames_of_block += 1;
            self.send(Item::Frame(std::mem::take(partial).into()))?;
        }
        if chunk.last {
            if !partial.is_empty() {
                return Err(self.confused());
            }
            self.send(Item::BlockEnd)?;
            self.next_block += 1;
            self.frames_of_block = 0;
        }
        Ok(())
    }

    fn send(&self, item: Item) -> Result<(), Stop> {
        self.sender.send(Ok(item)).map_err(|_| Stop::ReaderGone)
    }

    async fn next_chunk(&self, chunks: &mut Streaming<FetchChunk>) -> Result<FetchChunk, Stop> {
        match chunks.message().await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => Err(self.confused()),
            Err(status) => Err(Stop::Trouble(trouble(&self.address, &status))),
        }
    }

    /// Missing blocks are named before others are sent: collects them.
    async fn all_missing(
        &self,
        first: FetchChunk,
        chunks: &mut Streaming<FetchChunk>,
        asked: usize,
    ) -> Vec<BlockId> {
        let mut missing = vec![first.index];
        while let Ok(Some(chunk)) = chunks.message().await
            && chunk.missing
        {
            missing.push(chunk.index);
        }
        let block = |index: u32| self.blocks.get(asked + index as usize).copied();
        missing.into_iter().filter_map(block).collect()
    }

    fn confused(&self) -> Stop {
        let message = format!("fetching from `{}`: it broke off", self.address);
        Stop::Trouble(Failure::new(ErrorKind::Transient, message))
    }
}
