//! The parts of a worker that all its attempts share, and the context that each runs in.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::{ConfigNonZeroUsize, ConfigOptions, SpillCompression};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use gnist_common::error::Failure;
use gnist_common::ids::{AttemptId, JobId, WorkerId};
use gnist_operators::contexts::Contexts;
use gnist_operators::exchange::TaskInputs;
use gnist_operators::failure::failure_of;
use gnist_proto::link::ContentSource;
use tokio::runtime::Handle;

use crate::applications::{Application, Applications};
use crate::blocks::{BlockStore, Removed};
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

/// The parts of a worker that all its attempts share.
pub(crate) struct Executor {
    pub(crate) worker: WorkerId,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) inputs: Arc<InputSource>,
    pub(crate) programs: Arc<dyn ProgramSource>,
    pub(crate) results: Option<Arc<dyn ResultSink>>,
    pub(crate) applications: Applications,
    pub(crate) batch_rows: usize,
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
        (content, io): (Arc<dyn ContentSource>, Handle),
    ) -> Result<Self, Failure> {
        let spill = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(
            SpillFiles::new(work_dir.spill(), work_dir.is_closed()),
        ));
        let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(spill);
        let runtime = Arc::new(runtime.build().map_err(|error| failure_of(&error))?);
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
            applications: Applications::new(content, io, contexts, runtime),
            batch_rows: config.batch_rows,
            _work_dir: work_dir,
        })
    }

    /// The context that one attempt runs in. The functions are in its plan already.
    pub(crate) fn running(
        attempt: AttemptId,
        decoding: &TaskContext,
        pool: Arc<AttemptPool>,
        inputs: Arc<TaskReader>,
        application: &Application,
    ) -> Arc<TaskContext> {
        let config = decoding.session_config().clone();
        let config = config.with_extension(Arc::clone(&application.stores));
        let runtime = RuntimeEnv { memory_pool: pool, ..application.runtime.as_ref().clone() };
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

    /// Forgets everything of a job. Its outputs are deleted when what this returns is dropped.
    pub(crate) fn remove_job(&self, job: JobId) -> Removed {
        self.inputs.drop_job(job);
        self.store.remove_job(job)
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

/// Overrides any setting: with more than one batch a file, two inputs that spill at once can wait
/// for each other for ever (apache/datafusion#24883, mended after 55.2).
fn one_batch_per_spill_file(options: &mut ConfigOptions) -> datafusion::common::Result<()> {
    options.execution.max_spill_file_size_bytes =
        ConfigNonZeroUsize::try_new(ONE_BATCH_PER_SPILL_FILE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use async_trait::async_trait;
    use bytes::Bytes;
    use gnist_common::bytes::ByteSize;
    use gnist_common::error::ErrorKind;
    use gnist_common::graph::ContentHash;
    use gnist_common::ids::{ApplicationId, StageId};
    use gnist_common::stores::StoreSettings;
    use gnist_common::task::OutputTable;

    use super::*;
    use crate::inputs::Tables;
    use crate::programs::OneProcessPrograms;

    /// A manager that has nothing.
    struct Nothing;

    #[async_trait]
    impl ContentSource for Nothing {
        async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
            Err(Failure::new(ErrorKind::NotFound, hash.to_string()))
        }

        async fn outputs(&self, stage: StageId, _: u32) -> Result<Arc<OutputTable>, Failure> {
            Err(Failure::new(ErrorKind::NotFound, stage.to_string()))
        }

        async fn stores(&self, _: ApplicationId) -> Result<StoreSettings, Failure> {
            Ok(StoreSettings::default())
        }
    }

    fn executor(folder: &Path) -> Executor {
        let config = WorkerConfig::new(WorkerId(7), 2, ByteSize::mib(64), folder.to_owned());
        let work_dir = Arc::new(WorkDir::create(folder, config.worker).unwrap());
        let budget = MemoryBudget::of_memory(config.memory);
        let store = BlockStore::new(work_dir.segments(), Arc::clone(&budget));
        let tables = Tables::new(Arc::new(Nothing));
        let inputs = InputSource::new(config.worker, store, budget, tables, Handle::current());
        let programs = Arc::new(OneProcessPrograms::default());
        let content = (Arc::new(Nothing) as Arc<dyn ContentSource>, Handle::current());
        Executor::new(&config, work_dir, inputs, programs, None, content).unwrap()
    }

    /// Hundreds of functions and options are the same for all attempts.
    #[tokio::test]
    async fn an_attempt_copies_neither_options_nor_functions() {
        let folder = tempfile::tempdir().unwrap();
        let executor = executor(folder.path());
        let application = executor.applications.get(ApplicationId(1)).await.unwrap();
        let decoding = application.decoding(&[]).unwrap();
        let again = application.decoding(&[]).unwrap();
        assert!(Arc::ptr_eq(&decoding, &again), "contexts are kept by settings");
        let attempt = ApplicationId(1).job(0).stage(0).task(0).attempt(0);
        let pool = AttemptPool::new(&executor.budget);
        let reader = TaskReader::new(Arc::clone(&executor.inputs), vec![], 1);
        let running = Executor::running(attempt, &decoding, pool, Arc::new(reader), &application);
        let options = |context: &TaskContext| Arc::clone(context.session_config().options());
        assert!(Arc::ptr_eq(&options(&running), &options(&decoding)));
        assert!(!decoding.scalar_functions().is_empty());
        assert!(running.scalar_functions().is_empty());
        assert!(running.higher_order_functions().is_empty());
        assert!(running.aggregate_functions().is_empty());
        assert!(running.window_functions().is_empty());
    }

    #[tokio::test]
    async fn no_setting_puts_two_batches_into_a_spill_file() {
        let folder = tempfile::tempdir().unwrap();
        let executor = executor(folder.path());
        let name = "datafusion.execution.max_spill_file_size_bytes";
        let settings = [(name.to_owned(), "1000000".to_owned())];
        let application = executor.applications.get(ApplicationId(1)).await.unwrap();
        let context = application.decoding(&settings).unwrap();
        let bytes = context.session_config().options().execution.max_spill_file_size_bytes;
        assert_eq!(bytes.get(), ONE_BATCH_PER_SPILL_FILE);
    }
}
