//! The folder of one incarnation of a worker: `WORK_DIR/gnist-worker-<incarnation>/`.
//!
//! ```text
//! gnist-worker-00c0ffee00c0ffee/
//!   lock        held with an exclusive flock while the worker lives
//!   segments/   sealed map output that is on disk
//!   spill/      what operators spill
//! ```
//!
//! A new worker deletes what dead ones left: folders of that name whose lock is free, and nothing
//! else. A folder appears under its name only once its lock is held, so two workers that start at
//! the same time never take each other for dead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::WorkerId;
use gnist_operators::failure::root_io;

const PREFIX: &str = "gnist-worker-";
const LOCK: &str = "lock";
const SEGMENTS: &str = "segments";
const SPILL: &str = "spill";
/// The end of the name that a part has while it is deleted.
const LEFT: &str = ".left";

/// The folder of this incarnation; deleted when dropped.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    is_closed: Arc<AtomicBool>,
    _lock: File,
}

impl WorkDir {
    /// Makes the folder of this incarnation, and deletes those of dead ones.
    ///
    /// # Errors
    /// `NotFound` or `DiskFull`, naming the folder that can't be written.
    pub fn create(work_dir: &Path, worker: WorkerId) -> Result<Self, Failure> {
        let made = fs::create_dir_all(work_dir).and_then(|()| Self::make(work_dir, worker));
        let made = made.map_err(|error| unwritable(work_dir, &error))?;
        delete_dead(work_dir);
        Ok(made)
    }

    /// Returns the folder of sealed segments.
    pub fn segments(&self) -> PathBuf {
        self.path.join(SEGMENTS)
    }

    /// Returns the folder of spill files.
    pub fn spill(&self) -> PathBuf {
        self.path.join(SPILL)
    }

    /// True once the folder is closed, and not to be made again.
    pub(crate) fn is_closed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_closed)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make(work_dir: &Path, worker: WorkerId) -> io::Result<Self> {
        let name = format!("{PREFIX}{:016x}", worker.0);
        let (path, new) = (work_dir.join(&name), work_dir.join(format!("{name}.new")));
        if path.exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("`{name}` exists")));
        }
        fs::create_dir(&new)?;
        fs::create_dir(new.join(SEGMENTS))?;
        fs::create_dir(new.join(SPILL))?;
        let lock = File::create(new.join(LOCK))?;
        lock.try_lock()?;
        fs::rename(&new, &path)?;
        Ok(Self { path, is_closed: Arc::default(), _lock: lock })
    }
}

impl WorkDir {
    /// Deletes the folder, also while somebody writes to it: no file is made in a folder that has another name.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for part in [SEGMENTS, SPILL] {
            let _closed = fs::rename(self.path.join(part), self.path.join(format!("{part}{LEFT}")));
        }
        if let Err(error) = delete(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the worker's folder was not deleted");
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        self.close();
    }
}

fn unwritable(work_dir: &Path, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::NotFound,
    };
    let message = format!("can't write to the work folder `{}`: {error}", work_dir.display());
    let help = match kind {
        ErrorKind::DiskFull => {
            "free space in the folder of `--work-dir`, or of `TMPDIR` without it"
        }
        _ => "name a folder that can be written with `--work-dir`, or with `TMPDIR` without it",
    };
    Failure::new(kind, message).with_help(help)
}

/// The failure of an attempt that its worker's disk refused, for whatever reason: the task is tried
/// elsewhere.
pub(crate) fn disk_failure(folder: &Path, error: &io::Error) -> Failure {
    Failure { kind: ErrorKind::DiskFull, ..unwritable(folder, root_io(error)) }
}

/// [`disk_failure`] as an IO error of the same kind, which carries it.
pub(crate) fn disk_error(folder: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), disk_failure(folder, &error))
}

