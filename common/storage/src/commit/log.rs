//! The files of the log.

use std::collections::BTreeSet;

use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use futures::TryStreamExt as _;

use super::{CommitError, Entry, GNIST, LOG};
use crate::stores::shown;

/// Digits of an entry's number in the names of its files: names sort as numbers do.
const DIGITS: usize = 20;

const ENTRY: &str = "json";

/// A mark of an entry: how far its redo has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Files that the entry adds are in their places.
    Published,
    /// Files that the entry removes are gone.
    Done,
}

impl Mark {
    const ALL: [Self; 2] = [Self::Published, Self::Done];

    fn end(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Done => "done",
        }
    }
}

/// The numbers of the entries, as a listing shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) entries: BTreeSet<u64>,
    pub(super) published: BTreeSet<u64>,
    pub(super) done: BTreeSet<u64>,
}

impl Numbers {
    /// The last entry's number.
    pub(super) fn last(&self) -> Option<u64> {
        self.entries.last().copied()
    }

    /// True if others have finished an entry, or gone on to later ones.
    pub(super) fn is_behind(&self, number: u64) -> bool {
        self.last() != Some(number) || self.done.contains(&number)
    }

    fn of(&self, mark: Mark) -> &BTreeSet<u64> {
        match mark {
            Mark::Published => &self.published,
            Mark::Done => &self.done,
        }
    }
}

/// The log of a folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log<'a> {
    pub(super) store: &'a dyn ObjectStore,
    pub(super) folder: &'a Path,
}

impl Log<'_> {
    fn path(&self) -> Path {
        self.folder.clone().join(GNIST).join(LOG)
    }

    fn file(&self, number: u64, end: &str) -> Path {
        self.path().join(format!("{number:0DIGITS$}.{end}"))
    }

    /// The numbers of the entries that are there.
    pub(super) async fn numbers(&self) -> Result<Numbers, object_store::Error> {
        let mut files = self.store.list(Some(&self.path()));
        let mut numbers = Numbers::default();
        while let Some(file) = files.try_next().await? {
            let name = file.location.filename().and_then(|name| name.split_once('.'));
            let Some((number, end)) = name else { continue };
            let Ok(number) = number.parse() else { continue };
            match end {
                ENTRY => numbers.entries.insert(number),
                end if end == Mark::Published.end() => numbers.published.insert(number),
                end if end == Mark::Done.end() => numbers.done.insert(number),
                _ => continue,
            };
        }
        Ok(numbers)
    }

    /// Reads an entry; none if it was pruned meanwhile.
    pub(super) async fn entry(&self, number: u64) -> Result<Option<Entry>, CommitError> {
        let path = self.file(number, ENTRY);
        let read = async { self.store.get(&path).await?.bytes().await };
        let text = match read.await {
            Ok(text) => text,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(CommitError::store("can't read", self.store, &path, error)),
        };
        let entry = serde_json::from_slice(&text);
        entry.map(Some).map_err(|error| CommitError::BadEntry {
            path: shown(self.store, &path),
            reason: error.to_string(),
        })
    }

    /// Creates an entry. False if there is one of its number.
    pub(super) async fn create(&self, number: u64, entry: &Entry) -> Result<bool, CommitError> {
        let path = self.file(number, ENTRY);
        let text = serde_json::to_vec_pretty(entry).expect("texts and numbers are JSON");
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, text.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(CommitError::store("can't create", self.store, &path, error)),
        }
    }

    /// Deletes an entry that is not the last.
    pub(super) async fn delete(&self, number: u64) -> Result<(), CommitError> {
        delete(self.store, &self.file(number, ENTRY)).await
    }

    /// Marks an entry.
    pub(super) async fn mark(&self, number: u64, mark: Mark) -> Result<(), CommitError> {
        let path = self.file(number, mark.end());
        let put = self.store.put(&path, Bytes::new().into()).await;
        put.map(drop).map_err(|error| CommitError::store("can't create", self.store, &path, error))
    }

    /// Deletes the entries before this one, but for one: whoever lists while the next is created sees either.
    pub(super) async fn prune(&self, numbers: &Numbers, before: u64) -> Result<(), CommitError> {
        // The entry goes first: a mark without an entry says nothing, an entry without a mark would be open.
        let before = before.saturating_sub(1);
        for number in numbers.entries.range(..before) {
            delete(self.store, &self.file(*number, ENTRY)).await?;
        }
        for mark in Mark::ALL {
            for number in numbers.of(mark).range(..before) {
                delete(self.store, &self.file(*number, mark.end())).await?;
            }
        }
        Ok(())
    }
}

/// Deletes a file, if it is there.
pub(super) async fn delete(store: &dyn ObjectStore, path: &Path) -> Result<(), CommitError> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(CommitError::store("can't delete", store, path, error)),
    }
}
