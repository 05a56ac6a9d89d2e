//! Credit: the bytes of one run that may be on their way or wait for their reader.
//!
//! A peer sends a frame only when the reader's credit covers the whole of it, and every byte of
//! credit is reserved in the memory budget before it is given. A run that may not send says how
//! long its next frame is.
//!
//! ```text
//!             allowed: told to the peer, cumulative
//! ├──── taken ────┼──── waiting here ────┼──── on their way, or yet to be sent ────┤
//!                  └──────────── reserved in the budget ──────────────────────────┘
//! ```
//!
//! A merge waits for one run while others stall, so no run may starve another. The argument:
//! 1. *The connection never stalls.* All runs of a peer share one HTTP/2 connection and its window.
//!    What arrives on it was reserved before, so the task that receives it stores it and waits for
//!    nobody. Bytes of a stalled run stay in its own reservation, and never in the window.
//! 2. *The peer never stalls.* It sends one run's frames on a blocking thread for at most a piece at
//!    a time, and a run without credit occupies no thread.
//! 3. *The run that is waited for gets credit.* Reading ahead is optional: it takes what is free of
//!    a share that all runs have together. The frame that a reader waits for is not: when the
//!    credit does not cover it, the reader reserves the rest. When the budget refuses, a frame of up
//!    to [`FRAME_BYTES_ALWAYS`] is reserved beyond it. A longer one fails by name, and waits for
//!    nobody.
//! 4. Hence a reader that waits either gets its frame from a peer that lives, or fails.
//!
//! Runs that are stalled keep little: a run reads ahead by a small window at first, which doubles
//! each time the reader has used half of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{Class, Grant, MemoryBudget, Refused};

/// A frame up to this length is never refused to a reader that waits for it. Writers cut batches
/// well below, except for single rows that are larger.
const FRAME_BYTES_ALWAYS: u64 = 4 << 20;

/// One part of the budget in so many may be read ahead, by all runs together.
const AHEAD: u64 = 8;

/// One part of the budget in so many may be read ahead by one reader, within these bounds.
const WINDOW: u64 = 16;
const WINDOW_BYTES_MIN: u64 = 1 << 20;
const WINDOW_BYTES_MAX: u64 = 16 << 20;

/// One part of the budget in so many is the first window of a run, within these bounds.
const FIRST_WINDOW: u64 = 256;
const FIRST_WINDOW_BYTES_MIN: u64 = 64 << 10;
const FIRST_WINDOW_BYTES_MAX: u64 = 1 << 20;

/// The bytes that all runs of an executor may read ahead together.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    budget: Arc<MemoryBudget>,
    bytes_max: u64,
    /// Reserved by all runs; more than `bytes_max` when many are waited for.
    reserved: AtomicU64,
}

impl ReadAhead {
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Arc<Self> {
        let bytes_max = budget.limit_bytes() / AHEAD;
        Arc::new(Self { budget: Arc::clone(budget), bytes_max, reserved: AtomicU64::new(0) })
    }

    /// Takes up to `bytes` of what is left; returns how many.
    fn take(&self, bytes: u64) -> u64 {
        let mut taken = 0;
        let take = |reserved: u64| {
            taken = bytes.min(self.bytes_max.saturating_sub(reserved));
            Some(reserved + taken)
        };
        let _always = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken
    }

