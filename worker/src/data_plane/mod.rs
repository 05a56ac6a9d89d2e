//! The data plane: blocks to peers and to the driver, over gRPC.
//!
//! A block travels as the sequence of its frames, one batch each, cut into chunks by bytes, never
//! by rows. Blocks that are not here are named before anything else is sent. Frames are checked
//! where they are decoded, so damage on the disk and on the way is the same to a reader.

mod client;
mod cursor;
mod server;

use bytes::Bytes;
use gnist_common::ids::BlockId;
use gnist_operators::block::{BlockCodec, BlockError};

pub(crate) use client::{Allowed, DataPlaneClient, trouble};
pub(crate) use server::serve;

/// The blocks that a data plane serves.
pub(crate) trait Blocks: Send + Sync + 'static {
    /// A block, if it is here. Opened again and again while it is sent, so that what goes to disk
    /// meanwhile is freed.
    fn open(&self, block: BlockId) -> Option<Box<dyn Frames>>;
}

/// One block, as the sequence of its frames: the same ones whether it is in memory or on disk.
pub(crate) trait Frames: Send {
    /// A frame by its number, nothing after the last.
    ///
    /// # Errors
    /// When it can't be read or encoded.
    fn frame(&mut self, number: usize, codec: BlockCodec) -> Result<Option<Bytes>, FrameError>;
}

/// Reasons why a frame can't be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// Unreadable is as good as not there: the block is recomputed.
    #[error("reading a block")]
    Unreadable(#[source] std::io::Error),
    /// Arrow refused a batch.
    #[error("encoding a block")]
    Encoding(#[source] BlockError),
}
