//! Logs: to stderr, by the filter in `RUST_LOG`, else at the command's own level.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Begins logging. A filter that does not parse is ignored in favour of the level.
pub(crate) fn init(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // A second call (tests in one process) keeps the first.
    let _ = subscriber.try_init();
}
