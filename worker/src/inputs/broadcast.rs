//! Blocks that all tasks of a stage read whole: fetched and decoded once per executor.
//!
//! Only what came from other workers is kept here; local blocks are in the block store already.
//! What would fill the memory budget is not kept, and streamed by every task instead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use gnist_common::ids::{BlockId, JobId, StageId};
use gnist_common::task::OutputTable;
use tokio::sync::OnceCell;

use super::ordered::OrderedBlocks;
use super::{InputSource, ReadCounts, Wanted};
use crate::memory::{Class, Grant};

type Cell = Arc<OnceCell<Option<Arc<SharedBlocks>>>>;

/// Fetched blocks of one version of a stage's output.
#[derive(Debug)]
pub(super) struct SharedBlocks {
    blocks: HashMap<BlockId, Arc<[RecordBatch]>>,
    _grant: Grant,
}

impl SharedBlocks {
    pub(super) fn block(&self, id: BlockId) -> Option<Arc<[RecordBatch]>> {
        self.blocks.get(&id).cloned()
    }
}

/// What this executor shares among its tasks.
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

    fn cells(&self) -> MutexGuard<'_, HashMap<(StageId, u32), Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(
    source: Arc<InputSource>,
    table: Arc<OutputTable>,
    remote: Vec<Wanted>,
    counts: Arc<ReadCounts>,
) -> Result<Option<Arc<SharedBlocks>>> {
    let bytes: u64 = remote.iter().map(|block| block.bytes).sum();
    let mut grant = Grant::empty(&source.budget, Class::Fixed);
    if bytes > source.budget.limit_bytes() / 4 || grant.try_grow(bytes).is_err() {
        return Ok(None);
    }
    let mut batches: HashMap<BlockId, Vec<RecordBatch>> = HashMap::new();
    let mut blocks = OrderedBlocks::new(source, table, remote, counts);
    while let Some((id, batch)) = blocks.next().await? {
        batches.entry(id).or_default().push(batch);
    }
    let blocks = batches.into_iter().map(|(id, batches)| (id, batches.into())).collect();
    Ok(Some(Arc::new(SharedBlocks { blocks, _grant: grant })))
}
