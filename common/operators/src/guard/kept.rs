//! Decoded plans that are kept, by program and the context they were decoded in.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::TaskContext;

use super::Decoded;
use crate::program::Encoded;
use crate::source::Sources;

/// Bytes of the programs and texts that are kept.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// All that a decoded plan depends on, but for files and rows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    program: Bytes,
    /// The checksum of the program: all of its bytes that a table of keys looks at.
    checksum: u32,
    /// Number of partitions of every leaf that scans.
    partitions: Vec<u32>,
    /// The address of the context: it stays one context as long as it is kept here.
    context: usize,
}

impl Key {
    pub(super) fn new(encoded: &Encoded, context: &Arc<TaskContext>) -> Self {
        let leaves = 0_u32..;
        let leaves = leaves.map_while(|leaf| encoded.scanned.partitions(leaf).ok());
        Self {
            program: encoded.bytes.clone(),
            checksum: crc32fast::hash(&encoded.bytes),
            partitions: leaves.take(encoded.scanned.len()).collect(),
            context: Arc::as_ptr(context).addr(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.checksum, &self.partitions, self.context).hash(state);
    }
}

/// A decoded plan.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) decoded: Arc<Decoded>,
    /// Messages within messages of its program.
    pub(super) depth: usize,
}

/// The least recently used is given up first.
#[derive(Default)]
pub(super) struct Kept {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    clock: u64,
}

struct Entry {
    known: Known,
    bytes: usize,
    _context: Arc<TaskContext>,
    used: u64,
}

impl Kept {
    pub(super) fn get(&mut self, key: &Key) -> Option<Known> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.known.clone())
    }

    /// Keeps a plan, unless it is large.
    pub(super) fn put(&mut self, key: Key, context: &Arc<TaskContext>, known: Known) {
        let bytes = key.program.len() + known.decoded.bytes();
        if bytes > KEPT_BYTES_MAX / 8 {
            return;
        }
        let entry = Entry { known, bytes, _context: Arc::clone(context), used: self.clock };
        let replaced = self.entries.insert(key, entry);
        self.bytes += bytes;
        self.bytes -= replaced.map_or(0, |entry| entry.bytes);
        while self.bytes > KEPT_BYTES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.bytes -= self.entries.remove(&key).map_or(0, |entry| entry.bytes);
        }
    }
}
