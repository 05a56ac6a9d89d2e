//! The blocks that one reader wants of one other worker: one request, prefetched within a window
//! of bytes, tried again where it broke off.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use datafusion::common::{Result, internal_datafusion_err};
use gnist_common::error::Failure;
use gnist_common::ids::{BlockId, WorkerId};
use gnist_operators::block::split_first_block;
use gnist_operators::exchange::FetchError;
use gnist_proto::wire::data::FetchChunk;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tonic::Streaming;

use super::InputSource;
use crate::data_plane::{DataPlaneClient, trouble};
use crate::memory::{Class, Grant, MemoryBudget};

/// Bytes on their way to one reader.
const WINDOW_BYTES_MAX: u64 = 32 << 20;
const WINDOW_BYTES_MIN: u64 = 1 << 20;
/// Frames on their way from one worker; most are small.
const FRAMES_MAX: usize = 256;
/// Waits before trying again; after the last the worker is said to be unreachable.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// What the fetches of one reader may hold together. Reserved by the reader, on its own thread:
/// making room writes to disk, which the threads that move bytes must not wait for.
pub(super) struct Window {
    grant: Arc<Grant>,
    /// Share of each worker, in KiB.
    share_kib: u32,
}

impl Window {
    /// A window for so many bytes in all, from so many workers.
    pub(super) fn new(budget: &Arc<MemoryBudget>, bytes: u64, workers: usize) -> Self {
        let most = (budget.limit_bytes() / 16).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let window = bytes.min(most);
        let mut grant = Grant::empty(budget, Class::Fixed);
        grant.grow(window);
        let share = window.max(WINDOW_BYTES_MIN) / (workers.max(1) as u64);
        let share_kib = u32::try_from(share >> 10).unwrap_or(u32::MAX).max(64);
        Self { grant: Arc::new(grant), share_kib }
    }
}

/// One frame, and its part of the window.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

enum Item {
    Frame(Frame),
    BlockEnd,
}

/// Frames of the blocks asked for, as they come. Dropping it ends the fetch.
pub(super) struct RemoteBlocks {
    items: mpsc::Receiver<Result<Item, FetchError>>,
    fetching: AbortHandle,
    _window: Arc<Grant>,
}

impl RemoteBlocks {
    /// Begins to fetch blocks of a worker, in this order, on the source's IO runtime.
    pub(super) fn fetch(
        source: &InputSource,
        worker: WorkerId,
        address: String,
        blocks: Vec<BlockId>,
        window: &Window,
    ) -> Self {
        let (sender, items) = mpsc::channel(FRAMES_MAX);
        let fetch = Fetch {
            client: Arc::clone(&source.client),
            worker,
            address,
            blocks,
            share_kib: window.share_kib,
            window: Arc::new(Semaphore::new(window.share_kib as usize)),
            sender,
            next_block: 0,
            frames_of_block: 0,
        };
        let fetching = source.io.spawn(fetch.run()).abort_handle();
        Self { items, fetching, _window: Arc::clone(&window.grant) }
    }

    /// The next frame of the current block; nothing at its end.
    pub(super) async fn next_frame(&mut self) -> Result<Option<Frame>> {
        match self.items.recv().await {
            Some(Ok(Item::Frame(frame))) => Ok(Some(frame)),
            Some(Ok(Item::BlockEnd)) => Ok(None),
            Some(Err(error)) => Err(error.into()),
            None => Err(internal_datafusion_err!("a fetch ended before its blocks did")),
        }
    }
}

impl Drop for RemoteBlocks {
    fn drop(&mut self) {
        self.fetching.abort();
    }
}

/// Why a conversation ended before its blocks did.
enum Stop {
    /// Nobody reads any more.
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
    share_kib: u32,
    window: Arc<Semaphore>,
    sender: mpsc::Sender<Result<Item, FetchError>>,
    /// The first block that is not complete, and how many of its frames were handed on.
    next_block: usize,
    frames_of_block: usize,
}

impl Fetch {
    async fn run(mut self) {
        let mut tries = 0;
        loop {
            let before = (self.next_block, self.frames_of_block);
            let failure = match self.converse().await {
                Ok(()) | Err(Stop::ReaderGone) => return,
                Err(Stop::Missing(blocks)) => {
                    return self.fail(FetchError::Missing { blocks }).await;
                }
                Err(Stop::Trouble(failure)) => failure,
            };
            self.client.forget(&self.address);
            if before != (self.next_block, self.frames_of_block) {
                tries = 0;
            }
            let Some(wait) = RETRY_AFTER.get(tries) else {
                let worker = self.worker;
                return self.fail(FetchError::Unreachable { worker, failure }).await;
            };
            tries += 1;
            tokio::time::sleep(*wait).await;
        }
    }

    async fn fail(&self, error: FetchError) {
        let _gone = self.sender.send(Err(error)).await;
    }

    /// Asks for what is left and hands it on.
    async fn converse(&mut self) -> Result<(), Stop> {
        let asked = self.next_block;
        let left = &self.blocks[asked..];
        let mut chunks = self.client.fetch(&self.address, left).await.map_err(Stop::Trouble)?;
        let mut partial = Partial { bytes: BytesMut::new(), skip: self.frames_of_block };
        while self.next_block < self.blocks.len() {
            let chunk = self.next_chunk(&mut chunks).await?;
            if chunk.missing {
                let missing = self.all_missing(chunk, &mut chunks, asked).await;
                return Err(Stop::Missing(missing));
            }
            if asked + chunk.index as usize != self.next_block {
                return Err(Stop::Trouble(self.confused()));
            }
            self.take(chunk, &mut partial).await?;
        }
        Ok(())
    }

    async fn take(&mut self, chunk: FetchChunk, partial: &mut Partial) -> Result<(), Stop> {
        partial.bytes.extend_from_slice(&chunk.data);
        loop {
            let frame = match split_first_block(&mut partial.bytes) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return Err(Stop::Missing(vec![self.blocks[self.next_block]])),
            };
            if partial.skip > 0 {
                partial.skip -= 1;
                continue;
            }
            self.hand_on(frame).await?;
            self.frames_of_block += 1;
        }
        if chunk.last {
            if !partial.bytes.is_empty() {
                return Err(Stop::Missing(vec![self.blocks[self.next_block]]));
            }
            partial.skip = 0;
            self.send(Item::BlockEnd).await?;
            self.next_block += 1;
            self.frames_of_block = 0;
        }
        Ok(())
    }

    async fn hand_on(&self, bytes: Bytes) -> Result<(), Stop> {
        let kib = u32::try_from(bytes.len() >> 10).unwrap_or(u32::MAX).clamp(1, self.share_kib);
        let permit = Arc::clone(&self.window).acquire_many_owned(kib).await;
        let permit = permit.map_err(|_| Stop::ReaderGone)?;
        self.send(Item::Frame(Frame { bytes, _permit: permit })).await
    }

    async fn send(&self, item: Item) -> Result<(), Stop> {
        self.sender.send(Ok(item)).await.map_err(|_| Stop::ReaderGone)
    }

    async fn next_chunk(&self, chunks: &mut Streaming<FetchChunk>) -> Result<FetchChunk, Stop> {
        match chunks.message().await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => Err(Stop::Trouble(self.confused())),
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

    fn confused(&self) -> Failure {
        let kind = gnist_common::error::ErrorKind::Transient;
        Failure::new(kind, format!("fetching from `{}`: it broke off", self.address))
    }
}

/// A frame of which not all chunks have come.
struct Partial {
    bytes: BytesMut,
    /// Frames of the first block that were handed on before the conversation broke.
    skip: usize,
}
