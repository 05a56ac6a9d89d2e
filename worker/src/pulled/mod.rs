//! Programs, bindings and rows pulled by hash, each decoded once per executor.
//!
//! What was decoded is kept for the next task or job that names it, the least recently used given
//! up first. It counts in the worker's budget: what is kept only because it may be wanted again is
//! at most a part of it, and gives way, before any block is written to disk, to whoever needs room.

mod kept;

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::memory::{Class, Evict, Grant, MemoryBudget, Refused};
use crate::programs::{ProgramSource, TaskRows};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use futures::stream::{self, StreamExt, TryStreamExt};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{ContentHash, ProgramRef};
use gnist_operators::bindings::Bindings;
use gnist_operators::block::decode_block;
use gnist_operators::failure::failure_of;
use gnist_operators::program::Program;
use gnist_operators::source::Piece;
use gnist_proto::link::ContentSource;
use kept::{Decoded, Kept};

/// One part of the budget in so many is kept of rows at most.
const KEPT_PART: u64 = 4;

/// Limits of the programs and bindings that are kept, which are many and small: entries, and bytes.
const SMALL_ENTRIES_MAX: usize = 512;
const SMALL_BYTES_MAX: u64 = 32 << 20;

/// Blocks of rows that one task pulls at once.
const PULLS_MAX: usize = 4;

/// A decoded program takes about so many times the bytes of the encoded one.
const DECODED_PER_ENCODED: u64 = 4;

/// A decoded value, with its bytes taken from the budget as long as anyone has it.
#[derive(Debug)]
pub struct Counted<T> {
    value: T,
    grant: Option<Grant>,
}

impl<T> Counted<T> {
    /// A value that the budget does not count: it is part of the driver in this process.
    pub fn free(value: T) -> Arc<Self> {
        Arc::new(Self { value, grant: None })
    }

