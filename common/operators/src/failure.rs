//! DataFusion's errors as Gnist's closed kinds: the one place that decides what an operator's
//! error means for the attempt.

use std::any::Any;
use std::error::Error;
use std::io;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::object_store;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::task::AttemptEnd;

use crate::dumps::without_dumps;
use crate::exchange::FetchError;

/// The message of a panic, from the payload that `catch_unwind` gives.
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it gave no message".to_owned())
}

/// Arrow's text for a local time in the hour of a change of the clock; the error has no kind of its own.
const NO_LOCAL_TIME: &str = "Cannot cast timezone to different timezone";

/// Returns the end of an attempt whose plan failed with this error.
pub fn attempt_end_of(error: &DataFusionError) -> AttemptEnd {
    if let Some(fetch) = find::<FetchError>(error) {
        return match fetch.clone() {
            FetchError::Missing { blocks } => AttemptEnd::BlocksMissing { blocks },
            FetchError::Unreachable { worker, failure } => {
                AttemptEnd::FetchFailed { worker, failure }
            }
        };
    }
    let failure = failure_of(error);
    match failure.kind {
        ErrorKind::Transient => AttemptEnd::Transient(failure),
        ErrorKind::OutOfMemory => AttemptEnd::OutOfMemory(failure),
        ErrorKind::DiskFull => AttemptEnd::DiskFull(failure),
        ErrorKind::Panic => AttemptEnd::Panic(failure),
        ErrorKind::Cancelled => AttemptEnd::Cancelled,
        _ => AttemptEnd::User(failure),
    }
}

/// A failure on its way through DataFusion, whole: [`failure_of`] finds it again.
pub fn external(failure: Failure) -> DataFusionError {
    DataFusionError::External(Box::new(failure))
}

/// The failure that crosses the wire for this error: its kind, its root cause and its help.
pub fn failure_of(error: &DataFusionError) -> Failure {
    if let Some(failure) = find::<Failure>(error) {
        return failure.clone();
    }
    if let Some(ArrowError::OffsetOverflowError(_)) = find::<ArrowError>(error) {
        return too_wide();
    }
    let kind = kind_of(error);
    let failure = Failure::new(kind, message_of(error));
    if let Some(ArrowError::CastError(text)) = find::<ArrowError>(error)
        && text == NO_LOCAL_TIME
    {
        let message =
            "a local time that its time zone skips, or has twice, is no TIMESTAMP WITH TIME ZONE";
        return Failure::new(ErrorKind::User, message).with_help(
            "`try_cast(x as timestamptz)` gives null for the hour that a change of the clock skips or repeats",
        );
    }
    match kind {
        ErrorKind::OutOfMemory => failure
            .with_help("give executors more memory (`--memory`), or use more, smaller partitions"),
        ErrorKind::DiskFull => failure.with_help("free space in `--work-dir`"),
        ErrorKind::Internal => failure.with_help("this is a bug in Gnist: please report it"),
        _ => failure,
    }
}

/// The failure of a store, by its root cause.
pub fn failure_of_store(error: &object_store::Error) -> Failure {
    let causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |at| cause_of(*at));
    let (mut io, mut root) = (None, error as &(dyn Error + 'static));
    for cause in causes {
        io = cause.downcast_ref::<io::Error>().or(io);
        root = cause;
    }
    let kind = io.map_or_else(|| kind_of_store(error), kind_of_io);
    // That of the store would say which folder of the work folder is full, and it is another disk.
    let kind = if kind == ErrorKind::DiskFull { ErrorKind::User } else { kind };
    Failure::new(kind, root.to_string())
}

/// The failure of an operator that can't hold the texts or lists of its next batch in one column.
pub fn too_wide() -> Failure {
    let message =
        "a column of a batch of rows has more than 2 GiB of text, or of elements of lists";
    Failure::new(ErrorKind::User, message).with_help("lower `execution.batch_rows`")
}

fn kind_of(error: &DataFusionError) -> ErrorKind {
    if let Some(io) = find::<io::Error>(error) {
        return kind_of_io(root_io(io));
    }
    if let Some(store) = find::<object_store::Error>(error) {
        return kind_of_store(store);
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => ErrorKind::OutOfMemory,
        DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
        DataFusionError::Internal(_) => ErrorKind::Internal,
        DataFusionError::ExecutionJoin(join) if join.is_panic() => ErrorKind::Panic,
        DataFusionError::ExecutionJoin(_) => ErrorKind::Cancelled,
        DataFusionError::ArrowError(arrow, _) if matches!(**arrow, ArrowError::MemoryError(_)) => {
            ErrorKind::OutOfMemory
        }
        _ => ErrorKind::User,
    }
}

fn kind_of_io(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => ErrorKind::NotFound,
        io::ErrorKind::TimedOut
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::Interrupted => ErrorKind::Transient,
        _ => ErrorKind::User,
    }
}

