//! Blocks that all tasks of a stage read whole: fetched and decoded once per executor.
//!
//! Only what came from other workers is kept here; local blocks are in the block store already.
//! What does not fit the memory budget is not kept, and streamed by every task instead. What no
//! task reads at the moment is dropped when others need the room, and fetched again if need be.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use gnist_common::ids::{BlockId, JobId, StageId};
use gnist_common::task::OutputTable;
use tokio::sync::OnceCell;

use super::ordered::OrderedBlocks;
use super::{InputSource, ReadCounts, Wanted};
use crate::memory::{Class, Evict, Grant, Refused};

/// One part of the budget in so many that one broadcast may have.
const KEPT: u64 = 4;

type Cell = Arc<OnceCell<Option<Arc<SharedBlocks>>>>;

/// Fetched blocks of one version of a stage's output.
#[derive(Debug)]
pub(super) struct SharedBlocks {
    blocks: HashMap<BlockId, Arc<[RecordBatch]>>,
    grant: Grant,
}

impl SharedBlocks {
    pub(super) fn block(&self, id: BlockId) -> Option<Arc<[RecordBatch]>> {
        self.blocks.get(&id).cloned()
    }
}

/// The broadcasts that this executor shares among its tasks.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    cells: Mutex<HashMap<(StageId, u32), Cell>>,
}

impl Broadcasts {
    /// The remote blocks of this table, fetched by whoever asks first; nothing when they are too
    /// large to be kept.
    pub(super) async fn get(
        &self,
        source: &Arc<InputSource>,
        table: &Arc<OutputTable>,
        remote: Vec<Wanted>,
        counts: &Arc<ReadCounts>,
    ) -> Result<Option<Arc<SharedBlocks>>> {
        let cell = Arc::clone(self.cells().entry((table.stage, table.version)).or_default());
        let fetch = || fetch(Arc::clone(source), Arc::clone(table), remote, Arc::clone(counts));
        cell.get_or_try_init(fetch).await.cloned()
    }

    pub(super) fn drop_job(&self, job: JobId) {
        let mut cells = self.cells();
        let dropped: Vec<_> = cells.extract_if(|(stage, _), _| stage.job == job).collect();
        drop(cells);
        drop(dropped);
    }

    /// The oldest of those that nobody reads.
    fn take_unused(&self) -> Option<Cell> {
        let mut cells = self.cells();
        let unused = cells.iter().filter(|(_, cell)| is_unused(cell)).map(|(key, _)| *key).min()?;
        cells.remove(&unused)
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<(StageId, u32), Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if it is there, and no task has it or is about to.
fn is_unused(cell: &Cell) -> bool {
    let is_read = |shared: &Arc<SharedBlocks>| Arc::strong_count(shared) > 1;
    let shared = cell.get().and_then(Option::as_ref);
    Arc::strong_count(cell) == 1 && shared.is_some_and(|shared| !is_read(shared))
}

impl Evict for Broadcasts {
    fn evict(&self, bytes: u64) -> io::Result<u64> {
        let mut freed = 0;
        while freed < bytes
            && let Some(cell) = self.take_unused()
        {
            freed += cell.get().and_then(Option::as_ref).map_or(0, |shared| shared.grant.bytes());
        }
        Ok(freed)
    }
}

async fn fetch(
    source: Arc<InputSource>,
    table: Arc<OutputTable>,
    remote: Vec<Wanted>,
    counts: Arc<ReadCounts>,
) -> Result<Option<Arc<SharedBlocks>>> {
    let bytes: u64 = remote.iter().map(|block| block.bytes).sum();
    let bytes_max = source.budget.limit_bytes() / KEPT;
    if bytes > bytes_max {
        return Ok(None);
    }
    let mut grant = Grant::empty(&source.budget, Class::Fixed);
    let mut batches: HashMap<BlockId, Vec<RecordBatch>> = HashMap::new();
    let mut blocks = OrderedBlocks::new(source, table, remote, counts);
    while let Some((id, batch)) = blocks.next().await? {
        match grant.try_grow(get_record_batch_memory_size(&batch) as u64) {
            Ok(()) if grant.bytes() <= bytes_max => {}
            Ok(()) | Err(Refused::Full { .. }) => return Ok(None),
            Err(Refused::Disk(error)) => return Err(error.into()),
        }
        batches.entry(id).or_default().push(batch);
    }
    let blocks = batches.into_iter().map(|(id, batches)| (id, batches.into())).collect();
    Ok(Some(Arc::new(SharedBlocks { blocks, grant })))
}
