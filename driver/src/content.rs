//! Content that the driver has put where executors pull it: programs, bindings, rows of tables.
//!
//! The driver owns it: the cluster manager keeps what was put until the driver releases it, or the
//! application closes. Content that a job or a living table uses stays; a little more is kept, so
//! that a query that comes again puts nothing, the least recently used released first.
//!
//! ```text
//! put ──▶ used (someone holds it) ──last holder gone──▶ idle ──▶ used again
//!                                                         └─ too many ──▶ released
//! ```
//!
//! Invariant: a release and a put of the same content never overtake each other: both hold the
//! content's own lock until the manager has answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gnist_common::error::Failure;
use gnist_common::graph::ContentHash;
use gnist_proto::link::ContentSink;
use sha2::{Digest, Sha256};

/// Idle content that is kept at most.
const IDLE_ENTRIES_MAX: usize = 512;
const IDLE_BYTES_MAX: u64 = 16 << 20;

/// The hash that names content.
pub(crate) fn content_hash(bytes: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(bytes).into())
}

/// Content that stays as long as anyone holds this.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) hash: ContentHash,
    pub(crate) bytes: u64,
    /// True if the manager has it.
    is_there: tokio::sync::Mutex<bool>,
}

/// All content of an application.
pub(crate) struct Contents {
    sink: Arc<dyn ContentSink>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_hash: HashMap<ContentHash, Entry>,
    clock: u64,
}

struct Entry {
    put: Arc<Put>,
    used: u64,
}

impl Entry {
    /// Returns true if nobody holds the content but the map, and `others`.
    fn is_idle(&self, others: usize) -> bool {
        Arc::strong_count(&self.put) == 1 + others
    }
}

impl Contents {
    pub(crate) fn new(sink: Arc<dyn ContentSink>) -> Self {
        Self { sink, entries: Mutex::default() }
    }

    /// Bytes that the manager keeps for this application.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries().by_hash.values().map(|entry| entry.put.bytes).sum()
    }

    /// Puts content unless the manager has it.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone or has no room.
    pub(crate) async fn put(&self, bytes: Bytes) -> Result<Arc<Put>, Failure> {
        let put = self.entry(content_hash(&bytes), bytes.len() as u64);
        let mut is_there = put.is_there.lock().await;
        if !*is_there {
            self.sink.put_content(put.hash, bytes).await?;
            *is_there = true;
        }
        drop(is_there);
        Ok(put)
    }

    fn entry(&self, hash: ContentHash, bytes: u64) -> Arc<Put> {
        let mut entries = self.entries();
        entries.clock += 1;
        let used = entries.clock;
        let entry = entries.by_hash.entry(hash).or_insert_with(|| Entry {
            put: Arc::new(Put { hash, bytes, is_there: tokio::sync::Mutex::new(false) }),
            used,
        });
        entry.used = used;
        Arc::clone(&entry.put)
    }

    /// Releases idle content above what is kept. A manager that is gone has released everything.
    pub(crate) async fn trim(&self) {
        for put in self.too_much() {
            let mut is_there = put.is_there.lock().await;
            // Whoever holds it by now finds it there, or waits for this lock and puts it again.
            let is_idle = |entry: &Entry| entry.is_idle(1);
            let is_unused = self.entries().by_hash.get(&put.hash).is_some_and(is_idle);
            if is_unused && *is_there {
                *is_there = self.sink.release_content(put.hash).await.is_err();
            }
            let is_gone = !*is_there;
            drop(is_there);
            let mut entries = self.entries();
            if is_gone && entries.by_hash.get(&put.hash).is_some_and(is_idle) {
                entries.by_hash.remove(&put.hash);
            }
        }
    }

    /// The least recently used idle content above what is kept.
    fn too_much(&self) -> Vec<Arc<Put>> {
        let entries = self.entries();
        let idle = entries.by_hash.values().filter(|entry| entry.is_idle(0));
        let mut idle: Vec<_> = idle.map(|entry| (entry.used, &entry.put)).collect();
        idle.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        let (mut kept, mut bytes) = (0, 0);
        let is_kept = |put: &Arc<Put>| {
            bytes += put.bytes;
            kept += 1;
            kept <= IDLE_ENTRIES_MAX && bytes <= IDLE_BYTES_MAX
        };
        let mut is_kept = is_kept;
        let above = idle.into_iter().filter(|(_, put)| !is_kept(put));
        above.map(|(_, put)| Arc::clone(put)).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_trait::async_trait;

    use super::*;

    /// A content sink that keeps the names which a manager would keep.
    #[derive(Default)]
    struct Kept(Mutex<BTreeSet<ContentHash>>);

    #[async_trait]
    impl ContentSink for Kept {
        async fn put_content(&self, hash: ContentHash, _: Bytes) -> Result<(), Failure> {
            assert!(self.0.lock().unwrap().insert(hash), "put once");
            Ok(())
        }

        async fn release_content(&self, hash: ContentHash) -> Result<(), Failure> {
            assert!(self.0.lock().unwrap().remove(&hash), "released once");
            Ok(())
        }
    }

    #[tokio::test]
    async fn idle_content_is_bounded_and_used_content_stays() {
        let kept = Arc::new(Kept::default());
        let contents = Contents::new(Arc::clone(&kept) as _);
        let used = contents.put(Bytes::from_static(b"used")).await.unwrap();
        for n in 0..2 * IDLE_ENTRIES_MAX as u64 {
            contents.put(Bytes::copy_from_slice(&n.to_le_bytes())).await.unwrap();
            contents.trim().await;
        }
        assert_eq!(kept.0.lock().unwrap().len(), IDLE_ENTRIES_MAX + 1);
        assert_eq!(contents.bytes(), 8 * IDLE_ENTRIES_MAX as u64 + 4);
        assert!(kept.0.lock().unwrap().contains(&used.hash));
        let last = Bytes::copy_from_slice(&(2 * IDLE_ENTRIES_MAX as u64 - 1).to_le_bytes());
        contents.put(last).await.unwrap();
        contents.put(Bytes::copy_from_slice(&0_u64.to_le_bytes())).await.unwrap();
    }

    #[tokio::test]
    async fn large_idle_content_is_released_at_once() {
        let kept = Arc::new(Kept::default());
        let contents = Contents::new(Arc::clone(&kept) as _);
        let large = Bytes::from(vec![0; usize::try_from(IDLE_BYTES_MAX).unwrap() + 1]);
        let put = contents.put(large).await.unwrap();
        contents.trim().await;
        assert!(contents.bytes() > IDLE_BYTES_MAX, "it is used");
        drop(put);
        contents.trim().await;
        assert_eq!(contents.bytes(), 0);
        assert!(kept.0.lock().unwrap().is_empty());
    }
}