fn kind_of_store(error: &object_store::Error) -> ErrorKind {
    match error {
        object_store::Error::NotFound { .. }
        | object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => ErrorKind::NotFound,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            ErrorKind::Unsupported
        }
        object_store::Error::Generic { .. } => ErrorKind::Transient,
        _ => ErrorKind::User,
    }
}

/// The root cause for people: DataFusion's context lines, class prefixes and dumps say nothing to
/// them.
fn message_of(error: &DataFusionError) -> String {
    let root = error.find_root();
    let text = root.message().into_owned();
    let text = if text.is_empty() { root.to_string() } else { text };
    without_dumps(&text)
}

/// The first error of this type on the chain of causes. `Arc`-shared and external errors are
/// looked into.
fn find<T: Error + 'static>(error: &DataFusionError) -> Option<&T> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error.find_root());
    let mut depth_left = 32_u32;
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(DataFusionError::External(inner)) = current.downcast_ref::<DataFusionError>()
            && let Some(found) = inner.downcast_ref::<T>()
        {
            return Some(found);
        }
        depth_left = depth_left.checked_sub(1)?;
        next = cause_of(current);
    }
    None
}

/// The next error on a chain. An IO error's `source` leaves out the error that it wraps.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as _).or_else(|| error.source())
}

/// The IO error at the end of a chain that begins with one.
pub fn root_io(error: &io::Error) -> &io::Error {
    let causes = std::iter::successors(cause_of(error), |cause| cause_of(*cause));
    causes.filter_map(|cause| cause.downcast_ref()).last().unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gnist_common::ids::{ApplicationId, WorkerId};

    use super::*;

    #[test]
    fn fetch_errors_stay_typed_under_any_wrapping() {
        let block = ApplicationId(1).job(0).stage(0).task(0).attempt(0).block(3);
        let fetch: DataFusionError = FetchError::Missing { blocks: vec![block] }.into();
        let wrapped = DataFusionError::Context(
            "while joining".to_owned(),
            Box::new(DataFusionError::Shared(Arc::new(fetch))),
        );
        assert_eq!(attempt_end_of(&wrapped), AttemptEnd::BlocksMissing { blocks: vec![block] });
        let failure = Failure::new(ErrorKind::Transient, "connection reset");
        let worker = WorkerId(5);
        let fetch = FetchError::Unreachable { worker, failure: failure.clone() };
        let wrapped = DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(DataFusionError::from(fetch)))),
            None,
        );
        assert_eq!(attempt_end_of(&wrapped), AttemptEnd::FetchFailed { worker, failure });
    }

    #[test]
    fn a_refused_reservation_is_out_of_memory_and_bad_data_is_the_users() {
        let refused = DataFusionError::ResourcesExhausted("no".to_owned());
        assert!(matches!(attempt_end_of(&refused), AttemptEnd::OutOfMemory(_)));
        let bad = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert!(matches!(attempt_end_of(&bad), AttemptEnd::User(_)));
        let full: DataFusionError = io::Error::from(io::ErrorKind::StorageFull).into();
        assert!(matches!(attempt_end_of(&full), AttemptEnd::DiskFull(_)));
    }

    #[test]
    fn what_an_io_error_wraps_is_seen() {
        let full: DataFusionError = io::Error::from(io::ErrorKind::StorageFull).into();
        let wrapped = ArrowError::IoError("writing".to_owned(), io::Error::other(full));
        let end = attempt_end_of(&DataFusionError::ArrowError(Box::new(wrapped), None));
        assert!(matches!(end, AttemptEnd::DiskFull(_)), "{end:?}");
        let failure = Failure::new(ErrorKind::DiskFull, "the disk is read-only");
        let carried: DataFusionError = io::Error::other(failure.clone()).into();
        assert_eq!(attempt_end_of(&carried), AttemptEnd::DiskFull(failure));
    }
}
