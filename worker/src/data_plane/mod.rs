//! The data plane: blocks to peers and to the driver, over gRPC.
//!
//! A block travels as the sequence of its frames, one batch each, cut into chunks by bytes, never
//! by rows. Blocks that are not here are named before anything else is sent. Frames are checked
//! where they are decoded, so damage on the disk and on the way is the same to a reader.

mod client;
mod server;

pub(crate) use client::DataPlaneClient;
pub(crate) use client::trouble;
pub(crate) use server::serve;
