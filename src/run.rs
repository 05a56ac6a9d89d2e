//! `gnist::run`: makes a program its own cluster manager, workers and executor.
//!
//! A `local-cluster` is made of processes of the program itself. A program that did not come
//! through here would run its own `main` in every child, so it is refused one.

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use gnist_common::error::Failure;
use gnist_common::master::MasterUrl;
use gnist_driver::SessionError;

use crate::child;
use crate::session::Session;
use crate::threads;

/// True if this process dispatched on its role at its start. Set once, before anything else runs.
static DISPATCHED: AtomicBool = AtomicBool::new(false);

/// Runs this process as the child it was started as, if it is one. Programs that don't come
/// through [`run`], such as test harnesses, call this first in `main` and return what it says.
pub fn dispatch() -> Option<ExitCode> {
    DISPATCHED.store(true, Ordering::Release);
    child::run_if_child()
}

/// Returns true if children of this program find their role.
pub(crate) fn can_start_children() -> bool {
    DISPATCHED.load(Ordering::Acquire)
}

/// Runs a program with a session on the master of `GNIST_MASTER`, or `local[*]`.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     gnist::run(|session| async move {
///         let rows = session.sql("select 1").await?.collect().await?;
///         assert_eq!(rows[0].num_rows(), 1);
///         Ok(())
///     })
/// }
/// ```
pub fn run<F, Fut>(program: F) -> ExitCode
where
    F: FnOnce(Session) -> Fut,
    Fut: Future<Output = Result<(), SessionError>>,
{
    crate::allocator::configure();
    if let Some(exit) = dispatch() {
        return exit;
    }
    let runtime = threads::runtime().build().expect("threads can be started");
    let outcome = runtime.block_on(async {
        let master = master()?;
        let session = Session::builder(master).connect().await?;
        let application = gnist_driver::Session::clone(&session);
        program(session).await.inspect_err(|error| application.fail(error.failure().message))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.failure());
            ExitCode::FAILURE
        }
    }
}

fn master() -> Result<MasterUrl, Failure> {
    let text = std::env::var("GNIST_MASTER").unwrap_or_else(|_| "local[*]".to_owned());
    MasterUrl::from_str(&text)
        .map_err(|error| Failure::new(gnist_common::error::ErrorKind::User, error.to_string()))
}
