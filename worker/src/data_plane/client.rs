//! Asks peers for blocks, over one connection per peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::BlockId;
use gnist_proto::connect::{connect, data_client};
use gnist_proto::wire::data::{FetchChunk, FetchRequest};
use tokio::sync::OnceCell;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Connections to peers, made when first needed.
#[derive(Debug, Default)]
pub(crate) struct DataPlaneClient {
    channels: Mutex<HashMap<String, Arc<OnceCell<Channel>>>>,
}

impl DataPlaneClient {
    /// Begins to fetch blocks from a peer at `HOST:PORT`, in this order.
    ///
    /// # Errors
    /// `Transient` when it can't be reached or does not answer.
    pub(crate) async fn fetch(
        &self,
        address: &str,
        blocks: &[BlockId],
    ) -> Result<Streaming<FetchChunk>, Failure> {
        let channel = self.channel(address);
        let channel = channel.get_or_try_init(|| connect(address)).await?.clone();
        let blocks = blocks.iter().map(|block| (*block).into()).collect();
        let request = FetchRequest { ticket: bytes::Bytes::new(), blocks };
        let response = data_client(channel).fetch(request).await;
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

/// A broken conversation with a peer.
pub(crate) fn trouble(address: &str, status: &Status) -> Failure {
    let message = format!("fetching from `{address}`: {}", status.message());
    Failure::new(ErrorKind::Transient, message)
}
