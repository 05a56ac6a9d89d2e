//! `local[N]`: cluster manager, worker and driver in one process, joined by channels.
//!
//! The same scheduler, task runner and graph as on a cluster; plans and rows are handed over
//! instead of encoded, and one task holds all the slots.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use gnist_cluster_manager::{Manager, ManagerConfig, ManagerHandle, SchedulerConfig};
use gnist_common::bytes::ByteSize;
use gnist_common::error::Failure;
use gnist_common::graph::ContentHash;
use gnist_common::ids::{AttemptId, StageId};
use gnist_driver::InProcess;
use gnist_operators::bindings::Bindings;
use gnist_operators::program::Program;
use gnist_proto::link::DriverLink;
use gnist_worker::{
    Connections, OneProcessPrograms, ResultClosed, ResultSink, ResultWriter, Worker, WorkerConfig,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::machine::fresh_worker_id;

/// Batches between the executor and a slow reader.
const RESULT_BATCHES_MAX: usize = 16;

/// A cluster of one process. Dropped, it is gone.
pub(crate) struct LocalCluster {
    manager: ManagerHandle,
    exchange: Arc<LocalExchange>,
    _worker: Worker,
}

impl LocalCluster {
    /// Starts a manager and a worker of `slots` slots.
    ///
    /// # Errors
    /// When the work folder can't be written.
    pub(crate) async fn start(
        slots: u32,
        memory: ByteSize,
        work_dir: PathBuf,
        batch_rows: usize,
    ) -> Result<Self, Failure> {
        // Rows of an attempt are on their way to the user as it runs: there is no second one, for whatever reason.
        let scheduler =
            SchedulerConfig { max_attempts: 1, max_uncounted: 1, ..SchedulerConfig::default() };
        let manager = Manager::start(ManagerConfig {
            worker_can_return: false,
            scheduler,
            ..ManagerConfig::default()
        });
        let exchange = Arc::new(LocalExchange::default());
        let mut config = WorkerConfig::new(fresh_worker_id(), slots, memory, work_dir);
        config.batch_rows = batch_rows;
        let connections = Connections {
            link: manager.connect_worker(),
            reconnect: None,
            programs: Arc::clone(&exchange.programs) as _,
            results: Some(Arc::clone(&exchange) as _),
            listener: None,
        };
        let worker = Worker::start(config, connections).await?;
        Ok(Self { manager, exchange, _worker: worker })
    }

    /// A driver's link.
    pub(crate) fn connect(&self) -> DriverLink {
        self.manager.connect_driver()
    }

    /// Returns the channels over which driver and executor hand plans and rows to each other.
    pub(crate) fn exchange(&self) -> Arc<dyn InProcess> {
        Arc::clone(&self.exchange) as _
    }
}

/// Plans one way, rows the other.
#[derive(Default)]
struct LocalExchange {
    programs: Arc<OneProcessPrograms>,
    results: Mutex<BTreeMap<StageId, mpsc::Sender<RecordBatch>>>,
}

impl LocalExchange {
    fn results(&self) -> MutexGuard<'_, BTreeMap<StageId, mpsc::Sender<RecordBatch>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InProcess for LocalExchange {
    fn publish(
        &self,
        name: ContentHash,
        plan: Arc<dyn ExecutionPlan>,
        settings: Vec<(String, String)>,
        is_measured: bool,
    ) {
        let bindings = Bindings { settings, is_measured, ..Bindings::default() };
        self.programs.put(name, Program::Shared { plan }, bindings);
    }

    fn open_result(&self, stage: StageId) -> mpsc::Receiver<RecordBatch> {
        let (sender, receiver) = mpsc::channel(RESULT_BATCHES_MAX);
        self.results().insert(stage, sender);
        receiver
    }

    fn forget(&self, program: ContentHash, stage: StageId) {
        self.programs.take(program);
        self.results().remove(&stage);
    }
}

impl ResultSink for LocalExchange {
    fn open(&self, attempt: AttemptId, _: SchemaRef) -> Option<Box<dyn ResultWriter>> {
        let sender = self.results().remove(&attempt.task.stage)?;
        Some(Box::new(LocalRows(sender)))
    }
}

/// The executor's end of a result.
struct LocalRows(mpsc::Sender<RecordBatch>);

#[async_trait]
impl ResultWriter for LocalRows {
    fn try_push(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>, ResultClosed> {
        match self.0.try_send(batch) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(batch)) => Ok(Some(batch)),
            Err(TrySendError::Closed(_)) => Err(ResultClosed),
        }
    }

    async fn push(&mut self, batch: RecordBatch) -> Result<(), ResultClosed> {
        self.0.send(batch).await.map_err(|_| ResultClosed)
    }

    async fn finish(self: Box<Self>) -> Result<(), ResultClosed> {
        Ok(())
    }
}
