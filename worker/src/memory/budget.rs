//! The budget itself: who holds how much, and who may have more.
//!
//! Blocks give way first: whoever asks and does not fit makes the block store write its oldest
//! output to disk. Then those that can spill share fairly, after DataFusion's `FairSpillPool` and
//! with two changes. While half of the budget is free nobody is held to a share, because a share
//! per registered consumer starves the one that works while the others wait. And what is left is
//! checked as well, so that the sum stays near the budget; only a small guaranteed part is given
//! in any case, since an operator that holds nothing has nothing to spill.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gnist_common::bytes::ByteSize;

/// Number of times that one request makes room before it is refused: another one may take what it
/// freed.
const EVICTIONS_MAX: u32 = 8;

/// One part in so many is kept from holders that can spill.
const KEPT_BACK: u64 = 8;

/// One part in so many is guaranteed to each holder, but see [`GUARANTEED_BYTES_MIN`].
const GUARANTEED: u64 = 16;

/// Least number of bytes that is guaranteed to each holder: a few batches, as long as the budget
/// can be overdrawn by so much.
const GUARANTEED_BYTES_MIN: u64 = 8 << 20;

/// The budget may be overdrawn by one part in so many, for guaranteed parts only.
const OVERDRAWN_MAX: u64 = 8;

/// One part in so many of a worker's memory is for what nobody counts: pages of files that are being
/// decoded, batches that operators have in hand, free space between blocks of memory.
const UNCOUNTED: u64 = 16;

/// The use that bytes are held for, which decides who gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Held by someone that writes to disk when refused more.
    Spillable,
    /// Held by a merge of sorted runs, which merges fewer at a time when refused more.
    Merging,
    /// Held until its holder is done.
    Fixed,
    /// Stored output, written to disk when someone else needs the room.
    Blocks,
}

/// Makes room by writing stored output to disk, or by dropping what can be fetched again.
pub trait Evict: Send + Sync {
    /// Frees at least so many bytes if it has them; returns how many it freed.
    ///
    /// # Errors
    /// When the disk refuses.
    fn evict(&self, bytes: u64) -> io::Result<u64>;
}

/// The budget did not have it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not enough is free.
    #[error("{free_bytes} bytes of {limit_bytes} are free")]
    Full {
        /// Bytes that the asker could have had.
        free_bytes: u64,
        /// The whole budget.
        limit_bytes: u64,
    },
    /// Making room failed.
    #[error("writing stored blocks to disk")]
    Disk(#[from] io::Error),
}

#[derive(Debug, Default)]
struct Held {
    spillable: u64,
    merging: u64,
    fixed: u64,
    blocks: u64,
    /// Number of holders that can spill, whatever they hold.
    spillers: u64,
    /// Number of merges, whatever they hold.
    merges: u64,
    peak: u64,
}

impl Held {
    fn total(&self) -> u64 {
        self.spillable + self.merging + self.fixed + self.blocks
    }

    fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Spillable => &mut self.spillable,
            Class::Merging => &mut self.merging,
            Class::Fixed => &mut self.fixed,
            Class::Blocks => &mut self.blocks,
        }
    }

    /// Number of holders of a class that share.
    fn sharers(&mut self, class: Class) -> Option<&mut u64> {
        match class {
            Class::Spillable => Some(&mut self.spillers),
            Class::Merging => Some(&mut self.merges),
            Class::Fixed | Class::Blocks => None,
        }
    }

    /// Returns the part of `bytes`, which all share, that one holder of the class may have; none if
    /// its holders do not share.
    fn share(&self, class: Class, bytes: u64) -> Option<u64> {
        match class {
            Class::Spillable => {
                let taken = self.fixed + self.merging;
                Some(bytes.saturating_sub(taken) / self.spillers.max(1))
            }
            Class::Merging => Some(bytes / self.merges.max(1)),
            Class::Fixed | Class::Blocks => None,
        }
    }

    fn add(&mut self, class: Class, bytes: u64) {
        *self.of(class) += bytes;
        self.peak = self.peak.max(self.total());
    }
}

/// The bytes a worker may hold.
pub struct MemoryBudget {
    /// The memory that the user gave, for messages.
    memory: u64,
    limit: u64,
    held: Mutex<Held>,
    /// Holders that make room at no cost, asked first.
    idle: Mutex<Vec<Weak<dyn Evict>>>,
    /// Holders that make room by writing to disk, in the order in which they are asked.
    evict: Mutex<Vec<Weak<dyn Evict>>>,
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("limit", &self.limit)
            .field("held", &self.held)
            .finish()
    }
}

