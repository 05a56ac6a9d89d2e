//! The block store: what attempts made, until its last reader is done. One mechanism for shuffle,
//! broadcast and results.
//!
//! ```text
//! Placer ──batches──▶ OutputWriter ──seal──▶ BlockStore ──▶ readers in this process (no copy)
//!                        │ no memory            │ no memory  └▶ data plane ▶ peers, driver
//!                        ▼                      ▼
//!                     Segment: one file an attempt, frames by output partition
//! ```
//!
//! A sealed output is wholly in memory or wholly on disk. On disk and on the wire a block is a
//! sequence of frames, one batch each (see `gnist_operators::block`): every frame has its own
//! checksum, readers never need a whole block at once, and a decoded batch shares its buffers with
//! no other, so that counting its memory counts it once.
//!
//! Invariant: the store's lock is never held while a file is read or written.

mod segment;
mod store;
mod writer;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use gnist_operators::block::BlockError;

pub use segment::{Segment, SegmentReader, SegmentWriter};
pub use store::BlockStore;
pub(crate) use store::Removed;
pub use writer::{OutputWriter, Sealed};

use crate::memory::Grant;

/// One output partition of one attempt, in memory.
#[derive(Debug)]
pub struct HeldBlock {
    /// Batches of the partition, in order.
    pub batches: Vec<RecordBatch>,
    /// The memory of the batches, given back when the last reader is done.
    grant: Grant,
}

/// One output partition of one attempt, as a reader gets it.
#[derive(Clone, Debug)]
pub enum Block {
    /// Batches in memory.
    Held(Arc<HeldBlock>),
    /// Frames of this output partition in a segment.
    OnDisk(Arc<Segment>, u32),
}

/// A block and the schema of its batches.
#[derive(Clone, Debug)]
pub struct StoredBlock {
    /// The schema of every batch.
    pub schema: SchemaRef,
    /// The block, in memory or on disk.
    pub block: Block,
}

/// DataFusion's form of an error met while reading or writing blocks of one's own.
pub(crate) fn block_error(error: BlockError) -> DataFusionError {
    match error {
        BlockError::Arrow(error) => error.into(),
        damaged @ BlockError::Damaged { .. } => DataFusionError::External(Box::new(damaged)),
    }
}

#[cfg(test)]
mod tests;
