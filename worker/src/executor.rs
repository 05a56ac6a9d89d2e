//! What all attempts of a worker share, and the context that each runs in.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::{ConfigNonZeroUsize, ConfigOptions, SpillCompression};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use gnist_common::error::Failure;
use gnist_common::ids::{AttemptId, JobId, WorkerId};
use gnist_operators::contexts::{Contexts, Settings};
use gnist_operators::exchange::TaskInputs;
use gnist_operators::failure::failure_of;
use gnist_storage::serve_local_files;

use crate::blocks::BlockStore;
use crate::config::WorkerConfig;
use crate::inputs::{InputSource, TaskReader};
use crate::memory::{AttemptPool, MemoryBudget};
use crate::programs::ProgramSource;
use crate::results::ResultSink;
use crate::spill::SpillFiles;
use crate::work_dir::WorkDir;

/// Bytes that a sort keeps back for merging what it spilled; a small budget has less to keep.
const SORT_RESERVATION_BYTES_MAX: u64 = 10 << 20;

/// Bytes after which an exchange inside a task starts another spill file: any batch is larger.
const ONE_BATCH_PER_SPILL_FILE: usize = 1;

/// What all attempts share.
pub(crate) struct Executor {
    pub(crate) worker: WorkerId,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) inputs: Arc<InputSource>,
    pub(crate) programs: Arc<dyn ProgramSource>,
    pub(crate) results: Option<Arc<dyn ResultSink>>,
    pub(crate) batch_rows: usize,
    /// What programs are decoded in, by settings.
    contexts: Contexts,
    runtime: Arc<RuntimeEnv>,
    /// Deleted when the last attempt is gone.
    _work_dir: Arc<WorkDir>,
}

impl Executor {
    pub(crate) fn new(
        config: &WorkerConfig,
        work_dir: Arc<WorkDir>,
        inputs: Arc<InputSource>,
        programs: Arc<dyn ProgramSource>,
        results: Option<Arc<dyn ResultSink>>,
    ) -> Result<Self, Failure> {
        let spill = DiskManagerBuilder::default()
            .with_temp_file_factory(Arc::new(SpillFiles::new(work_dir.spill())));
        let mut runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(spill);
        if let Some(stores) = &config.object_stores {
            runtime = runtime.with_object_store_registry(Arc::clone(stores));
        }
        let runtime = Arc::new(runtime.build().map_err(|error| failure_of(&error))?);
        if config.object_stores.is_none() {
            serve_local_files(&runtime);
        }
        let contexts = Contexts::new(
            session_config(config),
            one_batch_per_spill_file,
            config.functions.as_ref(),
            Arc::clone(&runtime),
        );
        Ok(Self {
            worker: config.worker,
            budget: Arc::clone(&inputs.budget),
            store: Arc::clone(&inputs.store),
            inputs,
            programs,
            results,
            batch_rows: config.batch_rows,
            contexts,
            runtime,
            _work_dir: work_dir,
        })
    }

    /// The context that programs of a job with these settings are decoded in.
    ///
    /// # Errors
    /// When a setting is not known here.
    pub(crate) fn decoding(
        &self,
        settings: &Settings,
    ) -> datafusion::common::Result<Arc<TaskContext>> {
        self.contexts.of(settings)
    }

    /// The context that one attempt runs in. The functions are in its plan already.
    pub(crate) fn running(
        &self,
        attempt: AttemptId,
        decoding: &TaskContext,
        pool: Arc<AttemptPool>,
        inputs: Arc<TaskReader>,
    ) -> Arc<TaskContext> {
        let config = decoding.session_config().clone();
        let runtime = RuntimeEnv { memory_pool: pool, ..self.runtime.as_ref().clone() };
        Arc::new(TaskContext::new(
            Some(attempt.to_string()),
            attempt.task.stage.job.to_string(),
            config.with_extension(Arc::new(TaskInputs(inputs))),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::new(runtime),
        ))
    }

    /// Forgets everything of a job.
    pub(crate) fn drop_job(&self, job: JobId) {
        self.store.drop_job(job);
        self.inputs.drop_job(job);
    }
}

fn session_config(config: &WorkerConfig) -> SessionConfig {
    let share = config.memory.0 / (16 * u64::from(config.slots.max(1)));
    let reservation = usize::try_from(share.min(SORT_RESERVATION_BYTES_MAX)).unwrap_or(usize::MAX);
    SessionConfig::new()
        .with_batch_size(config.batch_rows)
        .with_target_partitions(1)
        .with_spill_compression(SpillCompression::Lz4Frame)
        .with_sort_spill_reservation_bytes(reservation)
}

/// Whatever was set: with more than one batch a file, two inputs that spill at once can wait for
/// each other for ever (apache/datafusion#24883, mended after 55.2).
fn one_batch_per_spill_file(options: &mut ConfigOptions) -> datafusion::common::Result<()> {
    options.execution.max_spill_file_size_bytes =
        ConfigNonZeroUsize::try_new(ONE_BATCH_PER_SPILL_FILE)?;
    Ok(())
}
