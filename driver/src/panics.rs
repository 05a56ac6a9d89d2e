//! Panics of planning: an error of the statement, not the end of the program that holds the session.
//!
//! Damaged files and unusual statements have panicked in the libraries that plan. Tasks have the same
//! guard in the worker.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::panic_message;

use crate::error::SessionError;

/// Awaits a future whose panics are errors.
pub(crate) async fn caught<T>(
    planned: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    match AssertUnwindSafe(planned).catch_unwind().await {
        Ok(result) => result,
        Err(payload) => Err(panicked(&*payload).into()),
    }
}

fn panicked(payload: &(dyn Any + Send)) -> Failure {
    let text = panic_message(payload);
    Failure::new(ErrorKind::Panic, format!("planning the statement panicked: {text}"))
        .with_help("this is a bug: please report it with the statement")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_message() {
        let failure = caught::<()>(async { panic!("no row {}", std::process::id()) }).await;
        let failure = failure.expect_err("a panic").failure();
        assert_eq!(failure.kind, ErrorKind::Panic);
        let expected = format!("planning the statement panicked: no row {}", std::process::id());
        assert_eq!(failure.message, expected);
        let failure =
            caught::<()>(async { panic!("no row") }).await.expect_err("a panic").failure();
        assert_eq!(failure.message, "planning the statement panicked: no row");
    }
}
