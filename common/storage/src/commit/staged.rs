//! Staged files: their names, and the folders that they leave on a disk.

use std::fs;
use std::path::{Path as LocalPath, PathBuf};
use std::time::{Duration, SystemTime};

use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStoreExt as _};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::folder::AT_ONCE;
use super::log::delete;
use super::{CommitError, GNIST, WriteId, below};
use crate::stores::Store;

/// The folder of files that are not committed, below that of everything that is not data.
const STAGED: &str = "staged";

/// The end of the name of a note of an upload.
const UPLOAD: &str = ".upload";

/// The age of staged files that no write can be at any more.
const OLD: Duration = Duration::from_hours(48);

/// The path of a staged file, below the folder of a table: of this write, and of this attempt, whose name no other
/// attempt has.
pub fn staged_path(write: WriteId, attempt: &str, file: &str) -> String {
    format!("{GNIST}/{STAGED}/{write}/{attempt}/{file}.staged")
}

/// The path of the note of an upload, below the folder of a table.
pub fn open_upload_path(write: WriteId, attempt: &str, file: &str) -> String {
    format!("{GNIST}/{STAGED}/{write}/{attempt}/{file}{UPLOAD}")
}

/// A note of an upload that was begun, so that it is aborted if nobody completes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The place of the file in the store.
    pub path: String,
    /// The id that the store gave the upload.
    pub upload: String,
}

impl OpenUpload {
    /// The note as it is written.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts are JSON")
    }
}

/// The folder of the staged files of all writes.
pub(super) fn all(table: &Path) -> Path {
    table.clone().join(GNIST).join(STAGED)
}

/// Deletes staged files in a store, and aborts the uploads that are noted there.
pub(super) async fn delete_in(store: &Store, files: Vec<ObjectMeta>) -> Result<(), CommitError> {
    let delete = |file: ObjectMeta| async move {
        if file.location.as_ref().ends_with(UPLOAD) {
            abort(store, &file.location).await?;
        }
        delete(store.raw.as_ref(), &file.location).await
    };
    futures::stream::iter(files.into_iter().map(delete))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn abort(store: &Store, note: &Path) -> Result<(), CommitError> {
    let Some(uploads) = &store.uploads else { return Ok(()) };
    let read = async { store.raw.get(note).await?.bytes().await };
    let open: Option<OpenUpload> = match read.await {
        Ok(text) => serde_json::from_slice(&text).ok(),
        Err(object_store::Error::NotFound { .. }) => None,
        Err(error) => {
            return Err(CommitError::store("can't read", store.raw.as_ref(), note, error));
        }
    };
    let Some(OpenUpload { path, upload }) = open else { return Ok(()) };
    match uploads.abort_multipart(&below(&Path::default(), &path), &upload).await {
        // It was completed, or aborted by somebody else.
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => {
            Err(CommitError::store("can't abort the upload of", store.raw.as_ref(), note, error))
        }
    }
}

/// Deletes what writers left in a store that were killed long ago.
pub(super) async fn delete_old_in(store: &Store, table: &Path) -> Result<(), CommitError> {
    let folder = all(table);
    let files: Result<Vec<ObjectMeta>, _> = store.raw.list(Some(&folder)).try_collect().await;
    let mut files = files
        .map_err(|error| CommitError::store("can't list", store.raw.as_ref(), &folder, error))?;
    let now = SystemTime::now();
    files.retain(|file| {
        now.duration_since(SystemTime::from(file.last_modified)).is_ok_and(|age| age > OLD)
    });
    delete_in(store, files).await
}

/// The folder of a write's staged files.
pub(super) fn folder(table: &Path, write: &str) -> Path {
    all(table).join(write)
}

/// Deletes the staged files of a write, and folders that are empty then. What can't be deleted is not visible.
pub(super) fn delete_local(table: &LocalPath, write: &str) {
    let staged = of_table(table);
    let _ = fs::remove_dir_all(staged.join(write));
    let _ = fs::remove_dir(&staged);
    let _ = fs::remove_dir(table.join(GNIST));
}

/// Deletes what writers left that were killed long ago.
pub(super) fn delete_old(table: &LocalPath) {
    let Ok(writes) = fs::read_dir(of_table(table)) else { return };
    for write in writes.flatten() {
        let age = newest(&write.path()).and_then(|at| at.elapsed().ok());
        if age > Some(OLD) {
            let _ = fs::remove_dir_all(write.path());
        }
    }
}

/// The time of the last change at a path or below it; none if it can't be told.
fn newest(path: &LocalPath) -> Option<SystemTime> {
    let own = fs::symlink_metadata(path).and_then(|it| it.modified()).ok()?;
    let Ok(entries) = fs::read_dir(path) else { return Some(own) };
    let below = entries.flatten().filter_map(|entry| newest(&entry.path()));
    Some(below.fold(own, SystemTime::max))
}

fn of_table(table: &LocalPath) -> PathBuf {
    table.join(GNIST).join(STAGED)
}
