//! Scans of a program, partition by partition: files and rows in memory.
//!
//! They are no part of the program, so that the same query on other files is the same program, and
//! a task decodes its own files only:
//!
//! ```text
//! driver: leaf of the plan ──▶ in the program: an ordinal and what does not depend on the files
//!                          └─▶ Scanned ──▶ Bound, in the bindings: a group of files a partition,
//!                                          or blocks of rows, small ones inline, others by hash
//! executor: Bound ──rows of one partition pulled──▶ Sources ──▶ leaf of one task's instance
//! ```

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use gnist_common::graph::ContentHash;
use prost::Message;

/// The files or rows that one leaf of a plan scans, as the driver has them.
#[derive(Clone, Debug)]
pub enum Scanned {
    /// An encoded group of files per partition.
    Files(Vec<Bytes>),
    /// The batches of every partition.
    Rows(Vec<Vec<RecordBatch>>),
}

impl Scanned {
    /// Returns true if both are the same files or the very same batches.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Files(one), Self::Files(other)) => one == other,
            (Self::Rows(one), Self::Rows(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| are_same(one, other))
            }
            (Self::Files(_), Self::Rows(_)) | (Self::Rows(_), Self::Files(_)) => false,
        }
    }
}

fn are_same(one: &[RecordBatch], other: &[RecordBatch]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            one.num_rows() == other.num_rows()
                && one.num_columns() == other.num_columns()
                && one.num_columns() > 0
                && one.columns().iter().zip(other.columns()).all(|(a, b)| Arc::ptr_eq(a, b))
        })
}

/// The tasks that a leaf is for: those of one branch of a union, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first of them.
    pub(crate) first: u32,
    /// Number of them.
    pub(crate) count: u32,
    /// True if every task drives all partitions, which a recursive query does.
    pub(crate) is_whole: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self { first: 0, count: u32::MAX, is_whole: false }
    }
}

/// A leaf's place on the wire, in the order of the leaves' ordinals.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaceMessage {
    #[prost(uint32, tag = "1")]
    first: u32,
    #[prost(uint32, tag = "2")]
    count: u32,
    #[prost(bool, tag = "3")]
    is_whole: bool,
}

impl From<Place> for PlaceMessage {
    fn from(place: Place) -> Self {
        Self { first: place.first, count: place.count, is_whole: place.is_whole }
    }
}

impl PlaceMessage {
    /// The partitions of a leaf of `partitions` that task number `task` scans.
    pub(crate) fn partitions_of(&self, task: u32, partitions: u32) -> std::ops::Range<u32> {
        if self.is_whole {
            return 0..partitions;
        }
        match task.checked_sub(self.first) {
            Some(within) if within < self.count && partitions == 1 => 0..1,
            Some(within) if within < self.count.min(partitions) => within..within + 1,
            _ => 0..0,
        }
    }
}

/// Some rows of a partition, as they travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A block that is part of the bindings.
    Inline(Bytes),
    /// A block that is content of its own.
    Content {
        /// The name.
        hash: ContentHash,
        /// The size.
        bytes: u64,
    },
}

/// The files or rows that one leaf of a plan scans, as they travel in the bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// An encoded group of files per partition.
    Files(Vec<Bytes>),
    /// The pieces of every partition.
    Rows(Vec<Vec<Piece>>),
}

impl Bound {
    fn partitions(&self) -> usize {
        match self {
            Self::Files(groups) => groups.len(),
            Self::Rows(partitions) => partitions.len(),
        }
    }
}

