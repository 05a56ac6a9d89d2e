//! The target of a write: a folder with a commit log, or one file.

use std::time::Duration;

use datafusion::object_store::path::Path as StorePath;
use datafusion::object_store::{self, ObjectStoreExt as _};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::failure_of_store;
use gnist_storage::WriteTarget;
use gnist_storage::commit::{AddedFile, Base, CommitError, Folder, Removal, WriteId};
use gnist_storage::stores::Store;

use super::options::SaveMode;

/// Times that the staged files of a write are deleted that is given up, and the pause after each.
const GIVE_UP_TIMES: u32 = 3;
const GIVE_UP_PAUSE: Duration = Duration::from_millis(50);

/// A target that was looked at, for one write.
pub(super) struct Begun {
    folder: Folder,
    target: WriteTarget,
    pub(super) write: WriteId,
    base: Base,
    removal: Removal,
    /// A data file that was there, in a folder that keeps data.
    kept: Option<StorePath>,
    is_done: bool,
}

impl Begun {
    /// Looks at a target before its write reads anything. None if there is nothing to do. `base` is of an earlier look
    /// at its files.
    ///
    /// # Errors
    /// There is data, and the mode does not allow it; or the store refuses.
    pub(super) async fn new(
        store: Store,
        target: WriteTarget,
        mode: SaveMode,
        base: Option<Base>,
    ) -> Result<Option<Self>, Failure> {
        let folder = folder_of(store.clone(), &target);
        let given = &target.given;
        let (now, data) = match target.file() {
            Some(path) => {
                let data = match store.objects.head(&path).await {
                    Ok(_) => Some(path),
                    Err(object_store::Error::NotFound { .. }) => None,
                    Err(error) => return Err(failed(&format!("can't look at `{given}`"), &error)),
                };
                // Writers that were killed may have left staged files beside it.
                folder.begin().await.map_err(|error| failure(&error))?;
                (Base::default(), data)
            }
            None => {
                if target.local.as_ref().is_some_and(|local| local.is_file()) {
                    let message = format!("`{given}` is a file, and the write is of a folder");
                    return Err(Failure::new(ErrorKind::User, message));
                }
                let now = folder.begin().await.map_err(|error| failure(&error))?;
                (now, folder.first_data().await.map_err(|error| failure(&error))?)
            }
        };
        let removal = match (mode, data.is_some()) {
            (SaveMode::Ignore, true) => return Ok(None),
            (SaveMode::Error, true) => return Err(exists(given)),
            (SaveMode::Error | SaveMode::Ignore, false) => Removal::NothingThere,
            (SaveMode::Append, _) => Removal::Nothing,
            (SaveMode::Overwrite, _) => Removal::All,
            (SaveMode::OverwritePartitions, _) => Removal::TouchedFolders,
        };
        let write = WriteId::fresh();
        let base = base.unwrap_or(now);
        let kept = data.filter(|_| matches!(removal, Removal::Nothing | Removal::TouchedFolders));
        Ok(Some(Self { folder, target, write, base, removal, kept, is_done: false }))
    }

    /// Fails if the folder keeps files whose names end otherwise than those that come: it could not be read any more.
    ///
    /// # Errors
    /// `User`, naming a file.
    pub(super) fn check_end(&self, end: &str, is_of_table: bool) -> Result<(), Failure> {
        let name = self.kept.as_ref().and_then(StorePath::filename);
        match name.and_then(WriteTarget::end_of) {
            Some(there) if !is_alike(&there, end, is_of_table) => {
                let (given, name) = (&self.target.given, name.unwrap_or_default());
                let message =
                    format!("`{given}` holds files such as `{name}`, and the write adds `.{end}`");
                Err(Failure::new(ErrorKind::User, message)
                    .with_help("a folder is of one format and compression"))
            }
            _ => Ok(()),
        }
    }

    /// Makes the files visible.
    ///
    /// # Errors
    /// Another write has landed meanwhile, or the store refuses.
    pub(super) async fn commit(mut self, files: Vec<AddedFile>) -> Result<(), Failure> {
        if self.target.single_file.is_some() {
            let committed = self.commit_file(&files).await;
            self.clean().await;
            return committed;
        }
        // From here on the files may be committed: the next writer publishes them if this one doesn't.
        self.is_done = true;
        let (folder, base, write) = (self.folder.clone(), self.base, self.write);
        let removal = self.removal.clone();
        // Nobody who stops waiting stops the commit in the middle.
        let commit = tokio::spawn(async move { folder.commit(base, write, files, &removal).await });
        match commit.await {
            Ok(Ok(())) => {
                self.clean().await;
                Ok(())
            }
            Ok(Err(error)) => {
                if !matches!(error, CommitError::Unpublished(_) | CommitError::Unknown(_)) {
                    self.clean().await;
                }
                Err(failure(&error))
            }
            Err(error) => Err(Failure::new(ErrorKind::Panic, format!("committing: {error}"))),
        }
    }

    async fn commit_file(&self, files: &[AddedFile]) -> Result<(), Failure> {
        let given = &self.target.given;
        let ([file], Some(to)) = (files, self.target.file()) else {
            let message = format!("`{given}` is one file, and the write made {}", files.len());
            return Err(Failure::new(ErrorKind::Internal, message));
        };
        let is_new = self.removal == Removal::NothingThere;
        match self.folder.place_alone(file, &to, is_new).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(exists(given)),
            Err(error) => Err(failed(&format!("can't write `{given}`"), &error)),
        }
    }

    /// Leaves a write before anything is staged.
    pub(super) fn leave(mut self) {
        self.is_done = true;
    }

    /// Deletes what is staged: nothing is visible. Attempts that are being stopped may stage a last file meanwhile.
    pub(super) async fn give_up(mut self) {
        for _ in 0..GIVE_UP_TIMES {
            self.clean().await;
            tokio::time::sleep(GIVE_UP_PAUSE).await;
        }
    }

    async fn clean(&mut self) {
        self.is_done = true;
        if let Err(error) = self.folder.give_up(self.write).await {
            tracing::warn!(%error, "staged files of a write were not deleted");
        }
    }
}

impl Drop for Begun {
    /// A write that is left in the middle, by Ctrl-C for one, cleans up behind itself.
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (folder, write) = (self.folder.clone(), self.write);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // What can't be deleted is not visible.
            runtime.spawn(async move { drop(folder.give_up(write).await) });
        }
    }
}

fn folder_of(store: Store, target: &WriteTarget) -> Folder {
    Folder::new(store, target.folder.clone(), target.local.clone())
}

/// Returns true if files with these ends are read together: by a table that says that they are JSON, also those of its
/// other names.
fn is_alike(there: &str, end: &str, is_of_table: bool) -> bool {
    let as_json = |end: &str| {
        let end = end.to_ascii_lowercase();
        if is_of_table { end.replace("ndjson", "json").replace("jsonl", "json") } else { end }
    };
    as_json(there) == as_json(end)
}

fn exists(given: &str) -> Failure {
    let message = format!("there is data in `{given}` already");
    Failure::new(ErrorKind::User, message)
        .with_help("add `OPTIONS (mode 'append')`, or `'overwrite'`, or `'ignore'`")
}

fn failure(error: &CommitError) -> Failure {
    error.failure(&failure_of_store)
}

fn failed(doing: &str, error: &object_store::Error) -> Failure {
    let mut failure = failure_of_store(error);
    failure.message = format!("{doing}: {}", failure.message);
    failure
}
