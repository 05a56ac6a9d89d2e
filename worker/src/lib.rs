//! Executor: task runner, memory, block store, data plane
