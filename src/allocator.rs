//! The allocator of every program built on Gnist: mimalloc, told to keep what it has.
//!
//! Fresh memory is the slowest thing on a virtual machine: the first touch of a page runs at 0.3
//! to 2.4 GB/s against 25 GB/s for a page touched before. So freed memory stays with the process
//! for [`PURGE_DELAY_MS`] before it goes back, and is given back only in whole huge pages. That
//! pages are huge in the first place is mimalloc's own doing: it advises the kernel to
//! (`MADV_HUGEPAGE`) for all its arenas.

use libmimalloc_sys::{_mi_option_last, mi_option_set, mi_option_t};

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

    #[test]
    #[allow(unsafe_code)]
    fn options_keep_what_was_set() {
        configure();
        // SAFETY: reads a number from a static table; the index is in bounds.
        let purge_delay = unsafe { libmimalloc_sys::mi_option_get(OPTION_PURGE_DELAY) };
        assert_eq!(purge_delay, PURGE_DELAY_MS);
    }
}