impl MemoryBudget {
    /// The budget of a worker with so much memory, all free, but for a part that nobody counts.
    pub fn of_memory(memory: ByteSize) -> Arc<Self> {
        Self::counting(memory.0, memory.0 - memory.0 / UNCOUNTED)
    }

    /// A budget of so many bytes, all free.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Self::counting(limit_bytes, limit_bytes)
    }

    fn counting(memory: u64, limit: u64) -> Arc<Self> {
        let (idle, evict) = (Mutex::default(), Mutex::default());
        Arc::new(Self { memory, limit, held: Mutex::default(), idle, evict })
    }

    /// Names one more that makes room, asked after those that were named before.
    pub fn evict_with(&self, evict: Weak<dyn Evict>) {
        self.evict.lock().unwrap_or_else(PoisonError::into_inner).push(evict);
    }

    /// Names one that makes room at no cost, asked before those that write to disk.
    pub fn evict_first_with(&self, evict: Weak<dyn Evict>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(evict);
    }

    /// The memory that the user gave.
    pub fn memory(&self) -> ByteSize {
        ByteSize(self.memory)
    }

    /// The bytes that all may hold together.
    pub fn limit_bytes(&self) -> u64 {
        self.limit
    }

    /// Returns the bytes that all hold now.
    pub fn used_bytes(&self) -> u64 {
        self.held().total()
    }

    /// Returns the most bytes that were ever held.
    pub fn peak_bytes(&self) -> u64 {
        self.held().peak
    }

    /// Counts one more holder of a class, if its holders share.
    pub(super) fn add_holder(&self, class: Class) {
        if let Some(sharers) = self.held().sharers(class) {
            *sharers += 1;
        }
    }

    pub(super) fn remove_holder(&self, class: Class) {
        if let Some(sharers) = self.held().sharers(class) {
            *sharers = sharers.checked_sub(1).expect("removed once per addition");
        }
    }

    /// Adds bytes to a holder that has `has_bytes` already, making room if need be.
    pub(super) fn try_add(&self, class: Class, has_bytes: u64, bytes: u64) -> Result<(), Refused> {
        for left in (0..EVICTIONS_MAX).rev() {
            let missing = match self.try_add_once(class, has_bytes, bytes) {
                Ok(()) => return Ok(()),
                // What is kept without need must not make the shares smaller.
                Err(Missing::OverShare { free_bytes, missing_bytes }) => {
                    if ask(&self.idle, missing_bytes)? == 0 || left == 0 {
                        return Err(self.full(free_bytes));
                    }
                    continue;
                }
                Err(Missing::Room { missing_bytes }) => missing_bytes,
            };
            if self.make_room(missing)? == 0 {
                break;
            }
        }
        self.add_at_last(class, has_bytes, bytes)
    }

    fn try_add_once(&self, class: Class, has: u64, bytes: u64) -> Result<(), Missing> {
        let mut held = self.held();
        let wanted = held.total() + bytes;
        let half = self.limit / 2;
        // Blocks are no reason to be held to a share: without them, half may be free.
        if let Some(share) = held.share(class, self.limit - self.limit / KEPT_BACK)
            && has + bytes > share.max(self.guaranteed())
            && wanted - held.blocks > half
        {
            let sharers = held.sharers(class).map_or(1, |sharers| (*sharers).max(1));
            let missing_bytes = (has + bytes - share).saturating_mul(sharers);
            return Err(Missing::OverShare {
                free_bytes: share.saturating_sub(has),
                missing_bytes,
            });
        }
        if wanted > self.limit {
            return Err(Missing::Room { missing_bytes: wanted - self.limit });
        }
        held.add(class, bytes);
        Ok(())
    }

    /// No more room can be made: only what is guaranteed is left.
    fn add_at_last(&self, class: Class, has: u64, bytes: u64) -> Result<(), Refused> {
        let mut held = self.held();
        let wanted = held.total() + bytes;
        let is_guaranteed =
            has + bytes <= self.guaranteed() && wanted <= self.limit + self.overdrawn_max();
        if wanted <= self.limit || is_guaranteed {
            held.add(class, bytes);
            return Ok(());
        }
        let free_bytes = self.limit.saturating_sub(held.total());
        drop(held);
        Err(self.full(free_bytes))
    }

    fn guaranteed(&self) -> u64 {
        (self.limit / GUARANTEED).max(GUARANTEED_BYTES_MIN.min(self.overdrawn_max()))
    }

    fn overdrawn_max(&self) -> u64 {
        self.limit / OVERDRAWN_MAX
    }

    /// Adds bytes whatever is free, making room first: for what exists already or must go on.
    pub(super) fn add(&self, class: Class, bytes: u64) {
        let missing = (self.used_bytes() + bytes).saturating_sub(self.limit);
        if missing > 0 {
            // A disk that refuses is met again by whoever can report it.
            let _refused = self.make_room(missing);
        }
        self.held().add(class, bytes);
    }

    /// Adds bytes if they are free already, and an eighth of the budget stays so.
    fn add_if_free(&self, class: Class, bytes: u64) -> bool {
        let mut held = self.held();
        let is_free = held.total() + bytes <= self.limit - self.limit / KEPT_BACK;
        if is_free {
            held.add(class, bytes);
        }
        is_free
    }

    pub(super) fn remove(&self, class: Class, bytes: u64) {
        let mut held = self.held();
        let of = held.of(class);
        *of = of.checked_sub(bytes).expect("no more is given back than was taken");
    }

    fn make_room(&self, bytes: u64) -> io::Result<u64> {
        let idle = ask(&self.idle, bytes)?;
        Ok(if idle < bytes { idle + ask(&self.evict, bytes - idle)? } else { idle })
    }

    fn full(&self, free_bytes: u64) -> Refused {
        Refused::Full { free_bytes, limit_bytes: self.memory }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one after the other until so many bytes are free; returns how many are.
fn ask(evict: &Mutex<Vec<Weak<dyn Evict>>>, bytes: u64) -> io::Result<u64> {
    let evict = evict.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut freed = 0;
    for evict in evict.iter().filter_map(Weak::upgrade) {
        if freed < bytes {
            freed += evict.evict(bytes - freed)?;
        }
    }
    Ok(freed)
}

enum Missing {
    Room {
        missing_bytes: u64,
    },
    /// The holder would have more than a fair share, unless so much more were free.
    OverShare {
        free_bytes: u64,
        missing_bytes: u64,
    },
}

/// Bytes of the budget that are given back when this is dropped.
#[derive(Debug)]
pub struct Grant {
    budget: Arc<MemoryBudget>,
    class: Class,
    bytes: u64,
}

impl Grant {
    /// A grant of no bytes yet, for one holder of this class, which counts as one of those that
    /// share.
    pub fn empty(budget: &Arc<MemoryBudget>, class: Class) -> Self {
        budget.add_holder(class);
        Self { budget: Arc::clone(budget), class, bytes: 0 }
    }

    /// Returns the bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more if the budget has it.
    ///
    /// # Errors
    /// When it has not; what was held before is kept.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), Refused> {
        self.budget.try_add(self.class, self.bytes, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes more in any case.
    pub fn grow(&mut self, bytes: u64) {
        self.budget.add(self.class, bytes);
        self.bytes += bytes;
    }

    /// Takes more if it is free, without making room: for what can be done without.
    #[must_use]
    pub fn grow_if_free(&mut self, bytes: u64) -> bool {
        let is_free = self.budget.add_if_free(self.class, bytes);
        if is_free {
            self.bytes += bytes;
        }
        is_free
    }

    /// Gives some back, no more than is held.
    pub fn shrink(&mut self, bytes: u64) {
        self.budget.remove(self.class, bytes);
        self.bytes -= bytes;
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        self.budget.remove(self.class, self.bytes);
        self.bytes = 0;
    }

    /// Moves some of these bytes, no more than there are, into a grant of another class.
    #[must_use]
    pub fn split_off(&mut self, bytes: u64, class: Class) -> Grant {
        let moved = bytes.min(self.bytes);
        let mut other = Grant::empty(&self.budget, class);
        let mut held = self.budget.held();
        *held.of(self.class) -= moved;
        *held.of(class) += moved;
        drop(held);
        self.bytes -= moved;
        other.bytes = moved;
        other
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.clear();
        self.budget.remove_holder(self.class);
    }
}
