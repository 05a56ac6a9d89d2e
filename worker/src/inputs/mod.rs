//! The inputs that the programs of an executor read from other stages.
//!
//! ```text
//! StageReaderExec ─read─▶ TaskReader ─▶ table: where are the blocks? (pulled once per executor,
//!                                        │      waited for by attempts that were launched early)
//!                                        │
//!                     in task order ◀────┼── local: from the block store, not copied
//!                                        ├── remote: one request per worker, prefetched
//!                                        └── broadcast: fetched once per executor
//! ```
//!
//! Invariant: rows arrive in the order of the producer's tasks, whatever arrives first, so that a
//! second attempt sees the same rows in the same order.

mod broadcast;
mod credit;
mod ordered;
mod remote;
mod tables;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use gnist_common::graph::InputMode;
use gnist_common::ids::{BlockId, JobId, WorkerId};
use gnist_common::task::{LaunchInput, OutputTable};
use gnist_operators::exchange::{BlockSelection, StageInputs};
use gnist_proto::lost::LostWorkers;
use tokio::runtime::Handle;

use crate::blocks::BlockStore;
use crate::data_plane::DataPlaneClient;
use crate::memory::{Evict, MemoryBudget};
use broadcast::Broadcasts;
use credit::ReadAhead;
use ordered::OrderedBlocks;
pub use tables::Tables;
pub(crate) use tables::external;

/// The source of an executor's inputs.
pub struct InputSource {
    pub(crate) worker: WorkerId,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) tables: Tables,
    pub(crate) client: Arc<DataPlaneClient>,
    /// The runtime on which fetches run.
    pub(crate) io: Handle,
    lost: Arc<LostWorkers>,
    ahead: Arc<ReadAhead>,
    broadcasts: Arc<Broadcasts>,
}

impl InputSource {
    /// Inputs of an executor of this worker, which fetch on the runtime `io`.
    pub fn new(
        worker: WorkerId,
        store: Arc<BlockStore>,
        budget: Arc<MemoryBudget>,
        tables: Tables,
        io: Handle,
    ) -> Arc<Self> {
        let (client, lost) = (Arc::default(), Arc::default());
        let ahead = ReadAhead::new(&budget);
        let broadcasts = Arc::<Broadcasts>::default();
        let evict: Arc<dyn Evict> = broadcasts.clone();
        budget.evict_with(Arc::downgrade(&evict));
        Arc::new(Self { worker, store, budget, tables, client, io, lost, ahead, broadcasts })
    }

    /// Ends every fetch from a worker that was declared lost.
    pub fn lose(&self, worker: WorkerId) {
        self.lost.add(worker);
    }

    /// Forgets tables and broadcasts of a job.
    pub fn drop_job(&self, job: JobId) {
        self.tables.drop_job(job);
        self.broadcasts.drop_job(job);
    }
}

/// Counts of what one attempt read.
#[derive(Debug, Default)]
pub struct ReadCounts {
    rows: AtomicU64,
    bytes: AtomicU64,
    fetched: AtomicU64,
}

impl ReadCounts {
    /// Rows read.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes read, as the producers counted them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that came over the data plane.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    pub(crate) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_fetched(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A block that a reader wants, and who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) id: BlockId,
    pub(crate) worker: WorkerId,
    pub(crate) bytes: u64,
}

/// The inputs of one attempt.
pub struct TaskReader {
    source: Arc<InputSource>,
    inputs: Vec<LaunchInput>,
    /// Tasks of the reading stage: what many of them read whole is worth keeping.
    tasks: u32,
    counts: Arc<ReadCounts>,
}

impl fmt::Debug for TaskReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskReader").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl TaskReader {
    /// The inputs of an attempt of a stage of so many tasks.
    pub fn new(source: Arc<InputSource>, inputs: Vec<LaunchInput>, tasks: u32) -> Self {
        Self { source, inputs, tasks, counts: Arc::default() }
    }

    /// Waits until all that the attempt reads is there. One that was launched early waits here, and
    /// has read nothing when it is told to give way.
    ///
    /// # Errors
    /// When the manager is gone, or an input has lost outputs since the launch.
    pub async fn wait(&self) -> Result<()> {
        for launched in &self.inputs {
            self.source.tables.get(launched.input.stage, launched.version).await?;
        }
        Ok(())
    }

    /// Returns the counts of what was read so far.
    pub fn counts(&self) -> Arc<ReadCounts> {
        Arc::clone(&self.counts)
    }
}

impl StageInputs for TaskReader {
    fn read(
        &self,
        input: usize,
        selection: BlockSelection,
        schema: SchemaRef,
    ) -> Result<SendableRecordBatchStream> {
        let launched = *self
            .inputs
            .get(input)
            .ok_or_else(|| internal_datafusion_err!("the stage has no input number {input}"))?;
        let is_shared = launched.input.mode == InputMode::All
            && selection == BlockSelection::All
            && self.tasks > 1;
        let source = Arc::clone(&self.source);
        let counts = Arc::clone(&self.counts);
        let read_as = Arc::clone(&schema);
        let open = async move {
            let table = source.tables.get(launched.input.stage, launched.version).await?;
            let wanted = select(&table, selection)?;
            counts.add_bytes(wanted.iter().map(|block| block.bytes).sum());
            let mut blocks = OrderedBlocks::new(source, table, wanted, Arc::clone(&counts));
            if is_shared {
                blocks.share().await?;
            }
            Ok::<_, DataFusionError>(blocks.into_stream())
        };
        let batches = stream::once(open).try_flatten().map(move |batch| {
            // Metadata may differ after a journey; names and types do not.
            batch.and_then(|batch| Ok(batch.with_schema(Arc::clone(&read_as))?))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches.boxed())))
    }
}

/// The blocks of a selection that hold rows, in task order.
fn select(table: &OutputTable, selection: BlockSelection) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for (task, output) in (0_u32..).zip(&table.outputs) {
        let partitions = match selection {
            BlockSelection::Task(only) | BlockSelection::Block { task: only, .. }
                if only != task =>
            {
                continue;
            }
            BlockSelection::Partition(partition) | BlockSelection::Block { partition, .. } => {
                partition..partition + 1
            }
            BlockSelection::All | BlockSelection::Task(_) => {
                0..u32::try_from(output.bytes.len()).expect("partition counts are u32")
            }
        };
        for partition in partitions {
            let bytes = *output.bytes.get(partition as usize).ok_or_else(|| {
                internal_datafusion_err!("`{}` has no partition {partition}", output.attempt)
            })?;
            if bytes > 0 {
                let id = output.attempt.block(partition);
                wanted.push(Wanted { id, worker: output.worker, bytes });
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod many_runs;
#[cfg(test)]
mod tests;
