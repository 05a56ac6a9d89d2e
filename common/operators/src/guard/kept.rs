//! Decoded plans that are kept, by program and the context they were decoded in.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::TaskContext;

use super::Decoded;
use crate::program::Encoded;
use crate::source::Sources;

/// Bytes of programs whose decoded plans are kept.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// All that a decoded plan depends on, but for files and rows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    program: Bytes,
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
            partitions: leaves.take(encoded.scanned.len()).collect(),
            context: Arc::as_ptr(context).addr(),
        }
    }
}

/// The least recently used is given up first.
#[derive(Default)]
pub(super) struct Kept {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    clock: u64,
}

struct Entry {
    decoded: Arc<Decoded>,
    _context: Arc<TaskContext>,
    used: u64,
}

impl Kept {
    pub(super) fn get(&mut self, key: &Key) -> Option<Arc<Decoded>> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.decoded))
    }

    pub(super) fn put(&mut self, key: Key, context: &Arc<TaskContext>, decoded: &Arc<Decoded>) {
        let bytes = key.program.len();
        if bytes > KEPT_BYTES_MAX / 8 {
            return;
        }
        let (decoded, _context) = (Arc::clone(decoded), Arc::clone(context));
        let entry = Entry { decoded, _context, used: self.clock };
        if self.entries.insert(key, entry).is_none() {
            self.bytes += bytes;
        }
        while self.bytes > KEPT_BYTES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.entries.remove(&key);
            self.bytes -= key.program.len();
        }
    }
}
