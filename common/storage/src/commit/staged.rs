//! Staged files: their names, and the folders that they leave on a disk.

use std::fs;
use std::path::{Path as LocalPath, PathBuf};
use std::time::Duration;

use datafusion::object_store::path::Path;

use super::{GNIST, WriteId};

/// The folder of files that are not committed, below that of everything that is not data.
const STAGED: &str = "staged";

/// The age of staged files that no write can be at any more.
const OLD: Duration = Duration::from_hours(48);

/// The path of a staged file, below the folder of a table: of this write, and of this attempt, whose name no other
/// attempt has.
pub fn staged_path(write: WriteId, attempt: &str, file: &str) -> String {
    format!("{GNIST}/{STAGED}/{write}/{attempt}/{file}.staged")
}

/// The folder of a write's staged files.
pub(super) fn folder(table: &Path, write: &str) -> Path {
    table.clone().join(GNIST).join(STAGED).join(write)
}

/// Deletes the staged files of a write, and folders that are empty then. What can't be deleted is not visible.
pub(super) fn delete(table: &LocalPath, write: &str) {
    let staged = of_table(table);
    let _ = fs::remove_dir_all(staged.join(write));
    let _ = fs::remove_dir(&staged);
    let _ = fs::remove_dir(table.join(GNIST));
}

/// Deletes what writers left that were killed long ago.
pub(super) fn delete_old(table: &LocalPath) {
    let Ok(writes) = fs::read_dir(of_table(table)) else { return };
    for write in writes.flatten() {
        let age =
            write.metadata().and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
        if age > Some(OLD) {
            let _ = fs::remove_dir_all(write.path());
        }
    }
}

fn of_table(table: &LocalPath) -> PathBuf {
    table.join(GNIST).join(STAGED)
}
