//! Ctrl-C and SIGTERM as ordinary ends, and the runtime the commands run on.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::error::CliError;
use super::exit::Exit;
use crate::threads::{self, AbortOnDrop};

/// Time that ended work may take to let go before the process ends anyway.
const LINGER: Duration = Duration::from_millis(200);

/// Time that work may take to notice a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs a command to its end on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = threads::runtime()
        .build()
        .map_err(|source| CliError::Io { doing: "starting threads", source })?;
    let result = runtime.block_on(work);
    match &result {
        Ok(_) => runtime.shutdown_background(),
        Err(_) => runtime.shutdown_timeout(LINGER),
    }
    result
}

/// The work's result, or the signal that came first; then the work was dropped. Work that goes on for
/// [`PATIENCE`] after the signal, such as planning a huge query, ends with the process.
pub(crate) async fn interruptible<T>(
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let stubborn = tokio::spawn(async {
        if let Ok(exit) = stop_signal().await {
            tokio::time::sleep(PATIENCE).await;
            std::process::exit(exit.code().into());
        }
    });
    let _ended = AbortOnDrop(stubborn);
    tokio::select! {
        biased;
        exit = stop_signal() => match exit {
            Ok(exit) => Err(CliError::Stopped { exit }),
            Err(source) => Err(CliError::Io { doing: "listening for signals", source }),
        },
        result = work => result,
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() -> io::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(Exit::Interrupted),
        _ = terminate.recv() => Ok(Exit::Terminated),
    }
}
