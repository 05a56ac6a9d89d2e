//! The state folder of a cluster manager: made and locked when it starts, so that no two managers
//! share one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use gnist_common::error::{ErrorKind, Failure};
use gnist_storage::io_reason;

/// The name of the lock file, which is empty; it stays when its manager ends.
const LOCK_FILE: &str = "lock";

/// A state folder that this process may write; others may not until this is dropped.
#[derive(Debug)]
pub(crate) struct StateDir {
    _lock: File,
}

impl StateDir {
    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// When it can't be written, or another process has it.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display();
        let unwritable = |error: &io::Error| {
            let message = format!("can't write the state folder `{shown}`: {}", io_reason(error));
            Failure::new(ErrorKind::Cluster, message).with_help("give another `--state-dir`")
        };
        fs::create_dir_all(folder).map_err(|error| unwritable(&error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK_FILE))
            .map_err(|error| unwritable(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::Error(error)) => Err(unwritable(&error)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another cluster manager uses the state folder `{shown}`");
                Err(Failure::new(ErrorKind::Cluster, message)
                    .with_help("give another `--state-dir`, or stop that cluster manager"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("state");
        let first = StateDir::open(&folder).expect("opened");
        let refused = StateDir::open(&folder).expect_err("refused");
        assert!(refused.message.contains("another cluster manager uses"), "{refused}");
        drop(first);
        StateDir::open(&folder).expect("opened");
        let file = StateDir::open(&folder.join(LOCK_FILE).join("below")).expect_err("refused");
        assert!(file.message.contains("can't write the state folder"), "{file}");
    }
}
