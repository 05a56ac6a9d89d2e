//! Decoded content by hash, the least recently used given up first.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use gnist_common::graph::ContentHash;
use gnist_operators::bindings::Bindings;
use gnist_operators::program::Program;
use tokio::sync::OnceCell;

use super::Counted;

/// Decoded content of one hash.
#[derive(Clone, Debug)]
pub(super) enum Decoded {
    Program(Arc<Counted<Program>>),
    Bindings(Arc<Counted<Bindings>>),
    Rows(Arc<Counted<Vec<RecordBatch>>>),
}

impl Decoded {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Program(program) => program.bytes(),
            Self::Bindings(bindings) => bindings.bytes(),
            Self::Rows(rows) => rows.bytes(),
        }
    }

    /// Returns true if nobody has it but the one who asks.
    fn is_idle(&self) -> bool {
        match self {
            Self::Program(program) => Arc::strong_count(program) == 1,
            Self::Bindings(bindings) => Arc::strong_count(bindings) == 1,
            Self::Rows(rows) => Arc::strong_count(rows) == 1,
        }
    }
}

/// Decoded content that is kept, the least recently used given up first.
pub(super) struct Kept {
    entries: HashMap<ContentHash, Entry>,
    entries_max: usize,
    bytes: u64,
    clock: u64,
}

#[derive(Default)]
struct Entry {
    cell: Arc<OnceCell<Decoded>>,
    bytes: u64,
    used: u64,
}

impl Kept {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: HashMap::new(), entries_max, bytes: 0, clock: 0 }
    }

    pub(super) fn cell(&mut self, hash: ContentHash) -> Arc<OnceCell<Decoded>> {
        self.clock += 1;
        let entry = self.entries.entry(hash).or_default();
        entry.used = self.clock;
        Arc::clone(&entry.cell)
    }

    /// Counts what was decoded, and returns what is given up for it.
    pub(super) fn keep(&mut self, hash: ContentHash, bytes: u64, bytes_max: u64) -> Vec<Decoded> {
        if let Some(entry) = self.entries.get_mut(&hash)
            && entry.bytes != bytes
        {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
        self.settle(bytes_max)
    }

    /// Gives up what is more than so many bytes, or entries, and not in use.
    pub(super) fn settle(&mut self, bytes_max: u64) -> Vec<Decoded> {
        let mut given_up = self.give_up(self.bytes.saturating_sub(bytes_max));
        while self.entries.len() > self.entries_max {
            let Some(oldest) = self.give_up_oldest() else { break };
            given_up.extend(oldest);
        }
        given_up
    }

    /// Gives up at least so many bytes of what no task uses, if there are.
    pub(super) fn give_up(&mut self, bytes: u64) -> Vec<Decoded> {
        let (mut given_up, keep) = (Vec::new(), self.bytes.saturating_sub(bytes));
        while self.bytes > keep {
            let Some(oldest) = self.give_up_oldest() else { break };
            given_up.extend(oldest);
        }
        given_up
    }

    /// Gives up the entry that was used longest ago, and returns its content if it was decoded.
    /// None when all are in use.
    fn give_up_oldest(&mut self) -> Option<Option<Decoded>> {
        let is_idle = |entry: &Entry| {
            Arc::strong_count(&entry.cell) == 1 && entry.cell.get().is_none_or(Decoded::is_idle)
        };
        let idle = self.entries.iter().filter(|(_, entry)| is_idle(entry));
        let hash = *idle.min_by_key(|(_, entry)| entry.used)?.0;
        let entry = self.entries.remove(&hash).expect("it was found");
        self.bytes -= entry.bytes;
        Some(entry.cell.get().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(kept: &mut Kept, name: u8, bytes: u64) -> Arc<Counted<Vec<RecordBatch>>> {
        let cell = kept.cell(ContentHash([name; 32]));
        let rows = Counted::free(Vec::new());
        cell.set(Decoded::Rows(Arc::clone(&rows))).unwrap();
        drop(cell);
        kept.keep(ContentHash([name; 32]), bytes, 100);
        rows
    }

    fn has(kept: &Kept, name: u8) -> bool {
        kept.entries.contains_key(&ContentHash([name; 32]))
    }

    #[test]
    fn the_least_recently_used_that_no_task_uses_is_given_up() {
        let mut all = Kept::new(usize::MAX);
        drop(kept(&mut all, 1, 40));
        drop(kept(&mut all, 2, 40));
        assert!(all.cell(ContentHash([1; 32])).get().is_some());
        let used = kept(&mut all, 3, 40);
        assert!(has(&all, 1) && !has(&all, 2), "the second was used least recently");
        drop(kept(&mut all, 4, 100));
        assert!(has(&all, 3) && !has(&all, 1), "the third is in use");
        assert_eq!(all.give_up(100).len(), 1);
        assert!(has(&all, 3) && !has(&all, 4));
        drop(used);
        assert_eq!(all.give_up(1).len(), 1);
        assert_eq!((all.entries.len(), all.bytes), (0, 0));
    }

    #[test]
    fn what_was_in_use_is_given_up_when_its_task_has_ended() {
        let mut all = Kept::new(usize::MAX);
        let used: Vec<_> = (0..9).map(|name| kept(&mut all, name, 40)).collect();
        assert_eq!(all.bytes, 360);
        drop(used);
        assert_eq!(all.settle(100).len(), 7);
        assert_eq!(all.bytes, 80);
    }

    #[test]
    fn small_content_is_bounded_by_number() {
        let mut all = Kept::new(2);
        for name in 0..9 {
            drop(kept(&mut all, name, 1));
        }
        assert!(has(&all, 7) && has(&all, 8));
        assert_eq!((all.entries.len(), all.bytes), (2, 2));
    }
}
