//! The threads that carry everything but operators: connections, timers, files.

use std::time::Duration;

use tokio::runtime::Builder;

use crate::allocator;

/// Time after which a thread without work ends. The freed memory that it kept is everybody's then.
const KEEP_ALIVE: Duration = Duration::from_millis(50);

/// A runtime with these threads, one for each CPU.
pub(crate) fn runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder
        .enable_all()
        .thread_name("gnist-io")
        .thread_keep_alive(KEEP_ALIVE)
        .on_thread_park(allocator::give_back_if_asked);
    builder
}