fn delete_dead(work_dir: &Path) {
    let Ok(entries) = fs::read_dir(work_dir) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || !is_incarnation(&entry.file_name().to_string_lossy()) {
            continue;
        }
        match delete_if_dead(&entry.path()) {
            Ok(true) => {
                tracing::debug!(path = %entry.path().display(), "deleted a dead worker's folder")
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(path = %entry.path().display(), %error, "a dead worker's folder was not deleted");
            }
        }
    }
}

fn is_incarnation(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|id| {
        id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn delete_if_dead(path: &Path) -> io::Result<bool> {
    let lock = match File::open(path.join(LOCK)) {
        Ok(lock) => lock,
        // Somebody was interrupted between deleting the lock and the folder, or a file was still written then; or it
        // is not ours.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(has_only_parts(path)? && fs::remove_dir_all(path).is_ok());
        }
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => delete(path).map(|()| true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Returns true if nothing is in a folder but what a worker makes there.
fn has_only_parts(path: &Path) -> io::Result<bool> {
    let is_part = |name: &str| [SEGMENTS, SPILL].contains(&name.trim_end_matches(LEFT));
    for entry in fs::read_dir(path)? {
        if !is_part(&entry?.file_name().to_string_lossy()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes a folder, its lock last, so that an interrupted deletion can be taken up again. It may
/// have been deleted already, with or without what was made in it afterwards.
fn delete(path: &Path) -> io::Result<()> {
    match delete_present(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        deleted => deleted,
    }
}

fn delete_present(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(path.join(LOCK))?;
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_deleted_while_somebody_writes_to_it() {
        let root = tempfile::tempdir().unwrap();
        let work_dir = WorkDir::create(root.path(), WorkerId(1)).unwrap();
        let spill = work_dir.spill();
        let (first, is_first) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            for file in 0.. {
                if fs::write(spill.join(file.to_string()), "x").is_err() {
                    return;
                }
                let _heard = first.send(());
            }
        });
        is_first.recv().unwrap();
        work_dir.close();
        writer.join().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_folders_of_dead_workers_are_deleted() {
        let root = tempfile::tempdir().unwrap();
        let alive = WorkDir::create(root.path(), WorkerId(1)).unwrap();
        let dead = root.path().join("gnist-worker-00000000000000aa");
        fs::create_dir_all(dead.join("segments")).unwrap();
        fs::write(dead.join("segments/x"), "x").unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        // Its lock was deleted, and then a segment written.
        let half_deleted = root.path().join("gnist-worker-00000000000000ac");
        fs::create_dir_all(half_deleted.join("segments")).unwrap();
        fs::write(half_deleted.join("segments/x"), "x").unwrap();
        let foreign = ["gnist-worker-notes", "gnist-worker-00000000000000ab", "data"];
        for name in foreign {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("keep"), "keep").unwrap();
        }
        let second = WorkDir::create(root.path(), WorkerId(2)).unwrap();
        assert!(!dead.exists() && !half_deleted.exists());
        assert!(alive.path().exists() && second.path().exists());
        for name in foreign {
            assert!(root.path().join(name).join("keep").exists(), "{name}");
        }
    }

    #[test]
    fn a_worker_that_ends_deletes_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let made = WorkDir::create(root.path(), WorkerId(3)).unwrap();
        let path = made.path().to_owned();
        fs::write(made.segments().join("s"), "s").unwrap();
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_was_deleted_under_its_worker_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        for is_made_again in [false, true] {
            let made = WorkDir::create(root.path(), WorkerId(5)).unwrap();
            let path = made.path().to_owned();
            fs::remove_dir_all(&path).unwrap();
            if is_made_again {
                fs::create_dir_all(made.segments()).unwrap();
            }
            assert_eq!(delete(&path).map_err(|error| error.kind()), Ok(()));
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_work_folder_that_is_a_file_is_named_in_the_failure() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = WorkDir::create(&file, WorkerId(4)).unwrap_err();
        assert!(failure.message.contains(&file.display().to_string()), "{failure}");
        assert!(failure.help.is_some());
    }
}
