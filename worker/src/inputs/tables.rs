//! Output tables: pulled from the cluster manager once per executor and version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::{DataFusionError, Result};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{JobId, StageId};
use gnist_common::task::OutputTable;
use gnist_operators::exchange::FetchError;
use gnist_operators::failure;
use gnist_proto::link::ContentSource;
use tokio::sync::OnceCell;

type Cell = Arc<OnceCell<Arc<OutputTable>>>;

/// The tables this executor has seen.
pub struct Tables {
    content: Mutex<Arc<dyn ContentSource>>,
    cells: Mutex<HashMap<StageId, (u32, Cell)>>,
}

impl Tables {
    /// None yet; they are pulled from here.
    pub fn new(content: Arc<dyn ContentSource>) -> Self {
        Self { content: Mutex::new(content), cells: Mutex::default() }
    }

    /// Pulls from here from now on.
    pub fn pull_from(&self, content: Arc<dyn ContentSource>) {
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = content;
    }

    /// The table of a stage, at this version or a later one. Waits while the stage runs, for all
    /// attempts of this executor in one call to the manager.
    ///
    /// # Errors
    /// When the manager is gone, which may pass, or no longer knows the stage.
    pub async fn get(&self, stage: StageId, version: u32) -> Result<Arc<OutputTable>> {
        let cell = self.cell(stage, version);
        let content = Arc::clone(&*self.content.lock().unwrap_or_else(PoisonError::into_inner));
        let pull = || async move { content.outputs(stage, version).await };
        cell.get_or_try_init(pull).await.cloned().map_err(|failure| match failure.kind {
            // A worker was lost since the launch: the task waits until its inputs are there again.
            ErrorKind::NotFound => FetchError::Missing { blocks: Vec::new() }.into(),
            _ => external(failure),
        })
    }

    /// Forgets the tables of a job.
    pub fn drop_job(&self, job: JobId) {
        self.cells().retain(|stage, _| stage.job != job);
    }

    /// The cell of the latest version asked for; older ones are dropped. Whoever names an older one
    /// may use the later table, but not wait for it: it was launched when the older one was
    /// complete, so that its slot may be what the later one needs.
    fn cell(&self, stage: StageId, version: u32) -> Cell {
        let mut cells = self.cells();
        let (latest, cell) = cells.entry(stage).or_insert_with(|| (version, Cell::default()));
        if *latest < version {
            (*latest, *cell) = (version, Cell::default());
        } else if *latest > version && !cell.initialized() {
            return Cell::default();
        }
        Arc::clone(cell)
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<StageId, (u32, Cell)>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure to pull something, inside DataFusion's error.
pub(crate) fn external(failure: Failure) -> DataFusionError {
    // A manager that is gone may come back, or be replaced; the attempt is not to blame.
    let kind = match failure.kind {
        ErrorKind::Cluster => ErrorKind::Transient,
        kind => kind,
    };
    failure::external(Failure { kind, ..failure })
}
