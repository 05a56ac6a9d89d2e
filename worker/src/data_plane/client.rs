//! Asks peers for blocks, over one connection per peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, stream};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::BlockId;
use gnist_proto::connect::{connect, data_client};
use gnist_proto::wire::data::{FetchChunk, FetchRequest, ReadRequest};
use tokio::sync::{OnceCell, watch};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Connections to peers, made when first needed.
#[derive(Debug, Default)]
pub(crate) struct DataPlaneClient {
    channels: Mutex<HashMap<String, Arc<OnceCell<Channel>>>>,
}

impl DataPlaneClient {
    /// Begins to read blocks of a peer at `HOST:PORT`, in this order, without the first frames of
    /// the first block, as far as `allowed` goes.
    ///
    /// # Errors
    /// `Transient` when it can't be reached or does not answer.
    pub(crate) async fn read(
        &self,
        address: &str,
        blocks: &[BlockId],
        skip_frames: u64,
        allowed: Allowed,
    ) -> Result<Streaming<FetchChunk>, Failure> {
        let channel = self.channel(address);
        let channel = channel.get_or_try_init(|| connect(address)).await?.clone();
        let blocks = blocks.iter().map(|block| (*block).into()).collect();
        let fetch = FetchRequest { ticket: bytes::Bytes::new(), blocks };
        let first = ReadRequest { fetch: Some(fetch), skip_frames, credit_bytes: 0 };
        let response = data_client(channel).read(allowed.into_requests(first)).await;
        let response = response.map_err(|status| {
            self.forget(address);
            trouble(address, &status)
        })?;
        Ok(response.into_inner())
    }

    /// Makes the next fetch from this peer connect anew.
    pub(crate) fn forget(&self, address: &str) {
        self.lock().remove(address);
    }

    fn channel(&self, address: &str) -> Arc<OnceCell<Channel>> {
        Arc::clone(self.lock().entry(address.to_owned()).or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OnceCell<Channel>>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of frames that a peer may send: cumulative, so that a slow connection merges changes.
pub(crate) struct Allowed {
    pub(crate) bytes: watch::Receiver<u64>,
    /// Allowed before this conversation, and used.
    pub(crate) told_bytes: u64,
}

impl Allowed {
    /// The first request, and another one whenever more is allowed.
    fn into_requests(mut self, first: ReadRequest) -> impl Stream<Item = ReadRequest> {
        self.bytes.mark_changed();
        stream::unfold((self, first), |(mut allowed, request)| async move {
            allowed.bytes.changed().await.ok()?;
            let bytes = *allowed.bytes.borrow_and_update();
            let credit_bytes = bytes - std::mem::replace(&mut allowed.told_bytes, bytes);
            Some((ReadRequest { credit_bytes, ..request }, (allowed, ReadRequest::default())))
        })
    }
}

/// A broken conversation with a peer.
pub(crate) fn trouble(address: &str, status: &Status) -> Failure {
    let message = format!("fetching from `{address}`: {}", status.message());
    Failure::new(ErrorKind::Transient, message)
}
