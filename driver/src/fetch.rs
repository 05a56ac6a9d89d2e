//! Fetching result blocks from the workers that hold them, over one kept connection each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{BlockId, WorkerId};
use gnist_operators::block::{BlockError, decode_block};
use gnist_proto::connect;
use gnist_proto::lost::LostWorkers;
use gnist_proto::wire::data::{Block, FetchChunk, FetchRequest};
use tokio::sync::OnceCell;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::partition::Partition;

/// Limit of the memory, in bytes, that is reserved because a peer announces so much.
const FRAME_RESERVE_MAX: usize = 256 << 20;

/// Connections to workers, made when first needed.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    channels: Mutex<HashMap<String, Arc<OnceCell<Channel>>>>,
    lost: LostWorkers,
}

impl Fetcher {
    /// Ends every fetch from a worker that was declared lost.
    pub(crate) fn lose(&self, worker: WorkerId) {
        self.lost.add(worker);
    }

    /// Fetches one block whole, checked; nothing once its worker is lost.
    ///
    /// # Errors
    /// `Transient`, when its worker does not answer, does not have it any more or has damaged it:
    /// the manager will have it recomputed, and say where it is then. `DiskFull`, when a block that
    /// is too large to be held finds no room here.
    pub(crate) async fn fetch_unless_lost(
        &self,
        worker: WorkerId,
        address: &str,
        block: BlockId,
    ) -> Option<Result<Partition, Failure>> {
        let fetched = self.lost.unless_lost(worker, self.fetch(address, block)).await;
        if fetched.is_none() {
            self.channels().remove(address);
        }
        fetched
    }

    async fn fetch(&self, address: &str, block: BlockId) -> Result<Partition, Failure> {
        let fetched = self.try_fetch(address, block).await;
        if fetched.is_err() {
            self.channels().remove(address);
        }
        fetched.map_err(|failure| {
            let message =
                format!("fetching the result block `{block}` from `{address}`: {failure}");
            Failure::new(failure.kind, message)
        })
    }

    async fn try_fetch(&self, address: &str, block: BlockId) -> Result<Partition, Failure> {
        let mut chunks = self.request(address, block).await?;
        let mut partition = Partition::default();
        let (mut partial, mut frame_bytes) = (Vec::new(), 0);
        while let Some(chunk) = chunks.message().await.map_err(|status| transient(&status))? {
            if chunk.missing {
                return Err(Failure::new(ErrorKind::Transient, "it is not there any more"));
            }
            if chunk.frame_bytes > 0 {
                frame_bytes = chunk.frame_bytes;
                // An allocation of its own: Arrow takes its buffers as they are.
                partial = Vec::with_capacity(reserved(frame_bytes));
            }
            partial.extend_from_slice(&chunk.data);
            if !partial.is_empty() && partial.len() as u64 == frame_bytes {
                let frame = Bytes::from(std::mem::take(&mut partial));
                let batches = decode(frame.clone()).await?;
                partition.push(frame, batches).await?;
            }
            if chunk.last && partial.is_empty() {
                return Ok(partition);
            }
        }
        Err(Failure::new(ErrorKind::Transient, "it broke off"))
    }

    async fn request(
        &self,
        address: &str,
        block: BlockId,
    ) -> Result<Streaming<FetchChunk>, Failure> {
        let channel = Arc::clone(self.channels().entry(address.to_owned()).or_default());
        let channel = channel.get_or_try_init(|| connect::connect(address)).await?.clone();
        let task = block.attempt.task;
        let wanted = Block {
            application: task.stage.job.application.0,
            job: task.stage.job.ordinal,
            stage: task.stage.ordinal,
            task: task.partition,
            attempt: block.attempt.attempt,
            partition: block.partition,
        };
        let request = FetchRequest { ticket: Bytes::new(), blocks: vec![wanted] };
        let response = connect::data_client(channel).fetch(request).await;
        Ok(response.map_err(|status| transient(&status))?.into_inner())
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Channel>>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The room that is made for a frame before it has come; a longer one grows.
fn reserved(frame_bytes: u64) -> usize {
    usize::try_from(frame_bytes).map_or(FRAME_RESERVE_MAX, |bytes| bytes.min(FRAME_RESERVE_MAX))
}

/// Checks and decodes a frame, where it does not hold up a conversation.
///
/// # Errors
/// `Transient`, when it is damaged.
pub(crate) async fn decode(frame: Bytes) -> Result<Vec<RecordBatch>, Failure> {
    let decoded = tokio::task::spawn_blocking(move || decode_block(&frame)).await;
    let decoded = decoded
        .map_err(|error| Failure::new(ErrorKind::Panic, format!("decoding a result: {error}")))?;
    decoded.map_err(|error| damaged(&error))
}

fn transient(status: &Status) -> Failure {
    Failure::new(ErrorKind::Transient, status.to_string())
}

fn damaged(error: &BlockError) -> Failure {
    Failure::new(ErrorKind::Transient, format!("it came damaged: {error}"))
}

#[cfg(test)]
pub(crate) mod tests;
