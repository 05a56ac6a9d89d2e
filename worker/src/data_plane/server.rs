//! Serves blocks.
//!
//! Encoding is CPU work and reading a segment blocks: both happen on blocking threads, one per
//! request, held back by a bounded channel. The threads of the IO runtime only move bytes.

use std::sync::Arc;

use bytes::Bytes;
use gnist_common::ids::{BlockId, WorkerId};
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_proto::connect::{CHUNK_BYTES, Listener, data_server};
use gnist_proto::wire::data::data_server::Data;
use gnist_proto::wire::data::{FetchChunk, FetchRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::blocks::{Block, BlockStore, StoredBlock};

/// Chunks that wait for a slow reader.
const CHUNKS_WAITING_MAX: usize = 4;

/// Serves the store on the runtime this is called on, until the handle is aborted.
pub(crate) fn serve(
    listener: Listener,
    worker: WorkerId,
    store: Arc<BlockStore>,
) -> JoinHandle<()> {
    let server = gnist_proto::connect::server().add_service(data_server(DataPlane { store }));
    tokio::spawn(async move {
        if let Err(error) = server.serve_with_incoming(listener.into_incoming()).await {
            tracing::error!(%worker, %error, "the data plane stopped");
        }
    })
}

struct DataPlane {
    store: Arc<BlockStore>,
}

#[tonic::async_trait]
impl Data for DataPlane {
    type FetchStream = ReceiverStream<Result<FetchChunk, Status>>;

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let is_near = request.remote_addr().is_some_and(|peer| peer.ip().is_loopback());
        // lz4 costs more than the loopback device does.
        let codec = if is_near { BlockCodec::Plain } else { BlockCodec::Lz4 };
        let ids = request.into_inner().blocks.into_iter().map(BlockId::from).collect();
        let (chunks, stream) = mpsc::channel(CHUNKS_WAITING_MAX);
        let sending = Sending { store: Arc::clone(&self.store), codec, chunks };
        tokio::task::spawn_blocking(move || sending.send_all(ids));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The reader is gone: nobody is left to tell.
struct ReaderGone;

struct Sending {
    store: Arc<BlockStore>,
    codec: BlockCodec,
    chunks: mpsc::Sender<Result<FetchChunk, Status>>,
}

impl Sending {
    fn send_all(self, ids: Vec<BlockId>) {
        let blocks: Vec<_> = ids.iter().map(|id| self.store.block(*id)).collect();
        let missing = (0_u32..).zip(&blocks).filter(|(_, block)| block.is_none());
        for (index, _) in missing {
            if self.send_missing(index).is_err() {
                return;
            }
        }
        for (index, block) in (0_u32..).zip(blocks) {
            let Some(block) = block else { continue };
            if self.send_block(index, &block).is_err() {
                return;
            }
        }
    }

    fn send_block(&self, index: u32, stored: &StoredBlock) -> Result<(), ReaderGone> {
        let sent = match &stored.block {
            Block::Held(held) => held.batches.iter().try_for_each(|batch| {
                let batch = std::slice::from_ref(batch);
                match encode_block(&stored.schema, batch, self.codec) {
                    Ok(frame) => self.send_frame(index, &frame),
                    Err(error) => self.fail(&error.to_string()),
                }
            }),
            Block::OnDisk(segment, partition) => match segment.open(*partition) {
                Ok(mut reader) => loop {
                    match reader.next_frame() {
                        Ok(Some(frame)) => self.send_frame(index, &frame)?,
                        Ok(None) => break Ok(()),
                        // Unreadable is as good as not there: it is recomputed.
                        Err(_) => return self.send_missing(index),
                    }
                },
                Err(_) => return self.send_missing(index),
            },
        };
        sent?;
        self.send(FetchChunk { index, data: Bytes::new(), last: true, missing: false })
    }

    fn send_frame(&self, index: u32, frame: &Bytes) -> Result<(), ReaderGone> {
        for start in (0..frame.len()).step_by(CHUNK_BYTES) {
            let data = frame.slice(start..frame.len().min(start + CHUNK_BYTES));
            self.send(FetchChunk { index, data, last: false, missing: false })?;
        }
        Ok(())
    }

    fn send_missing(&self, index: u32) -> Result<(), ReaderGone> {
        self.send(FetchChunk { index, data: Bytes::new(), last: true, missing: true })
    }

    fn send(&self, chunk: FetchChunk) -> Result<(), ReaderGone> {
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| ReaderGone)
    }

    fn fail(&self, reason: &str) -> Result<(), ReaderGone> {
        let status = Status::internal(format!("encoding a block: {reason}"));
        let _gone = self.chunks.blocking_send(Err(status));
        Err(ReaderGone)
    }
}