    fn add(&self, bytes: u64) {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The credit of one run with one peer. Reserved by the reader, on its own thread: making room
/// writes to disk, which the threads that move bytes must not wait for.
///
/// Invariant: what is reserved is what is allowed and not yet taken.
#[derive(Debug)]
pub(super) struct Credit {
    ahead: Arc<ReadAhead>,
    grant: Grant,
    allowed: u64,
    taken: u64,
    /// Bytes it may read ahead now, and at most.
    window: u64,
    window_max: u64,
    /// Estimate of the bytes that are to come in all.
    expected: u64,
}

impl Credit {
    /// Credit for about `bytes` of blocks from one of `peers` peers. Allows as much as is free.
    pub(super) fn new(ahead: &Arc<ReadAhead>, bytes: u64, peers: usize) -> Self {
        let limit = ahead.budget.limit_bytes();
        let most = (limit / WINDOW).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let first = (limit / FIRST_WINDOW).clamp(FIRST_WINDOW_BYTES_MIN, FIRST_WINDOW_BYTES_MAX);
        let mut credit = Self {
            ahead: Arc::clone(ahead),
            grant: Grant::empty(&ahead.budget, Class::Fixed),
            allowed: 0,
            taken: 0,
            window: first,
            window_max: (most / peers.max(1) as u64).max(FIRST_WINDOW_BYTES_MIN),
            // Frames have headers, and repeat their schema.
            expected: bytes + bytes / 8 + FIRST_WINDOW_BYTES_MIN,
        };
        credit.allow_ahead();
        credit
    }

    /// Bytes of frames that the peer may have sent since the beginning.
    pub(super) fn allowed(&self) -> u64 {
        self.allowed
    }

    fn outstanding(&self) -> u64 {
        self.allowed - self.taken
    }

    /// The reader took a frame: its bytes are no longer counted here. Allows more when half of the
    /// window is used.
    pub(super) fn took(&mut self, frame_bytes: u64) {
        self.taken += frame_bytes;
        self.grant.shrink(frame_bytes);
        self.ahead.give_back(frame_bytes);
        if self.outstanding() <= self.window / 2 {
            self.window = (self.window * 2).min(self.window_max.max(self.window));
            self.allow_ahead();
        }
    }

    /// The reader waits for a frame that the credit may not cover: makes it do so.
    ///
    /// # Errors
    /// When the frame is too long for what the budget has left.
    pub(super) fn cover(&mut self, frame_bytes: u64) -> Result<(), Refused> {
        let missing = frame_bytes.saturating_sub(self.outstanding());
        match self.grant.try_grow(missing) {
            Ok(()) => {}
            Err(Refused::Full { .. }) if frame_bytes <= FRAME_BYTES_ALWAYS => {
                self.grant.grow(missing);
            }
            Err(refused) => return Err(refused),
        }
        self.ahead.add(missing);
        self.allowed += missing;
        Ok(())
    }

    /// Gives back what is left: nothing more will come.
    pub(super) fn end(&mut self) {
        self.ahead.give_back(self.grant.bytes());
        self.grant.clear();
        self.taken = self.allowed;
    }

    fn allow_ahead(&mut self) {
        let to_come = self.expected.saturating_sub(self.allowed).max(FIRST_WINDOW_BYTES_MIN);
        let wanted = self.window.saturating_sub(self.outstanding()).min(to_come);
        let more = self.ahead.take(wanted);
        if self.grant.grow_if_free(more) {
            self.allowed += more;
        } else {
            self.ahead.give_back(more);
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const LIMIT: u64 = 64 << 20;
    const FRAME: u64 = 300 << 10;

    /// A run as its peer sees it: sends frames of one length while the credit covers them.
    struct Run {
        credit: Credit,
        frames_left: u64,
        sent: u64,
        /// Sent and not yet taken.
        waiting: VecDeque<u64>,
    }

    impl Run {
        fn new(ahead: &Arc<ReadAhead>, frames: u64) -> Self {
            let credit = Credit::new(ahead, frames * FRAME, 1);
            Self { credit, frames_left: frames, sent: 0, waiting: VecDeque::new() }
        }

        fn send(&mut self) {
            while self.frames_left > 0 && self.sent + FRAME <= self.credit.allowed() {
                self.frames_left -= 1;
                self.sent += FRAME;
                self.waiting.push_back(FRAME);
            }
        }

        /// The reader waits for the next frame; false at the end.
        fn take(&mut self) -> bool {
            self.send();
            if self.waiting.is_empty() && self.frames_left > 0 {
                self.credit.cover(FRAME).unwrap();
                self.send();
            }
            let Some(frame) = self.waiting.pop_front() else { return false };
            self.credit.took(frame);
            true
        }
    }

    fn runs(ahead: &Arc<ReadAhead>, count: usize) -> Vec<Run> {
        (0..count).map(|_| Run::new(ahead, 100)).collect()
    }

    #[test]
    fn a_run_that_is_waited_for_goes_on_whatever_the_others_hold() {
        let budget = MemoryBudget::new(LIMIT);
        let ahead = ReadAhead::new(&budget);
        let mut runs = runs(&ahead, 300);
        runs.iter_mut().for_each(Run::send);
        // All that can be read ahead is, and an operator takes the rest.
        let mut hog = Grant::empty(&budget, Class::Fixed);
        hog.try_grow(LIMIT - budget.used_bytes()).unwrap();
        for run in &mut runs {
            let taken = std::iter::from_fn(|| run.take().then_some(())).count();
            assert_eq!(taken, 100);
            run.credit.end();
        }
        assert_eq!(ahead.reserved.load(Ordering::Relaxed), 0);
        drop((runs, hog));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn all_runs_together_read_no_further_ahead_than_their_share() {
        let budget = MemoryBudget::new(LIMIT);
        let ahead = ReadAhead::new(&budget);
        let mut runs = runs(&ahead, 300);
        let mut state = 7_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let run = usize::try_from(state >> 33).unwrap() % runs.len();
            runs[run].take();
            assert!(budget.used_bytes() <= LIMIT / AHEAD + FRAME, "{}", budget.used_bytes());
        }
        let left: u64 = runs.iter().map(|run| run.frames_left).sum();
        assert!(left < 300 * 100 - 19_000, "{left}");
    }

    #[test]
    fn a_run_that_is_read_on_gets_a_wider_window_than_one_that_stalls() {
        let budget = MemoryBudget::new(1 << 30);
        let ahead = ReadAhead::new(&budget);
        let (mut read, stalled) = (Run::new(&ahead, 1000), Run::new(&ahead, 1000));
        for _ in 0..100 {
            assert!(read.take());
        }
        assert!(read.credit.outstanding() > 4 * stalled.credit.outstanding());
        assert_eq!(stalled.credit.outstanding(), FIRST_WINDOW_BYTES_MAX);
    }

    #[test]
    fn peers_of_one_reader_share_its_window() {
        const PEERS: usize = 16;
        let budget = MemoryBudget::new(1 << 30);
        let ahead = ReadAhead::new(&budget);
        let mut runs = runs(&ahead, PEERS);
        for run in &mut runs {
            run.credit = Credit::new(&ahead, 100 * FRAME, PEERS);
            assert!((0..50).all(|_| run.take()));
        }
        let outstanding: u64 = runs.iter().map(|run| run.credit.outstanding()).sum();
        assert!(outstanding <= WINDOW_BYTES_MAX, "{outstanding}");
    }

    #[test]
    fn a_small_run_reserves_little() {
        let budget = MemoryBudget::new(1 << 30);
        let ahead = ReadAhead::new(&budget);
        let credit = Credit::new(&ahead, 1000, 1);
        assert!(credit.allowed() >= FIRST_WINDOW_BYTES_MIN);
        assert!(budget.used_bytes() < 70 << 10, "{}", budget.used_bytes());
    }

    #[test]
    fn a_frame_of_an_ordinary_length_is_taken_also_when_the_budget_is_full() {
        const ORDINARY: u64 = 1 << 20;
        // So small that no other rule lets the frame in.
        let budget = MemoryBudget::new(ORDINARY);
        let ahead = ReadAhead::new(&budget);
        let mut credit = Credit::new(&ahead, ORDINARY, 1);
        let mut hog = Grant::empty(&budget, Class::Fixed);
        hog.try_grow(ORDINARY - budget.used_bytes()).unwrap();
        credit.cover(ORDINARY).unwrap();
        assert_eq!(credit.outstanding(), ORDINARY);
        assert!(budget.used_bytes() > budget.limit_bytes());
    }

    #[test]
    fn a_frame_that_is_too_long_for_the_budget_is_refused() {
        let budget = MemoryBudget::new(LIMIT);
        let ahead = ReadAhead::new(&budget);
        let mut credit = Credit::new(&ahead, 100 << 20, 1);
        assert!(matches!(credit.cover(100 << 20), Err(Refused::Full { .. })));
        credit.cover(50 << 20).unwrap();
        credit.took(50 << 20);
        assert!(credit.outstanding() <= LIMIT / AHEAD);
    }
}