/// A [`Bound`] on the wire.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BoundMessage {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
    #[prost(message, repeated, tag = "2")]
    rows: Vec<PartitionMessage>,
    #[prost(bool, tag = "3")]
    is_rows: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PartitionMessage {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PieceMessage {
    /// Empty for a piece that is content of its own.
    #[prost(bytes = "bytes", tag = "1")]
    block: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    hash: Bytes,
    #[prost(uint64, tag = "3")]
    bytes: u64,
}

impl From<&Bound> for BoundMessage {
    fn from(bound: &Bound) -> Self {
        match bound {
            Bound::Files(files) => Self { files: files.clone(), ..Self::default() },
            Bound::Rows(partitions) => {
                let partition = |pieces: &Vec<Piece>| PartitionMessage {
                    pieces: pieces.iter().map(PieceMessage::from).collect(),
                };
                let rows = partitions.iter().map(partition).collect();
                Self { files: Vec::new(), rows, is_rows: true }
            }
        }
    }
}

impl From<&Piece> for PieceMessage {
    fn from(piece: &Piece) -> Self {
        match piece {
            Piece::Inline(block) => Self { block: block.clone(), ..Self::default() },
            Piece::Content { hash, bytes } => {
                let hash = Bytes::copy_from_slice(&hash.0);
                Self { block: Bytes::new(), hash, bytes: *bytes }
            }
        }
    }
}

impl TryFrom<BoundMessage> for Bound {
    type Error = datafusion::common::DataFusionError;

    fn try_from(message: BoundMessage) -> Result<Self> {
        if !message.is_rows {
            return Ok(Self::Files(message.files));
        }
        let partition = |partition: PartitionMessage| {
            partition.pieces.into_iter().map(Piece::try_from).collect::<Result<Vec<_>>>()
        };
        Ok(Self::Rows(message.rows.into_iter().map(partition).collect::<Result<_>>()?))
    }
}

impl TryFrom<PieceMessage> for Piece {
    type Error = datafusion::common::DataFusionError;

    fn try_from(message: PieceMessage) -> Result<Self> {
        if !message.block.is_empty() {
            return Ok(Self::Inline(message.block));
        }
        let hash = <[u8; 32]>::try_from(&*message.hash);
        let hash = hash.map_err(|_| internal_datafusion_err!("a piece of rows has no name"))?;
        Ok(Self::Content { hash: ContentHash(hash), bytes: message.bytes })
    }
}

/// The source of the files and rows for the leaves of a decoded plan.
pub trait Sources: Debug {
    /// Number of partitions of a leaf.
    ///
    /// # Errors
    /// Internal, when there is no such leaf.
    fn partitions(&self, leaf: u32) -> Result<u32>;

    /// The encoded group of files of a partition.
    ///
    /// # Errors
    /// Internal, when the leaf does not scan files.
    fn files(&self, leaf: u32, partition: u32) -> Result<Bytes>;

    /// The batches of a partition.
    ///
    /// # Errors
    /// Internal, when the leaf does not scan rows, or those of another partition.
    fn rows(&self, leaf: u32, partition: u32) -> Result<Vec<RecordBatch>>;
}

fn count(partitions: usize) -> u32 {
    u32::try_from(partitions).expect("partition counts are u32")
}

fn group(groups: &[Bytes], partition: u32) -> Result<Bytes> {
    let group = groups.get(partition as usize).cloned();
    group.ok_or_else(|| internal_datafusion_err!("no files are bound for partition {partition}"))
}

/// All leaves as the driver has them.
impl Sources for Vec<Scanned> {
    fn partitions(&self, leaf: u32) -> Result<u32> {
        match self.get(leaf as usize) {
            Some(Scanned::Files(groups)) => Ok(count(groups.len())),
            Some(Scanned::Rows(partitions)) => Ok(count(partitions.len())),
            None => internal_err!("nothing is bound to leaf {leaf}"),
        }
    }

    fn files(&self, leaf: u32, partition: u32) -> Result<Bytes> {
        match self.get(leaf as usize) {
            Some(Scanned::Files(groups)) => group(groups, partition),
            _ => internal_err!("no files are bound to leaf {leaf}"),
        }
    }

    fn rows(&self, leaf: u32, partition: u32) -> Result<Vec<RecordBatch>> {
        match self.get(leaf as usize) {
            Some(Scanned::Rows(rows)) if (partition as usize) < rows.len() => {
                Ok(rows[partition as usize].clone())
            }
            _ => internal_err!("no rows are bound to leaf {leaf}"),
        }
    }
}

/// The input of one task: the bindings, and the rows of its partitions.
#[derive(Debug)]
pub struct TaskSources<'a> {
    /// The leaves, by their ordinals.
    pub bound: &'a [Bound],
    /// The batches that [`crate::program::Program::rows_of`] named, by leaf and partition.
    pub rows: HashMap<(u32, u32), Vec<RecordBatch>>,
}

impl Sources for TaskSources<'_> {
    fn partitions(&self, leaf: u32) -> Result<u32> {
        let bound = self.bound.get(leaf as usize);
        let bound =
            bound.ok_or_else(|| internal_datafusion_err!("nothing bound to leaf {leaf}"))?;
        Ok(count(bound.partitions()))
    }

    fn files(&self, leaf: u32, partition: u32) -> Result<Bytes> {
        match self.bound.get(leaf as usize) {
            Some(Bound::Files(groups)) => group(groups, partition),
            _ => internal_err!("no files are bound to leaf {leaf}"),
        }
    }

    fn rows(&self, leaf: u32, partition: u32) -> Result<Vec<RecordBatch>> {
        let rows = self.rows.get(&(leaf, partition)).cloned();
        rows.ok_or_else(|| internal_datafusion_err!("no rows are bound to leaf {leaf}"))
    }
}
