//! The applications whose attempts run here: their stores, and the contexts that their programs are decoded and run in.
//!
//! Settings of stores, which hold credentials, are pulled once per application, for its own attempts. What was read of a
//! file's footer is kept by application too: another one may not be allowed to read the file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::cache::cache_manager::{CacheManager, CacheManagerConfig};
use datafusion::execution::runtime_env::RuntimeEnv;
use gnist_common::ids::ApplicationId;
use gnist_operators::contexts::{Contexts, Settings};
use gnist_proto::link::ContentSource;
use gnist_storage::stores::Stores;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::inputs::external;

/// Applications that are kept.
const APPLICATIONS_MAX: usize = 16;

type Cell = Arc<OnceCell<Arc<Application>>>;

/// One application, as its attempts see it.
pub(crate) struct Application {
    /// Its stores.
    pub(crate) stores: Arc<Stores>,
    /// Its runtime, but for the memory, which each attempt has of its own.
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// The contexts in which its programs are decoded, by settings.
    contexts: Contexts,
}

impl Application {
    /// The context that programs of a job with these settings are decoded in.
    ///
    /// # Errors
    /// When a setting is not known here.
    pub(crate) fn decoding(&self, settings: &Settings) -> Result<Arc<TaskContext>> {
        self.contexts.of(settings)
    }
}

/// The applications.
pub(crate) struct Applications {
    content: Mutex<Arc<dyn ContentSource>>,
    io: Handle,
    contexts: Contexts,
    runtime: Arc<RuntimeEnv>,
    /// The later, the greater its id.
    kept: Mutex<HashMap<ApplicationId, Cell>>,
}

impl Applications {
    /// None yet. Settings are pulled from `content`, and requests to stores run on `io`. An application's runtime and
    /// contexts are these, with its stores.
    pub(crate) fn new(
        content: Arc<dyn ContentSource>,
        io: Handle,
        contexts: Contexts,
        runtime: Arc<RuntimeEnv>,
    ) -> Self {
        Self { content: Mutex::new(content), io, contexts, runtime, kept: Mutex::default() }
    }

    /// Pulls from here from now on. A cluster manager that was replaced counts applications anew.
    pub(crate) fn pull_from(&self, content: Arc<dyn ContentSource>) {
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = content;
        self.kept().clear();
    }

    /// An application.
    ///
    /// # Errors
    /// The cluster manager is gone, or the application has ended.
    pub(crate) async fn get(&self, id: ApplicationId) -> Result<Arc<Application>> {
        let cell = self.cell(id);
        let content = Arc::clone(&*self.content.lock().unwrap_or_else(PoisonError::into_inner));
        let open = || async {
            let settings = content.stores(id).await.map_err(external)?;
            self.open(Stores::new(settings, Some(self.io.clone())))
        };
        cell.get_or_try_init(open).await.cloned()
    }

    fn open(&self, stores: Stores) -> Result<Arc<Application>> {
        let stores = Arc::new(stores);
        let runtime = Arc::new(RuntimeEnv {
            object_store_registry: Arc::<Stores>::clone(&stores),
            cache_manager: CacheManager::try_new(&CacheManagerConfig::default())?,
            ..self.runtime.as_ref().clone()
        });
        let contexts = self.contexts.with_runtime(Arc::clone(&runtime));
        Ok(Arc::new(Application { stores, runtime, contexts }))
    }

    fn cell(&self, id: ApplicationId) -> Cell {
        let mut kept = self.kept();
        if !kept.contains_key(&id)
            && kept.len() >= APPLICATIONS_MAX
            && let Some(first) = kept.keys().min().copied()
        {
            kept.remove(&first);
        }
        Arc::clone(kept.entry(id).or_default())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<ApplicationId, Cell>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
