//! The allocator of every program built on Gnist: mimalloc, told to keep what it has.
//!
//! Fresh memory is the slowest thing on a virtual machine: the first touch of a page runs at 0.3
//! to 2.4 GB/s against 25 GB/s for a page touched before. So freed memory stays with the process
//! for [`PURGE_DELAY_MS`] before it goes back. That pages are huge in the first place is mimalloc's
//! own doing: it advises the kernel to (`MADV_HUGEPAGE`) for all its arenas.
//!
//! A process with a memory budget can't keep so much: what it counts as free, since it wrote it to
//! disk or dropped it, would come on top of what it took again elsewhere. [`give_back_above`] sees
//! how much the process has and gives back what is free as soon as it is more than the budget.
//!
//! A thread keeps partly used pages of 4 MiB for each size of block that it allocates, some 50 MiB
//! in all, and nobody else can give them back. So each thread is asked to, and does so before it
//! waits ([`give_back_if_asked`]); threads that are not needed end soon.

use std::cell::Cell;
use std::convert::Infallible;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libmimalloc_sys::{_mi_option_last, mi_collect, mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time that freed memory waits to be used again before it goes back to the system, in
/// milliseconds.
const PURGE_DELAY_MS: i64 = 10_000;

/// Index in `mi_option_e` of mimalloc 3.x, which the bindings do not name.
const OPTION_PURGE_DELAY: mi_option_t = 15;

// Another mimalloc may count its options otherwise.
const _: () = assert!(_mi_option_last == 47, "check the option index against mimalloc.h");

/// Pause between two looks at the size of the process.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// Longest such pause, after looks that found little to give back.
const WATCH_EVERY_MAX: Duration = Duration::from_millis(200);

/// Fewer bytes than these are little.
const LITTLE_BYTES: u64 = 32 << 20;

/// Memory of a process beside its budget: code, stacks, connections.
const BESIDE_BUDGET_BYTES: u64 = 64 << 20;

/// Number of times that all threads were asked to give back what they keep.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The last of these times that this thread has heeded.
    static HEEDED: Cell<u64> = const { Cell::new(0) };
}

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
        ASKED.fetch_add(1, Ordering::Relaxed);
        // Unmapping takes a millisecond for 10 MiB; heartbeats don't wait for it.
        let collected = tokio::task::spawn_blocking(collect).await;
        let after = resident_bytes().unwrap_or(before);
        let is_little = collected.is_err() || before.saturating_sub(after) < LITTLE_BYTES;
        pause = if is_little { (2 * pause).min(WATCH_EVERY_MAX) } else { WATCH_EVERY };
    }
}

/// Gives back what this thread keeps, if it was asked to since it last did. Called by threads that
/// are about to wait.
pub(crate) fn give_back_if_asked() {
    let asked = ASKED.load(Ordering::Relaxed);
    if HEEDED.replace(asked) != asked {
        collect();
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
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;
    use crate::threads;

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
    fn threads_that_wait_give_back_what_they_keep() {
        const THREADS: usize = 16;
        configure();
        let resident = || resident_bytes().expect("there is /proc");
        let runtime = threads::runtime().worker_threads(THREADS).build().expect("threads");
        // Of each size one block less than a page has, so that its thread keeps the page.
        let meet = Arc::new(Barrier::new(THREADS));
        let sizes = || [96, 112, 128, 160, 192, 224, 256, 320, 384, 448_usize].map(|kib| kib << 10);
        let fill = |size: usize| (0..(4 << 20) / size - 1).map(move |_| vec![1_u8; size]);
        let filled: Vec<_> = (0..THREADS)
            .map(|_| {
                let meet = Arc::clone(&meet);
                runtime.spawn(async move {
                    meet.wait();
                    sizes().into_iter().flat_map(fill).collect::<Vec<_>>()
                })
            })
            .collect();
        runtime.block_on(async {
            let mut blocks = Vec::new();
            for thread in filled {
                blocks.extend(thread.await.expect("filled"));
            }
            let with_blocks = resident();
            // Not on the threads that allocated them.
            drop(blocks);
            let given_back = async {
                while resident() > with_blocks - (256 << 20) {
                    // Work for all threads, which wait again after it.
                    let work = (0..THREADS).map(|_| tokio::spawn(async {}));
                    for done in work.collect::<Vec<_>>() {
                        done.await.expect("it does nothing");
                    }
                }
            };
            tokio::select! {
                () = given_back => {}
                never = give_back_above(0) => match never {},
            }
        });
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
