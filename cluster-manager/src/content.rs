//! Programs, bindings and rows of tables by hash, kept in memory while an application that put
//! them needs them: until it releases them or is closed.
//!
//! The store is shared by the shell, which opens and closes applications, and by the calls that put
//! and get content, so that 100 MiB never pass through the shell's inbox. Its lock is held for map
//! operations only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::ContentHash;
use gnist_common::ids::ApplicationId;

/// The store.
pub(crate) struct ContentStore {
    bytes_max: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    open: BTreeSet<ApplicationId>,
    entries: BTreeMap<ContentHash, Entry>,
    bytes: u64,
}

/// Content, and the applications that need it.
struct Entry {
    bytes: Bytes,
    applications: BTreeSet<ApplicationId>,
}

impl ContentStore {
    /// An empty store with a bound on all it holds.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    /// Accepts content of this application from now on.
    pub(crate) fn open(&self, application: ApplicationId) {
        self.lock().open.insert(application);
    }

    /// Lets go of what only this application needed.
    pub(crate) fn close(&self, application: ApplicationId) {
        let mut inner = self.lock();
        inner.open.remove(&application);
        let mut freed = 0;
        inner.entries.retain(|_, entry| {
            entry.applications.remove(&application);
            let is_needed = !entry.applications.is_empty();
            freed += if is_needed { 0 } else { entry.bytes.len() as u64 };
            is_needed
        });
        inner.bytes -= freed;
    }

    /// Lets go of content that an application needs no more.
    pub(crate) fn release(&self, application: ApplicationId, hash: ContentHash) {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(&hash) else { return };
        entry.applications.remove(&application);
        if entry.applications.is_empty() {
            let freed = inner.entries.remove(&hash).map_or(0, |entry| entry.bytes.len() as u64);
            inner.bytes -= freed;
        }
    }

    /// Bytes of all content.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Refuses what would not fit, before it is received.
    ///
    /// # Errors
    /// `Cluster` when the store would hold more than it may.
    pub(crate) fn check_room(&self, length: u64) -> Result<(), Failure> {
        self.lock().check_room(length, self.bytes_max)
    }

    /// Keeps content under its hash for an application; nothing changes when it is there already.
    ///
    /// # Errors
    /// `Cluster` when the application is not open, or the store would hold more than it may.
    pub(crate) fn put(
        &self,
        application: ApplicationId,
        hash: ContentHash,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        let mut inner = self.lock();
        inner.check_open(application)?;
        if let Some(entry) = inner.entries.get_mut(&hash) {
            entry.applications.insert(application);
            return Ok(());
        }
        inner.check_room(bytes.len() as u64, self.bytes_max)?;
        inner.bytes += bytes.len() as u64;
        let applications = BTreeSet::from([application]);
        inner.entries.insert(hash, Entry { bytes, applications });
        Ok(())
    }

    /// Keeps content for one more application; false when it is not there.
    ///
    /// # Errors
    /// `Cluster` when the application is not open.
    pub(crate) fn keep(
        &self,
        application: ApplicationId,
        hash: ContentHash,
    ) -> Result<bool, Failure> {
        let mut inner = self.lock();
        inner.check_open(application)?;
        let entry = inner.entries.get_mut(&hash);
        let is_present = entry.is_some();
        if let Some(entry) = entry {
            entry.applications.insert(application);
        }
        Ok(is_present)
    }

    /// The content of this name.
    ///
    /// # Errors
    /// `NotFound` when it was never put, or its applications have closed.
    pub(crate) fn get(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        let found = self.lock().entries.get(&hash).map(|entry| entry.bytes.clone());
        found.ok_or_else(|| {
            let message = format!("the cluster manager has no content `{hash}`");
            Failure::new(ErrorKind::NotFound, message)
        })
    }

    /// True if content of this name is kept for this application.
    pub(crate) fn is_kept(&self, application: ApplicationId, hash: ContentHash) -> bool {
        let inner = self.lock();
        inner.entries.get(&hash).is_some_and(|entry| entry.applications.contains(&application))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check_open(&self, application: ApplicationId) -> Result<(), Failure> {
        if self.open.contains(&application) {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::Cluster, format!("`{application}` is not open")))
    }

    fn check_room(&self, length: u64, bytes_max: u64) -> Result<(), Failure> {
        if self.bytes.saturating_add(length) <= bytes_max {
            return Ok(());
        }
        let (length, bytes_max) = (ByteSize(length), ByteSize(bytes_max));
        let message = format!(
            "the cluster manager has no room for {length} of programs, bindings and rows of tables \
             in memory: it keeps {bytes_max} at most"
        );
        Err(Failure::new(ErrorKind::Cluster, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: ContentHash = ContentHash([7; 32]);

    #[test]
    fn content_lives_as_long_as_the_last_application_that_needs_it() {
        let store = ContentStore::new(100);
        let (first, second) = (ApplicationId(0), ApplicationId(1));
        store.open(first);
        store.open(second);
        assert_eq!(store.keep(second, HASH), Ok(false));
        store.put(first, HASH, Bytes::from_static(b"plan")).expect("there is room");
        assert_eq!(store.keep(second, HASH), Ok(true));
        store.close(first);
        assert_eq!(store.get(HASH), Ok(Bytes::from_static(b"plan")));
        store.close(second);
        assert_eq!(store.get(HASH).expect_err("gone").kind, ErrorKind::NotFound);
        assert!(store.put(second, HASH, Bytes::new()).is_err(), "its application is closed");
    }

    #[test]
    fn content_that_is_released_is_gone_unless_another_application_needs_it() {
        let store = ContentStore::new(100);
        let (first, second) = (ApplicationId(0), ApplicationId(1));
        store.open(first);
        store.open(second);
        store.put(first, HASH, Bytes::from_static(b"plan")).expect("there is room");
        store.put(second, HASH, Bytes::from_static(b"plan")).expect("it is there");
        store.release(first, HASH);
        store.release(first, HASH);
        assert_eq!(store.bytes(), 4);
        store.release(second, HASH);
        assert_eq!((store.bytes(), store.get(HASH).is_err()), (0, true));
        store.put(second, HASH, Bytes::from_static(b"plan")).expect("it is put again");
        assert_eq!(store.get(HASH), Ok(Bytes::from_static(b"plan")));
    }

    #[test]
    fn the_store_is_bounded_and_gets_its_room_back() {
        let store = ContentStore::new(10);
        let application = ApplicationId(0);
        store.open(application);
        store.put(application, HASH, Bytes::from_static(b"12345678")).expect("there is room");
        assert!(store.check_room(3).is_err());
        let other = ContentHash([8; 32]);
        assert!(store.put(application, other, Bytes::from_static(b"123")).is_err());
        store.close(application);
        assert_eq!(store.check_room(10), Ok(()));
    }
}
