//! The stores of one application: made when they are first asked for, from its settings.
//!
//! ```text
//! config keys ─▶ environment ─▶ ~/.aws profiles     settings    where the settings come from, in the driver
//!                    └─▶ StoreSettings ─▶ executors of this application
//! s3://bucket ─▶ client of the store                clients     the client of a bucket, by scheme
//!                    └─▶ errors with names          told        every error names store and object, and the reason
//!                          └─▶ data files alone     ../hidden
//! ```
//!
//! Local files are the store that is always there.

mod clients;
mod reason;
mod settings;
mod told;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::multipart::{MultipartStore, PartId};
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore, ObjectStoreScheme};
use datafusion::prelude::SessionConfig;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::stores::StoreSettings;
use tokio::runtime::Handle;
use url::Url;

use crate::hidden::DataFiles;

pub use settings::settings_of;

/// A store as this crate's readers and writers use it.
#[derive(Clone)]
pub struct Store {
    /// Its objects; listings show data files alone.
    pub objects: Arc<dyn ObjectStore>,
    /// All of its objects, those of commit logs too.
    pub(crate) raw: Arc<dyn ObjectStore>,
    /// Uploads that another process can complete, where the store has them. Elsewhere files are staged and renamed.
    pub uploads: Option<Arc<dyn MultipartStore>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.objects)
    }
}

impl Store {
    /// The files of this machine.
    pub fn local() -> Self {
        Self::without_uploads(Arc::new(LocalFileSystem::new()))
    }

    /// A store in which files are staged and renamed.
    pub fn without_uploads(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects: Arc::new(DataFiles(Arc::clone(&objects))), raw: objects, uploads: None }
    }

    /// A store in which files are uploaded in parts.
    pub fn with_uploads<S: ObjectStore + MultipartStore>(store: Arc<S>) -> Self {
        Self {
            uploads: Some(Arc::clone(&store) as Arc<dyn MultipartStore>),
            ..Self::without_uploads(store)
        }
    }

    /// Aborts an upload that nobody waits for any more, as far as that goes.
    pub fn abort_upload(&self, path: Path, upload: String) {
        if let (Some(uploads), Ok(runtime)) = (self.uploads.clone(), Handle::try_current()) {
            runtime.spawn(async move { drop(uploads.abort_multipart(&path, &upload).await) });
        }
    }

    /// Completes an upload.
    pub(crate) async fn complete(
        &self,
        path: &Path,
        upload: &str,
        parts: &[String],
    ) -> object_store::Result<()> {
        let Some(uploads) = &self.uploads else {
            let operation = "complete_multipart".to_owned();
            let implementer = self.objects.to_string();
            return Err(object_store::Error::NotImplemented { operation, implementer });
        };
        let parts = parts.iter().map(|part| PartId { content_id: part.clone() });
        uploads.complete_multipart(path, &upload.to_owned(), parts.collect()).await.map(drop)
    }
}

/// The path of an object of a store, as it is shown: a path of this machine, or a URL.
pub fn shown(store: &dyn ObjectStore, path: &Path) -> String {
    // Ours are displayed as their URLs, those of `object_store` as names of types.
    let name = store.to_string();
    if is_url(&name) { format!("{name}/{path}") } else { format!("/{path}") }
}

/// True for a text such as `s3://bucket`.
pub(crate) fn is_url(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The stores of one application.
#[derive(Default)]
pub struct Stores {
    settings: StoreSettings,
    /// Runs the requests, if not the runtime that makes them.
    io: Option<Handle>,
    made: Mutex<HashMap<String, Store>>,
}

impl Stores {
    /// Stores with these settings, whose requests run on `io`, or on the runtime that makes them.
    pub fn new(settings: StoreSettings, io: Option<Handle>) -> Self {
        Self { settings, io, made: Mutex::default() }
    }

    /// Uses a store for a URL.
    pub fn register(&self, url: &Url, store: Store) {
        let key = url[..url::Position::BeforePath].to_owned();
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key, store);
    }

    /// The settings.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// The store of a URL.
    ///
    /// # Errors
    /// `Unsupported` for a scheme that is not built in, `NotFound` if there are no credentials.
    pub fn store(&self, url: &Url) -> Result<Store, Failure> {
        let key = url[..url::Position::BeforePath].to_owned();
        if let Some(store) = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(store.clone());
        }
        let scheme = ObjectStoreScheme::parse(url).ok().map(|(scheme, _)| scheme);
        let store = match scheme {
            Some(ObjectStoreScheme::Local) => Store::local(),
            Some(ObjectStoreScheme::AmazonS3) => {
                clients::amazon_s3(&key, &self.settings, self.io.as_ref())?
            }
            Some(ObjectStoreScheme::GoogleCloudStorage) => {
                clients::google(&key, &self.settings, self.io.as_ref())?
            }
            Some(ObjectStoreScheme::MicrosoftAzure) => {
                clients::azure(&key, &self.settings, self.io.as_ref())?
            }
            Some(ObjectStoreScheme::Http) => clients::http(&key, &self.settings, self.io.as_ref())?,
            _ => return Err(unknown_scheme(url.scheme())),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(made.entry(key).or_insert(store).clone())
    }
}

/// The store of a URL, among the stores that a session or a task has.
///
/// # Errors
/// As [`Stores::store`].
pub fn store_of(config: &SessionConfig, url: &ObjectStoreUrl) -> Result<Store, Failure> {
    let stores = config.get_extension::<Stores>().unwrap_or_default();
    stores.store(url.as_ref())
}

/// The failure of a URL that no store is built in for.
pub(crate) fn unknown_scheme(scheme: &str) -> Failure {
    Failure::new(ErrorKind::Unsupported, format!("there is no store for `{scheme}://`"))
        .with_help("stores are local files, `s3://`, `gs://`, `az://`, `http://` and `https://`")
}

/// Shows neither settings nor clients.
impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let key = url[..url::Position::BeforePath].to_owned();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(key, Store::without_uploads(store)).map(|store| store.objects)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let store = self.store(url).map_err(|failure| DataFusionError::External(Box::new(failure)));
        Ok(store?.objects)
    }
}
