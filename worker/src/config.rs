//! Settings that a worker is started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::prelude::SessionContext;
use gnist_common::bytes::ByteSize;
use gnist_common::ids::WorkerId;

/// Rows of a batch unless told otherwise.
const BATCH_ROWS: usize = 8192;

/// Time that a worker goes on without its cluster manager.
const RECONNECT_FOR: Duration = Duration::from_secs(30);

/// Settings of one worker.
#[derive(Clone)]
pub struct WorkerConfig {
    /// The id of this incarnation; random, chosen by the shell.
    pub worker: WorkerId,
    /// Attempts it runs at once, and its CPU threads.
    pub slots: u32,
    /// The budget that execution, blocks and fetches share.
    pub memory: ByteSize,
    /// The folder in which the folder of this incarnation is made.
    pub work_dir: PathBuf,
    /// `HOST` or `HOST:PORT` that peers are told instead of the address it listens on.
    pub advertise: Option<String>,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Time to try again when the cluster manager is gone, with a way to reconnect.
    pub reconnect_for: Duration,
    /// Called by each CPU thread before it waits for work.
    pub before_waiting: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Knows the functions that plans may name; DataFusion's own when absent.
    pub functions: Option<SessionContext>,
}

impl WorkerConfig {
    /// The defaults for this many slots and this much memory.
    pub fn new(worker: WorkerId, slots: u32, memory: ByteSize, work_dir: PathBuf) -> Self {
        Self {
            worker,
            slots,
            memory,
            work_dir,
            advertise: None,
            batch_rows: BATCH_ROWS,
            reconnect_for: RECONNECT_FOR,
            before_waiting: None,
            functions: None,
        }
    }
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerConfig")
            .field("worker", &self.worker)
            .field("slots", &self.slots)
            .field("memory", &self.memory)
            .field("work_dir", &self.work_dir)
            .finish_non_exhaustive()
    }
}
