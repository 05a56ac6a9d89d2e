//! The threads that run operators, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use gnist_common::error::{ErrorKind, Failure};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::panics::CPU_THREADS;

/// Deep plans are built and opened on the stack of a thread; it is mapped once and touched as used.
const STACK_BYTES: usize = 8 << 20;

/// Time after which a thread for blocking work ends when there is none. The freed memory that it kept
/// is everybody's then.
const KEEP_ALIVE: Duration = Duration::from_millis(50);

/// A runtime of as many threads as the worker has slots. Dropping it does not wait for what runs.
#[derive(Debug)]
pub(crate) struct CpuRuntime {
    runtime: Option<Runtime>,
}

impl CpuRuntime {
    /// Starts the threads; each calls `before_waiting` when it has nothing to do.
    pub(crate) fn start(
        slots: u32,
        before_waiting: Option<Arc<dyn Fn() + Send + Sync>>,
    ) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(slots.max(1) as usize)
            .thread_name(CPU_THREADS)
            .thread_stack_size(STACK_BYTES)
            .thread_keep_alive(KEEP_ALIVE)
            .on_thread_park(move || {
                if let Some(before_waiting) = &before_waiting {
                    before_waiting();
                }
            })
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::new(ErrorKind::Internal, format!("starting the CPU threads: {error}"))
            })?;
        Ok(Self { runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("taken only when dropped").handle()
    }
}

impl Drop for CpuRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
