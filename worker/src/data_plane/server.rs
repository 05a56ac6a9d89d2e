//! Serves blocks.
//!
//! Encoding is CPU work and reading a segment blocks: both happen on a few blocking threads, one
//! piece at a time. A reader that gives no credit, or is slow to take what it asked for, holds none
//! of them. The threads of the IO runtime only move bytes.

use std::sync::Arc;

use bytes::Bytes;
use gnist_common::ids::{BlockId, WorkerId};
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_proto::connect::{Listener, data_server};
use gnist_proto::wire::data::data_server::Data;
use gnist_proto::wire::data::{FetchChunk, FetchRequest, ReadRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::cursor::{Cursor, Pause};
use super::{Blocks, FrameError, Frames};
use crate::blocks::{Block, BlockStore, SegmentReader, StoredBlock};
use crate::memory::MemoryBudget;

/// Chunks that wait for the connection.
const CHUNKS_WAITING_MAX: usize = 2;

/// Pieces that are made at once.
fn makers() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// Serves these blocks on the runtime this is called on, until the handle is aborted.
pub(crate) fn serve(
    listener: Listener,
    worker: WorkerId,
    source: Arc<dyn Blocks>,
    budget: Arc<MemoryBudget>,
) -> JoinHandle<()> {
    let service =
        data_server(DataPlane { source, budget, makers: Arc::new(Semaphore::new(makers())) });
    let server = gnist_proto::connect::server().add_service(service);
    tokio::spawn(async move {
        if let Err(error) = server.serve_with_incoming(listener.into_incoming()).await {
            tracing::error!(%worker, %error, "the data plane stopped");
        }
    })
}

struct DataPlane {
    source: Arc<dyn Blocks>,
    budget: Arc<MemoryBudget>,
    makers: Arc<Semaphore>,
}

impl DataPlane {
    fn cursor(&self, is_near: bool, request: FetchRequest, skip_frames: u64) -> Cursor {
        // lz4 costs more than the loopback device does.
        let codec = if is_near { BlockCodec::Plain } else { BlockCodec::Lz4 };
        let blocks = request.blocks.into_iter().map(BlockId::from).collect();
        let (source, budget) = (Arc::clone(&self.source), Arc::clone(&self.budget));
        Cursor::new(source, budget, codec, blocks, skip_frames)
    }

    fn send(&self, cursor: Cursor, credit: Credit) -> Chunks {
        let (chunks, stream) = mpsc::channel(CHUNKS_WAITING_MAX);
        tokio::spawn(send_all(Arc::clone(&self.makers), cursor, credit, chunks));
        ReceiverStream::new(stream)
    }
}

fn is_near<T>(request: &Request<T>) -> bool {
    request.remote_addr().is_some_and(|peer| peer.ip().is_loopback())
}

type Chunks = ReceiverStream<Result<FetchChunk, Status>>;

#[tonic::async_trait]
impl Data for DataPlane {
    type FetchStream = Chunks;
    type ReadStream = Chunks;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Chunks>, Status> {
        let cursor = self.cursor(is_near(&request), request.into_inner(), 0);
        Ok(Response::new(self.send(cursor, Credit { bytes: u64::MAX, requests: None })))
    }

    async fn read(
        &self,
        request: Request<Streaming<ReadRequest>>,
    ) -> Result<Response<Chunks>, Status> {
        let is_near = is_near(&request);
        let mut requests = request.into_inner();
        let first = requests.message().await?;
        let Some(ReadRequest { fetch: Some(fetch), skip_frames, credit_bytes }) = first else {
            return Err(Status::invalid_argument("the first message names no blocks"));
        };
        let cursor = self.cursor(is_near, fetch, skip_frames);
        let credit = Credit { bytes: credit_bytes, requests: Some(requests) };
        Ok(Response::new(self.send(cursor, credit)))
    }
}

/// The bytes that a reader still allows, and its requests for more.
struct Credit {
    bytes: u64,
    requests: Option<Streaming<ReadRequest>>,
}

impl Credit {
    /// Waits until the reader allows more; false when it is gone.
    async fn wait(&mut self) -> bool {
        let Some(requests) = &mut self.requests else { return false };
        match requests.message().await {
            Ok(Some(more)) => {
                self.bytes = self.bytes.saturating_add(more.credit_bytes);
                true
            }
            Ok(None) | Err(_) => false,
        }
    }
}

/// Sends until all is sent or the reader is gone.
async fn send_all(
    makers: Arc<Semaphore>,
    mut cursor: Cursor,
    mut credit: Credit,
    to_reader: mpsc::Sender<Result<FetchChunk, Status>>,
) {
    loop {
        let bytes = credit.bytes;
        let Ok(making) = Arc::clone(&makers).acquire_owned().await else { return };
        let piece = tokio::task::spawn_blocking(move || {
            let piece = cursor.next_piece(bytes);
            drop(making);
            (cursor, piece)
        });
        // Its runtime ends.
        let Ok((back, piece)) = piece.await else { return };
        cursor = back;
        let (chunks, pause) = match piece {
            Ok(piece) => piece,
            Err(error) => {
                let _gone = to_reader.send(Err(failed(&error))).await;
                return;
            }
        };
        for chunk in chunks {
            credit.bytes -= chunk.data.len() as u64;
            if to_reader.send(Ok(chunk)).await.is_err() {
                return;
            }
        }
        match pause {
            Pause::Piece => {}
            Pause::Credit if credit.wait().await => {}
            Pause::Credit | Pause::End => return,
        }
    }
}

fn failed(error: &FrameError) -> Status {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    Status::internal(format!("{error}: {}", cause.unwrap_or_default()))
}

impl Blocks for BlockStore {
    fn open(&self, block: BlockId) -> Option<Box<dyn Frames>> {
        let stored = self.block(block)?;
        Some(Box::new(StoredFrames { stored, reader: None }))
    }
}

/// A block of the store.
struct StoredFrames {
    stored: StoredBlock,
    /// Opened when first needed.
    reader: Option<SegmentReader>,
}

impl Frames for StoredFrames {
    fn frame(&mut self, number: usize, codec: BlockCodec) -> Result<Option<Bytes>, FrameError> {
        match &self.stored.block {
            Block::Held(held) => {
                let Some(batch) = held.batches.get(number) else { return Ok(None) };
                let batch = std::slice::from_ref(batch);
                let frame = encode_block(&self.stored.schema, batch, codec);
                frame.map(Some).map_err(FrameError::Encoding)
            }
            Block::OnDisk(segment, partition) => {
                let reader = match &mut self.reader {
                    Some(reader) => reader,
                    none => {
                        none.insert(segment.open(*partition, 0).map_err(FrameError::Unreadable)?)
                    }
                };
                reader.frame(number).map_err(FrameError::Unreadable)
            }
        }
    }
}
