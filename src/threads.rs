//! The threads that carry everything but operators: connections, timers, files.
//!
//! Sessions have threads of their own, apart from those of the program. A thread of the program may compute for
//! minutes, and the task that it has woken last waits for it: no other thread takes that one over. If it is the
//! connection to the cluster manager, no heartbeat goes out, and the manager ends the application.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

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

/// The threads of all sessions of this process. They end with it.
static OF_SESSIONS: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = runtime().thread_name("gnist-session").build();
    runtime.expect("threads can be started")
});

/// Runs work, and all tasks that it spawns, on the threads of sessions. Dropped, it ends the work.
pub(crate) async fn of_sessions<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut work = AbortOnDrop(OF_SESSIONS.spawn(work));
    match (&mut work.0).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A task that ends with this.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
