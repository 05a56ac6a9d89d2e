//! The allocator of every program built on Gnist: mimalloc, told to keep what it has.
//!
//! Fresh memory is the slowest thing on a virtual machine: the first touch of a page runs at 0.3
//! to 2.4 GB/s against 25 GB/s for a page touched before. So freed memory stays with the process
//! for [`PURGE_DELAY_MS`] before it goes back, and is given back only in whole huge pages. That
//! pages are huge in the first place is mimalloc's own doing: it advises the kernel to
//! (`MADV_HUGEPAGE`) for all its arenas.
//!
//! A process with a memory budget can't keep so much: what it counts as free, since it wrote it to
//! disk or dropped it, would come on top of what it took again elsewhere. [`give_back_above`] sees
//! how much the process has and gives back what is free as soon as it is more than the budget.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use libmimalloc_sys::{_mi_option_last, mi_collect, mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory waits to be used again before it goes back to the system.
const PURGE_DELAY_MS: i64 = 10_000;

/// Indexes in `mi_option_e` of mimalloc 3.x, which the bindings do not name.
const OPTION_PURGE_DELAY: mi_option_t = 15;
const OPTION_ALLOW_THP: mi_option_t = 42;

/// Huge pages, and no purge of less than one.
const THP_WHOLE_PAGES: i64 = 2;

// Another mimalloc may count its options otherwise.
const _: () = assert!(_mi_option_last == 47, "check the option indexes against mimalloc.h");

/// Pause between two looks at the size of the process.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// Longest such pause, after looks that found little to give back.
const WATCH_EVERY_MAX: Duration = Duration::from_secs(2);

/// Fewer bytes than these are little.
const LITTLE_BYTES: u64 = 32 << 20;

/// Memory of a process beside its budget: code, stacks, connections.
const BESIDE_BUDGET_BYTES: u64 = 64 << 20;

/// Gives freed memory back to the system, for as long as it is polled, whenever this process has
/// much more than `budget_bytes`.
pub async fn give_back_above(budget_bytes: u64) -> Infallible {
    let bytes_max = budget_bytes.saturating_add(BESIDE_BUDGET_BYTES);
    let mut pause = WATCH_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let Some(before) = resident_bytes().filter(|bytes| *bytes > bytes_max) else {
            pause = WATCH_EVERY;
            continue;
        };
        // Unmapping takes a millisecond for 10 MiB; heartbeats don't wait for it.
        let collected = tokio::task::spawn_blocking(collect).await;
        let after = resident_bytes().unwrap_or(before);
        let is_little = collected.is_err() || before.saturating_sub(after) < LITTLE_BYTES;
        pause = if is_little { (2 * pause).min(WATCH_EVERY_MAX) } else { WATCH_EVERY };
    }
}

#[allow(unsafe_code)]
fn collect() {
    // SAFETY: it takes no pointer, and may be called on any thread at any time.
    unsafe { mi_collect(true) }
}

/// Memory of this process that is not swapped out.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Sets the allocator's options. Called first thing in `main`, before there are threads.
#[allow(unsafe_code)]
pub fn configure() {
    // SAFETY: `mi_option_set` stores a number in a static table and is bounded by
    // `_mi_option_last`, which was checked above. It is not atomic: there is one thread yet.
    unsafe {
        mi_option_set(OPTION_PURGE_DELAY, PURGE_DELAY_MS);
        mi_option_set(OPTION_ALLOW_THP, THP_WHOLE_PAGES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_that_was_freed_goes_back() {
        configure();
        let resident = || resident_bytes().expect("there is /proc");
        let blocks: Vec<Vec<u8>> = (0..128).map(|_| vec![1; 4 << 20]).collect();
        let with_blocks = resident();
        drop(blocks);
        // Half of it: other tests of this process take memory meanwhile.
        let given_back = async {
            while resident() > with_blocks - (256 << 20) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = given_back => {}
            never = give_back_above(0) => match never {},
        }
    }

    #[test]
    #[allow(unsafe_code)]
    fn options_keep_what_was_set() {
        configure();
        // SAFETY: reads a number from a static table; the index is in bounds.
        let purge_delay = unsafe { libmimalloc_sys::mi_option_get(OPTION_PURGE_DELAY) };
        assert_eq!(purge_delay, PURGE_DELAY_MS);
    }
}
