//! The files that a reader leaves out: of a write that is not published yet, and replaced by one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;

use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStore};
use futures::TryStreamExt as _;

use super::log::{Log, Numbers};
use super::{CommitError, GNIST, LOG};
use crate::hidden::is_data;

/// Listings that are tried while writers change the folder.
pub(crate) const LISTINGS_MAX: usize = 100;

/// The state of the logs of some folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// The numbers of each log, by folder.
    logs: BTreeMap<Path, Numbers>,
    hidden: BTreeSet<Path>,
}

/// The data files below a folder as a reader sees them: before or after each write, never in the middle.
///
/// # Errors
/// The store can't list, a log is damaged, or writers never let it be.
pub(crate) async fn data_files(
    store: &dyn ObjectStore,
    folder: &Path,
) -> Result<Vec<ObjectMeta>, CommitError> {
    let failed = |error| CommitError::store("can't list", folder, error);
    let mut folders = BTreeSet::from([folder.clone()]);
    let mut before = View::of(store, &folders).await?;
    for _ in 0..LISTINGS_MAX {
        let files: Result<Vec<_>, _> = store.list(Some(folder)).try_collect().await;
        let mut files = files.map_err(failed)?;
        // Tables below this folder have logs of their own.
        folders.extend(files.iter().filter_map(|file| folder_of_log(&file.location)));
        let after = View::of(store, &folders).await?;
        if before == after {
            files.retain(|file| is_data(&file.location, folder) && !after.hides(&file.location));
            files.sort_by(|one, other| one.location.cmp(&other.location));
            return Ok(files);
        }
        before = after;
    }
    Err(CommitError::Conflict { folder: folder.clone() })
}

/// The folder whose log a file is in.
fn folder_of_log(file: &Path) -> Option<Path> {
    let parts: Vec<_> = file.parts().collect();
    let [folder @ .., gnist, log, _] = parts.as_slice() else { return None };
    (gnist.as_ref() == GNIST && log.as_ref() == LOG).then(|| folder.iter().cloned().collect())
}

impl View {
    /// Reads the logs of `folders` and of the folders around them: a partition of a table may be read on its own.
    ///
    /// # Errors
    /// The store can't list, or an entry is none.
    pub(crate) async fn of(
        store: &dyn ObjectStore,
        folders: &BTreeSet<Path>,
    ) -> Result<Self, CommitError> {
        let mut around = BTreeSet::new();
        for folder in folders {
            let mut outer = Path::default();
            for part in folder.parts().take_while(|part| part.as_ref() != GNIST) {
                let inner = outer.clone().join(part);
                around.insert(outer);
                outer = inner;
            }
            around.insert(outer);
        }
        let mut view = Self::default();
        for folder in around {
            view.add(store, &folder, folders.contains(&folder)).await?;
        }
        Ok(view)
    }

    async fn add(
        &mut self,
        store: &dyn ObjectStore,
        folder: &Path,
        is_own: bool,
    ) -> Result<(), CommitError> {
        let log = Log { store, folder };
        let numbers = match log.numbers().await {
            Ok(numbers) => numbers,
            Err(error) if is_no_folder(&error) || (!is_own && is_closed(&error)) => return Ok(()),
            Err(error) => return Err(CommitError::store("can't list", folder, error)),
        };
        if let Some(last) = numbers.last()
            && let Some(entry) = log.entry(last).await?
        {
            let hidden: Vec<&String> = if numbers.done.contains(&last) {
                Vec::new()
            } else if numbers.published.contains(&last) {
                entry.removed.iter().collect()
            } else {
                entry.added.iter().map(|file| &file.path).collect()
            };
            for path in hidden {
                self.hidden.insert(below(folder, path));
            }
        }
        if numbers != Numbers::default() {
            self.logs.insert(folder.clone(), numbers);
        }
        Ok(())
    }

    /// Returns true if none of the folders was ever written to.
    pub(crate) fn has_no_log(&self) -> bool {
        self.logs.is_empty()
    }

    /// Returns true if a reader leaves this file out.
    pub(crate) fn hides(&self, file: &Path) -> bool {
        self.hidden.contains(file)
    }
}

/// Returns true if the path of a folder is that of a file.
fn is_no_folder(error: &object_store::Error) -> bool {
    is_io(error, io::ErrorKind::NotADirectory)
}

/// Returns true if the system gave this reason.
fn is_io(error: &object_store::Error, kind: io::ErrorKind) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == kind) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns true if a folder is not for this user. The one that is read may be below it.
fn is_closed(error: &object_store::Error) -> bool {
    is_io(error, io::ErrorKind::PermissionDenied)
        || matches!(
            error,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
        )
}

/// A path below a folder, as entries have it: its parts are taken as they are.
pub(super) fn below(folder: &Path, path: &str) -> Path {
    let text =
        if folder.as_ref().is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    Path::parse(&text).unwrap_or_else(|_| Path::from(text))
}
