//! A folder that is written to: what a writer finds, and how its entry lands.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    self, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RenameOptions,
    RenameTargetMode,
};
use futures::{StreamExt as _, TryStreamExt as _};

use super::log::{Log, Mark, Numbers, delete};
use super::staged;
use super::view::data_files;
use super::{AddedFile, CommitError, Entry, Kind, SUCCESS, Staged, WriteId, below};
use crate::stores::{Store, shown};

/// Files that are renamed or deleted at once.
pub(super) const AT_ONCE: usize = 16;

/// Times that a writer meets others before it gives up.
const TRIES_MAX: usize = 1000;

/// A folder that files are written to.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Store,
    path: Path,
    /// The folder on this machine, if the store is its disk.
    local: Option<PathBuf>,
}

/// The number of the last write that was to be seen in a folder when it was read, or looked at by a writer; none before
/// the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base(pub(super) Option<u64>);

/// The last entry of the log.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    number: Option<u64>,
    /// The number of the last one that is an overwrite.
    overwritten: Option<u64>,
}

/// The files that a write replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// None: the write adds to what is there.
    Nothing,
    /// None, and it is an error if another write has added some meanwhile.
    NothingThere,
    /// All data of the folder.
    All,
    /// All data of the folders that files are added to.
    TouchedFolders,
}

impl Folder {
    /// The folder at a path of a store, which is `local` if the store is a disk.
    pub fn new(store: Store, path: Path, local: Option<PathBuf>) -> Self {
        Self { store, path, local }
    }

    /// Looks at the folder before a write reads anything. Finishes what an earlier writer left.
    ///
    /// # Errors
    /// The store refuses, or the log is damaged.
    pub async fn begin(&self) -> Result<Base, CommitError> {
        // A committed entry needs its staged files, however old they are.
        let base = Base(self.finish_last().await?.number);
        match &self.local {
            Some(local) => staged::delete_old(local),
            None => staged::delete_old_in(&self.store, &self.path).await?,
        }
        Ok(base)
    }

    /// The first of the data files that readers see in the folder, if there are any.
    ///
    /// # Errors
    /// As [`Folder::begin`].
    pub async fn first_data(&self) -> Result<Option<Path>, CommitError> {
        Ok(self.data().await?.into_iter().next().map(|file| file.location))
    }

