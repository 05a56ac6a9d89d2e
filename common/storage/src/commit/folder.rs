//! A folder that is written to: what a writer finds, and how its entry lands.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use futures::{StreamExt as _, TryStreamExt as _};

use super::log::{Log, Mark, Numbers, delete};
use super::staged;
use super::view::{below, data_files};
use super::{AddedFile, CommitError, Entry, Kind, SUCCESS, WriteId};

/// Files that are renamed or deleted at once.
const AT_ONCE: usize = 16;

/// Times that a writer meets others before it gives up.
const TRIES_MAX: usize = 1000;

/// A folder that files are written to.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The folder on this machine, if the store is its disk.
    local: Option<PathBuf>,
}

/// The state of a folder when a write began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The number of the last entry of the log.
    pub last: Option<u64>,
    /// The number of the last one that is an overwrite.
    pub overwritten: Option<u64>,
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
    pub fn new(store: Arc<dyn ObjectStore>, path: Path, local: Option<PathBuf>) -> Self {
        Self { store, path, local }
    }

    /// Looks at the folder before a write reads anything. Finishes what an earlier writer left.
    ///
    /// # Errors
    /// The store refuses, or the log is damaged.
    pub async fn begin(&self) -> Result<Base, CommitError> {
        if let Some(local) = &self.local {
            staged::delete_old(local);
        }
        self.finish_last().await
    }

    /// Returns true if readers see data in the folder.
    ///
    /// # Errors
    /// As [`Folder::begin`].
    pub async fn has_data(&self) -> Result<bool, CommitError> {
        Ok(!self.data().await?.is_empty())
    }

    /// Commits a write and publishes its files.
    ///
    /// # Errors
    /// As [`Folder::begin`], or another write that it can't live with has landed since `base`: nothing has changed then.
    /// [`CommitError::Unpublished`] if the store fails after the commit.
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
        for _ in 0..TRIES_MAX {
            let now = self.finish_last().await?;
            let is_first = now.last == base.last;
            if (kind == Kind::Overwrite && !is_first) || now.overwritten > base.overwritten {
                return Err(self.conflict());
            }
            let number = now.last.map_or(0, |last| last + 1);
            entry.overwritten =
                if kind == Kind::Overwrite { Some(number) } else { now.overwritten };
            entry.removed = self.removed(removal, &entry).await?;
            if !self.log().create(number, &entry).await? {
                continue;
            }
            // A number that was pruned can be taken a second time: only the last entry counts. Or others have finished
            // this one, and gone on.
            if self.numbers().await?.last() != Some(number) {
                if self.is_finished(&entry).await? {
                    return Ok(());
                }
                self.log().delete(number).await?;
                continue;
            }
            let published = self.publish(number, &entry).await;
            return published.map_err(|error| CommitError::Unpublished(Box::new(error)));
        }
        Err(self.conflict())
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
        data_files(self.store.as_ref(), &self.path).await
    }

    fn log(&self) -> Log<'_> {
        Log { store: self.store.as_ref(), folder: &self.path }
    }

    async fn numbers(&self) -> Result<Numbers, CommitError> {
        let numbers = self.log().numbers().await;
        numbers.map_err(|error| CommitError::store("can't list", &self.path, error))
    }

    fn conflict(&self) -> CommitError {
        CommitError::Conflict { folder: self.path.clone() }
    }

    /// Publishes the last entry, if its writer has not.
    async fn finish_last(&self) -> Result<Base, CommitError> {
        for _ in 0..TRIES_MAX {
            let numbers = self.numbers().await?;
            let Some(last) = numbers.last() else { return Ok(Base::default()) };
            // One that is gone was pruned: a later one is there.
            let Some(entry) = self.log().entry(last).await? else { continue };
            if !numbers.done.contains(&last) {
                self.publish(last, &entry).await?;
            }
            return Ok(Base { last: Some(last), overwritten: entry.overwritten });
        }
        Err(self.conflict())
    }

    /// Returns true if the work of an entry that is not the last is done: later ones can't be created before it is. An
    /// entry that never was the last has its staged files, or what it removes.
    async fn is_finished(&self, entry: &Entry) -> Result<bool, CommitError> {
        let added = entry.added.iter().map(|file| &file.staged);
        let Some(evidence) = added.chain(&entry.removed).next() else { return Ok(true) };
        let path = below(&self.path, evidence);
        match self.store.head(&path).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(CommitError::store("can't look at", &path, error)),
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
                CommitError::store("can't create", &below(&self.path, folder), source)
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
        let store = self.store.as_ref();
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
                return if is_done { Ok(()) } else { Err(error) };
            }
            self.log().mark(number, Mark::Published).await?;
            if self.numbers().await?.is_behind(number) {
                return Ok(());
            }
        }
        let removed = entry.removed.iter().map(|path| below(&self.path, path));
        self.each(removed.map(|path| async move { delete(store, &path).await })).await?;
        let put = store.put(&success, Bytes::new().into()).await;
        put.map_err(|error| CommitError::store("can't create", &success, error))?;
        self.log().mark(number, Mark::Done).await?;
        self.log().prune(&self.numbers().await?, number).await?;
        self.delete_staged(&entry.write).await
    }

    async fn put_in_place(&self, file: &AddedFile) -> Result<(), CommitError> {
        let (from, to) = (below(&self.path, &file.staged), below(&self.path, &file.path));
        match self.store.rename(&from, &to).await {
            Ok(()) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => match self.store.head(&to).await {
                Ok(there) if there.size == file.bytes => Ok(()),
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                    Err(CommitError::Gone { path: to })
                }
                Err(error) => Err(CommitError::store("can't look at", &to, error)),
            },
            Err(error) => Err(CommitError::store("can't rename to", &to, error)),
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
            staged::delete(local, write);
            return Ok(());
        }
        let folder = staged::folder(&self.path, write);
        let store = self.store.as_ref();
        let files: Result<Vec<_>, _> = store.list(Some(&folder)).try_collect().await;
        let files = files.map_err(|error| CommitError::store("can't list", &folder, error))?;
        self.each(files.iter().map(|file| delete(store, &file.location))).await
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
