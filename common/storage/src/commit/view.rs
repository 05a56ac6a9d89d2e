//! The files that a reader leaves out: of a write that is not published yet, and replaced by one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;

use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStore};
use futures::{StreamExt as _, TryStreamExt as _};

use super::log::{Log, Numbers};
use super::{Base, CommitError, GNIST, LOG};
use crate::hidden::is_data;
use crate::stores::shown;

/// Listings that are tried while writers change the folder.
pub(crate) const LISTINGS_MAX: usize = 100;

/// Logs that are read at once.
const LOGS_AT_ONCE: usize = 16;

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
    Ok(viewed_files(store, folder).await?.0)
}

/// As [`data_files`], with the state of the logs that they are seen in.
///
/// # Errors
/// As [`data_files`].
pub(crate) async fn viewed_files(
    store: &dyn ObjectStore,
    folder: &Path,
) -> Result<(Vec<ObjectMeta>, View), CommitError> {
    let failed = |error| CommitError::store("can't list", store, folder, error);
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
            return Ok((files, after));
        }
        before = after;
    }
    Err(CommitError::Conflict { folder: shown(store, folder) })
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
        let logs: Vec<_> =
            around.iter().map(|folder| read_log(store, folder, folders.contains(folder))).collect();
        let logs = futures::stream::iter(logs).buffered(LOGS_AT_ONCE);
        let logs: Vec<Option<FolderLog>> = logs.try_collect().await?;
        let mut view = Self::default();
        for FolderLog { folder, numbers, hidden } in logs.into_iter().flatten() {
            view.logs.insert(folder, numbers);
            view.hidden.extend(hidden);
        }
        Ok(view)
    }

    /// Returns true if none of the folders was ever written to.
    pub(crate) fn has_no_log(&self) -> bool {
        self.logs.is_empty()
    }

    /// The last write that is to be seen in each of the folders that were written to.
    pub(crate) fn bases(&self) -> BTreeMap<Path, Base> {
        let base = |numbers: &Numbers| {
            // Entries follow each other, and only the last one may not be published.
            let last = numbers.last()?;
            let is_seen = numbers.published.contains(&last) || numbers.done.contains(&last);
            if is_seen { Some(last) } else { last.checked_sub(1) }
        };
        self.logs.iter().map(|(folder, numbers)| (folder.clone(), Base(base(numbers)))).collect()
    }

    /// Returns true if a reader leaves this file out.
    pub(crate) fn hides(&self, file: &Path) -> bool {
        self.hidden.contains(file)
    }
}

/// The log of a folder, and the files that readers leave out for its sake.
struct FolderLog {
    folder: Path,
    numbers: Numbers,
    hidden: Vec<Path>,
}

/// Reads the log of a folder; none if nothing was ever written to it.
async fn read_log(
    store: &dyn ObjectStore,
    folder: &Path,
    is_own: bool,
) -> Result<Option<FolderLog>, CommitError> {
    let log = Log { store, folder };
    let numbers = match log.numbers().await {
        Ok(numbers) => numbers,
        Err(error) if is_no_folder(&error) || (!is_own && is_closed(&error)) => return Ok(None),
        Err(error) => return Err(CommitError::store("can't list", store, folder, error)),
    };
    if numbers == Numbers::default() {
        return Ok(None);
    }
    let mut hidden: Vec<Path> = Vec::new();
    if let Some(last) = numbers.last()
        && !numbers.done.contains(&last)
        && let Some(entry) = log.entry(last).await?
    {
        let paths: Vec<&String> = if numbers.published.contains(&last) {
            entry.removed.iter().collect()
        } else {
            entry.added.iter().map(|file| &file.path).collect()
        };
        hidden.extend(paths.into_iter().map(|path| below(folder, path)));
    }
    Ok(Some(FolderLog { folder: folder.clone(), numbers, hidden }))
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
pub fn below(folder: &Path, path: &str) -> Path {
    let text =
        if folder.as_ref().is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    Path::parse(&text).unwrap_or_else(|_| Path::from(text))
}