    /// Commits a write and publishes its files.
    ///
    /// # Errors
    /// As [`Folder::begin`], or another write that it can't live with has landed since `base`: nothing has changed
    /// then. [`CommitError::Unpublished`] if the store fails after the commit.
    pub async fn commit(
        &self,
        base: Base,
        write: WriteId,
        added: Vec<AddedFile>,
        removal: &Removal,
    ) -> Result<(), CommitError> {
        let kind = match removal {
            Removal::Nothing => Kind::Append,
            Removal::NothingThere | Removal::All | Removal::TouchedFolders => Kind::Overwrite,
        };
        let id = write.to_string();
        let mut entry = Entry { write: id, kind, overwritten: None, added, removed: Vec::new() };
        self.make_folders(&entry)?;
        self.check_staged(&entry).await?;
        for _ in 0..TRIES_MAX {
            let now = self.finish_last().await?;
            let is_first = now.number == base.0;
            if (kind == Kind::Overwrite && !is_first) || now.overwritten > base.0 {
                return Err(self.conflict());
            }
            let number = now.number.map_or(0, |last| last + 1);
            entry.overwritten =
                if kind == Kind::Overwrite { Some(number) } else { now.overwritten };
            entry.removed = self.removed(removal, &entry).await?;
            if !self.create(number, &entry).await? {
                continue;
            }
            // From here on the write is committed, or may be: nobody deletes its staged files.
            match self.land(number, &entry).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(CommitError::Unpublished(Box::new(error))),
            }
        }
        Err(self.conflict())
    }

    /// Puts the only file of a write in its place, without the log. False if it is to be new and something is there.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn place_alone(
        &self,
        file: &AddedFile,
        to: &Path,
        is_new: bool,
    ) -> Result<bool, object_store::Error> {
        let done = match &file.staged {
            Staged::File(staged) => {
                let target_mode =
                    if is_new { RenameTargetMode::Create } else { RenameTargetMode::Overwrite };
                let options = RenameOptions { target_mode, ..RenameOptions::default() };
                self.raw().rename_opts(&below(&self.path, staged), to, options).await
            }
            Staged::Upload { upload, parts } => {
                // An upload has no condition: of two that begin at once the later one stays.
                if is_new && self.raw().head(to).await.is_ok() {
                    return Ok(false);
                }
                self.store.complete(to, upload, parts).await
            }
            Staged::Empty => {
                let mode = if is_new { PutMode::Create } else { PutMode::Overwrite };
                let options = PutOptions { mode, ..PutOptions::default() };
                self.raw().put_opts(to, Bytes::new().into(), options).await.map(drop)
            }
        };
        match done {
            Ok(()) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) if is_new => Ok(false),
            Err(error @ object_store::Error::NotFound { .. }) => match self.raw().head(to).await {
                // It was completed before an answer was lost.
                Ok(there) if there.size == file.bytes => Ok(true),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Publishes an entry that was created. False if it does not count, and is deleted again: a number that was pruned
    /// can be taken a second time, and only the last entry counts.
    async fn land(&self, number: u64, entry: &Entry) -> Result<bool, CommitError> {
        if self.numbers().await?.last() == Some(number) {
            self.publish(number, entry).await?;
            return Ok(true);
        }
        // Or others have finished this one, and gone on.
        if self.is_finished(entry).await? {
            return Ok(true);
        }
        self.log().delete(number).await?;
        Ok(false)
    }

    /// Checks that the staged files are there: executors may write to another disk than this one.
    async fn check_staged(&self, entry: &Entry) -> Result<(), CommitError> {
        let check = |file: &AddedFile| {
            let (staged, bytes) = (file.staged.clone(), file.bytes);
            async move {
                let Staged::File(staged) = staged else { return Ok(()) };
                let path = below(&self.path, &staged);
                match self.raw().head(&path).await {
                    Ok(there) if there.size == bytes => Ok(()),
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                        Err(CommitError::NotStaged { path: shown(self.raw(), &path) })
                    }
                    Err(error) => Err(self.failed("can't look at", &path, error)),
                }
            }
        };
        self.each(entry.added.iter().map(check)).await
    }

    /// Deletes the staged files of a write that is given up.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn give_up(&self, write: WriteId) -> Result<(), CommitError> {
        self.delete_staged(&write.to_string()).await
    }

    /// The data files that a reader sees, in the order of their paths.
    ///
    /// # Errors
    /// The store refuses.
    pub(crate) async fn data(&self) -> Result<Vec<ObjectMeta>, CommitError> {
        data_files(self.raw(), &self.path).await
    }

    fn log(&self) -> Log<'_> {
        Log { store: self.raw(), folder: &self.path }
    }

    fn raw(&self) -> &dyn ObjectStore {
        self.store.raw.as_ref()
    }

    fn failed(&self, doing: &'static str, path: &Path, error: object_store::Error) -> CommitError {
        CommitError::store(doing, self.raw(), path, error)
    }

    /// Creates an entry. False if another write's is there.
    pub(super) async fn create(&self, number: u64, entry: &Entry) -> Result<bool, CommitError> {
        let created = self.log().create(number, entry).await;
        if let Ok(true) = created {
            return Ok(true);
        }
        // A store that is asked a second time, since it did not answer the first, finds this very entry.
        let is_own = match self.log().entry(number).await {
            Ok(found) => found.is_some_and(|found| found.write == entry.write),
            Err(error) => {
                return Err(CommitError::Unknown(Box::new(created.err().unwrap_or(error))));
            }
        };
        match created {
            _ if is_own => Ok(true),
            // It may still be on its way.
            Err(error) if self.local.is_none() => Err(CommitError::Unknown(Box::new(error))),
            other => other,
        }
    }

    async fn numbers(&self) -> Result<Numbers, CommitError> {
        let numbers = self.log().numbers().await;
        numbers.map_err(|error| self.failed("can't list", &self.path, error))
    }

    fn conflict(&self) -> CommitError {
        CommitError::Conflict { folder: shown(self.raw(), &self.path) }
    }

    /// Publishes the last entry, if its writer has not.
    async fn finish_last(&self) -> Result<Last, CommitError> {
        for _ in 0..TRIES_MAX {
            let numbers = self.numbers().await?;
            let Some(last) = numbers.last() else { return Ok(Last::default()) };
            // One that is gone was pruned: a later one is there.
            let Some(entry) = self.log().entry(last).await? else { continue };
            if !numbers.done.contains(&last) {
                self.publish(last, &entry).await?;
            }
            return Ok(Last { number: Some(last), overwritten: entry.overwritten });
        }
        Err(self.conflict())
    }

    /// Returns true if the work of an entry that is not the last is done: later ones can't be created before it is. An
    /// entry that never was the last has its staged files, or what it removes, and none of the files that it uploads.
    async fn is_finished(&self, entry: &Entry) -> Result<bool, CommitError> {
        let (path, is_before) = match (entry.added.first(), entry.removed.first()) {
            (Some(AddedFile { staged: Staged::File(staged), .. }), _) => (staged, true),
            (_, Some(removed)) => (removed, true),
            (Some(file), None) => (&file.path, false),
            (None, None) => return Ok(true),
        };
        let path = below(&self.path, path);
        match self.raw().head(&path).await {
            Ok(_) => Ok(!is_before),
            Err(object_store::Error::NotFound { .. }) => Ok(is_before),
            Err(error) => Err(self.failed("can't look at", &path, error)),
        }
    }

    async fn removed(&self, removal: &Removal, entry: &Entry) -> Result<Vec<String>, CommitError> {
        let mut touched = BTreeSet::new();
        match removal {
            Removal::Nothing => return Ok(Vec::new()),
            Removal::NothingThere if self.data().await?.is_empty() => return Ok(Vec::new()),
            Removal::NothingThere => return Err(self.conflict()),
            Removal::All => {}
            Removal::TouchedFolders => {
                touched.extend(entry.added.iter().map(|file| folder_of(&file.path)));
            }
        }
        let mut removed = Vec::new();
        for file in self.data().await? {
            let Some(path) = self.relative(&file.location) else { continue };
            if *removal == Removal::All || touched.contains(folder_of(&path)) {
                removed.push(path);
            }
        }
        Ok(removed)
    }

    /// Makes the folders of the files, on a disk: one that can't be made is an error before the commit.
    fn make_folders(&self, entry: &Entry) -> Result<(), CommitError> {
        let Some(local) = &self.local else { return Ok(()) };
        let folders: BTreeSet<&str> =
            entry.added.iter().map(|file| folder_of(&file.path)).collect();
        for folder in folders {
            std::fs::create_dir_all(local.join(folder)).map_err(|source| {
                let source =
                    object_store::Error::Generic { store: "local disk", source: source.into() };
                self.failed("can't create", &below(&self.path, folder), source)
            })?;
        }
        Ok(())
    }

    fn relative(&self, file: &Path) -> Option<String> {
        let parts: Vec<_> = file.prefix_match(&self.path)?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        Some(parts.join("/"))
    }

    /// The redo of an entry: see [`super`]. Others may be at it, and may have gone on.
    async fn publish(&self, number: u64, entry: &Entry) -> Result<(), CommitError> {
        let store = self.raw();
        let success = self.path.clone().join(SUCCESS);
        let numbers = self.numbers().await?;
        if numbers.is_behind(number) {
            return Ok(());
        }
        if !numbers.published.contains(&number) {
            delete(store, &success).await?;
            let placed = self.each(entry.added.iter().map(|file| self.put_in_place(file))).await;
            if let Err(error) = placed {
                let numbers = self.numbers().await?;
                let is_done = numbers.is_behind(number) || numbers.published.contains(&number);
                return if is_done { self.settle_success().await } else { Err(error) };
            }
            self.log().mark(number, Mark::Published).await?;
            if self.numbers().await?.is_behind(number) {
                return self.settle_success().await;
            }
        }
        let removed = entry.removed.iter().map(|path| below(&self.path, path));
        self.each(removed.map(|path| async move { delete(store, &path).await })).await?;
        let put = store.put(&success, Bytes::new().into()).await;
        put.map_err(|error| self.failed("can't create", &success, error))?;
        // What can't be deleted is not visible, and keeps nobody from writing.
        if let Err(error) = self.delete_staged(&entry.write).await {
            tracing::warn!(%error, "staged files of a write were not deleted");
        }
        self.log().mark(number, Mark::Done).await?;
        self.settle_success().await?;
        self.log().prune(&self.numbers().await?, number).await
    }

    /// Makes `_SUCCESS` say what the log says: others may have finished this entry and be at the next one, when a
    /// change of the mark that was begun before that arrives.
    async fn settle_success(&self) -> Result<(), CommitError> {
        let success = self.path.clone().join(SUCCESS);
        for _ in 0..TRIES_MAX {
            let numbers = self.numbers().await?;
            let is_open = numbers.last().is_some_and(|last| !numbers.done.contains(&last));
            let is_there = match self.raw().head(&success).await {
                Ok(_) => true,
                Err(object_store::Error::NotFound { .. }) => false,
                Err(error) => return Err(self.failed("can't look at", &success, error)),
            };
            match (is_open, is_there) {
                (true, true) => delete(self.raw(), &success).await?,
                (false, false) => {
                    let put = self.raw().put(&success, Bytes::new().into()).await;
                    put.map_err(|error| self.failed("can't create", &success, error))?;
                }
                _ => return Ok(()),
            }
        }
        Err(self.conflict())
    }

    async fn put_in_place(&self, file: &AddedFile) -> Result<(), CommitError> {
        let to = below(&self.path, &file.path);
        let (doing, done) = match &file.staged {
            Staged::File(staged) => {
                ("can't rename to", self.raw().rename(&below(&self.path, staged), &to).await)
            }
            Staged::Upload { upload, parts } => {
                ("can't complete the upload of", self.store.complete(&to, upload, parts).await)
            }
            Staged::Empty => {
                let put = self.raw().put(&to, Bytes::new().into()).await;
                return put.map(drop).map_err(|error| self.failed("can't create", &to, error));
            }
        };
        let Err(error) = done else { return Ok(()) };
        // Somebody else may have done it, or this one before an answer was lost.
        let is_gone = matches!(error, object_store::Error::NotFound { .. });
        match self.raw().head(&to).await {
            Ok(there) if there.size == file.bytes => Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) if is_gone => {
                Err(CommitError::Gone { path: shown(self.raw(), &to) })
            }
            _ => Err(self.failed(doing, &to, error)),
        }
    }

    async fn each<F>(&self, work: impl Iterator<Item = F>) -> Result<(), CommitError>
    where
        F: Future<Output = Result<(), CommitError>>,
    {
        let work: Vec<F> = work.collect();
        futures::stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn delete_staged(&self, write: &str) -> Result<(), CommitError> {
        if let Some(local) = &self.local {
            staged::delete_local(local, write);
            return Ok(());
        }
        let folder = staged::folder(&self.path, write);
        let files: Result<Vec<_>, _> = self.raw().list(Some(&folder)).try_collect().await;
        let files = files.map_err(|error| self.failed("can't list", &folder, error))?;
        staged::delete_in(&self.store, files).await
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