    fn bytes(&self) -> u64 {
        self.grant.as_ref().map_or(0, Grant::bytes)
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Programs, bindings and rows of one executor.
pub struct PulledPrograms {
    content: Mutex<Arc<dyn ContentSource>>,
    /// Set when the worker starts.
    budget: OnceLock<Arc<MemoryBudget>>,
    small: Mutex<Kept>,
    rows: Mutex<Kept>,
}

impl PulledPrograms {
    /// None yet; they are pulled from here.
    pub fn new(content: Arc<dyn ContentSource>) -> Self {
        Self {
            content: Mutex::new(content),
            budget: OnceLock::new(),
            small: Mutex::new(Kept::new(SMALL_ENTRIES_MAX)),
            rows: Mutex::new(Kept::new(usize::MAX)),
        }
    }

    async fn pull(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        let content = Arc::clone(&*lock(&self.content));
        content.content(hash).await
    }

    /// Returns the content of this name, decoded by whoever asks first.
    async fn get(
        &self,
        kept: &Mutex<Kept>,
        hash: ContentHash,
        decode: impl FnOnce(Bytes) -> Result<Decoded, Failure> + Send,
    ) -> Result<Decoded, Failure> {
        let cell = lock(kept).cell(hash);
        let fetch = || async { decode(self.pull(hash).await?) };
        let decoded = cell.get_or_try_init(fetch).await?.clone();
        drop(cell);
        let bytes_max = self.bytes_max(kept);
        let given_up = lock(kept).keep(hash, decoded.bytes(), bytes_max);
        drop(given_up);
        Ok(decoded)
    }

    fn bytes_max(&self, kept: &Mutex<Kept>) -> u64 {
        let limit = self.budget.get().map_or(u64::MAX, |budget| budget.limit_bytes());
        let part = limit / KEPT_PART;
        if std::ptr::eq(kept, &self.small) { part.min(SMALL_BYTES_MAX) } else { part }
    }

    /// Counts what is small, and what no task can do without.
    fn count<T>(&self, value: T, bytes: u64) -> Arc<Counted<T>> {
        let mut grant = self.grant();
        if let Some(grant) = &mut grant {
            grant.grow(bytes);
        }
        Arc::new(Counted { value, grant })
    }

    fn grant(&self) -> Option<Grant> {
        self.budget.get().map(|budget| Grant::empty(budget, Class::Fixed))
    }

    fn decode_rows(&self, block: &Bytes) -> Result<Decoded, Failure> {
        let mut grant = self.grant();
        if let Some(grant) = &mut grant {
            let length = block.len() as u64;
            grant.try_grow(length).map_err(|refused| no_memory(length, refused))?;
        }
        Ok(Decoded::Rows(Arc::new(Counted { value: decode_rows(block)?, grant })))
    }

    async fn piece(&self, piece: &Piece) -> Result<Arc<Counted<Vec<RecordBatch>>>, Failure> {
        match piece {
            Piece::Inline(block) => Ok(Counted::free(decode_rows(block)?)),
            Piece::Content { hash, .. } => {
                let decode = |block: Bytes| self.decode_rows(&block);
                match self.get(&self.rows, *hash, decode).await? {
                    Decoded::Rows(rows) => Ok(rows),
                    Decoded::Program(_) | Decoded::Bindings(_) => Err(wrong_kind(*hash)),
                }
            }
        }
    }
}

fn decode_rows(block: &Bytes) -> Result<Vec<RecordBatch>, Failure> {
    decode_block(block).map_err(|error| {
        let message = format!("decoding rows of a table in memory: {error}");
        Failure::new(ErrorKind::Internal, message)
    })
}

fn no_memory(bytes: u64, refused: Refused) -> Failure {
    let bytes = ByteSize(bytes);
    if let Refused::Disk(error) = refused {
        return failure_of(&error.into());
    }
    let message = format!("no memory for {bytes} of the rows of a table in memory: {refused}");
    Failure::new(ErrorKind::OutOfMemory, message)
        .with_help("give the workers more memory, or write the table to files")
}

fn wrong_kind(hash: ContentHash) -> Failure {
    Failure::new(ErrorKind::Internal, format!("`{hash}` is content of another kind"))
}

#[async_trait]
impl ProgramSource for PulledPrograms {
    async fn program(&self, program: ProgramRef) -> Result<Arc<Counted<Program>>, Failure> {
        let decode = |bytes: Bytes| {
            let decoded = Program::decode(program.kind, &bytes);
            let decoded = decoded.map_err(|error| failure_of(&error))?;
            let bytes = program.length_bytes * DECODED_PER_ENCODED;
            Ok(Decoded::Program(self.count(decoded, bytes)))
        };
        match self.get(&self.small, program.hash, decode).await? {
            Decoded::Program(decoded) => Ok(decoded),
            Decoded::Bindings(_) | Decoded::Rows(_) => Err(wrong_kind(program.hash)),
        }
    }

    async fn bindings(
        &self,
        _: ProgramRef,
        bindings: Option<ContentHash>,
    ) -> Result<Arc<Counted<Bindings>>, Failure> {
        let Some(hash) = bindings else { return Ok(Counted::free(Bindings::default())) };
        let decode = |bytes: Bytes| {
            let length = bytes.len() as u64;
            let decoded = Bindings::decode(bytes).map_err(|error| failure_of(&error))?;
            Ok(Decoded::Bindings(self.count(decoded, length)))
        };
        match self.get(&self.small, hash, decode).await? {
            Decoded::Bindings(decoded) => Ok(decoded),
            Decoded::Program(_) | Decoded::Rows(_) => Err(wrong_kind(hash)),
        }
    }

    async fn rows(
        &self,
        program: &Program,
        bindings: &Bindings,
        task: u32,
    ) -> Result<TaskRows, Failure> {
        let mut of_task = TaskRows::default();
        for (at, pieces) in program.rows_of(task, bindings) {
            let mut pulls = Vec::with_capacity(pieces.len());
            for piece in pieces {
                pulls.push(self.piece(piece));
            }
            let mut pulled = stream::iter(pulls).buffered(PULLS_MAX);
            let mut rows = Vec::new();
            while let Some(piece) = pulled.try_next().await? {
                rows.extend_from_slice(&piece);
                of_task.held.push(piece);
            }
            of_task.rows.insert(at, rows);
        }
        Ok(of_task)
    }

    fn count_in(self: Arc<Self>, budget: &Arc<MemoryBudget>) {
        let evict: Arc<dyn Evict> = Arc::clone(&self) as _;
        budget.evict_first_with(Arc::downgrade(&evict));
        let _already = self.budget.set(Arc::clone(budget));
    }

    fn settle(&self) {
        for kept in [&self.rows, &self.small] {
            let bytes_max = self.bytes_max(kept);
            let given_up = lock(kept).settle(bytes_max);
            drop(given_up);
        }
    }

    fn pull_from(&self, content: Arc<dyn ContentSource>) {
        *lock(&self.content) = content;
    }
}

/// Gives up what no task uses, rows first.
impl Evict for PulledPrograms {
    fn evict(&self, bytes: u64) -> io::Result<u64> {
        let mut given_up = lock(&self.rows).give_up(bytes);
        let freed: u64 = given_up.iter().map(Decoded::bytes).sum();
        if freed < bytes {
            given_up.extend(lock(&self.small).give_up(bytes - freed));
        }
        Ok(given_up.iter().map(Decoded::bytes).sum())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
