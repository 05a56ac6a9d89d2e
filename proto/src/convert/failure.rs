//! Failures, inside messages and as the details of a gRPC status.

use gnist_common::error::{Blame, ErrorKind, Failure};
use gnist_common::ids::WorkerId;
use prost::Message;
use tonic::{Code, Status};

use super::ConvertError;
use crate::wire::control as wire;

impl From<ErrorKind> for wire::ErrorKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::User => Self::User,
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Transient => Self::Transient,
            ErrorKind::OutOfMemory => Self::OutOfMemory,
            ErrorKind::DiskFull => Self::DiskFull,
            ErrorKind::Panic => Self::Panic,
            ErrorKind::Cancelled => Self::Cancelled,
            ErrorKind::Contradicted => Self::Contradicted,
            ErrorKind::Cluster => Self::Cluster,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

/// The kind that a number on the wire stands for.
fn kind_from_wire(value: i32) -> Result<ErrorKind, ConvertError> {
    let unknown = ConvertError::UnknownValue { enumeration: "ErrorKind", value };
    Ok(match wire::ErrorKind::try_from(value).map_err(|_| unknown.clone())? {
        wire::ErrorKind::Unspecified => return Err(unknown),
        wire::ErrorKind::User => ErrorKind::User,
        wire::ErrorKind::Unsupported => ErrorKind::Unsupported,
        wire::ErrorKind::NotFound => ErrorKind::NotFound,
        wire::ErrorKind::Transient => ErrorKind::Transient,
        wire::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        wire::ErrorKind::DiskFull => ErrorKind::DiskFull,
        wire::ErrorKind::Panic => ErrorKind::Panic,
        wire::ErrorKind::Cancelled => ErrorKind::Cancelled,
        wire::ErrorKind::Contradicted => ErrorKind::Contradicted,
        wire::ErrorKind::Cluster => ErrorKind::Cluster,
        wire::ErrorKind::Internal => ErrorKind::Internal,
    })
}

impl From<Blame> for wire::Blame {
    fn from(blame: Blame) -> Self {
        Self {
            attempt: blame.attempt.map(Into::into),
            worker: blame.worker.map(|worker| worker.0),
            operator: blame.operator,
            peak_bytes: blame.peak_bytes,
            file: blame.file,
        }
    }
}

impl From<wire::Blame> for Blame {
    fn from(blame: wire::Blame) -> Self {
        Self {
            attempt: blame.attempt.map(Into::into),
            worker: blame.worker.map(WorkerId),
            operator: blame.operator,
            peak_bytes: blame.peak_bytes,
            file: blame.file,
        }
    }
}

impl From<Failure> for wire::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            kind: wire::ErrorKind::from(failure.kind).into(),
            message: failure.message,
            help: failure.help,
            blame: Some((*failure.blame).into()),
        }
    }
}

impl TryFrom<wire::Failure> for Failure {
    type Error = ConvertError;

    fn try_from(failure: wire::Failure) -> Result<Self, ConvertError> {
        Ok(Self {
            kind: kind_from_wire(failure.kind)?,
            message: failure.message,
            help: failure.help,
            blame: Box::new(failure.blame.map(Blame::from).unwrap_or_default()),
        })
    }
}

/// A status that carries the whole failure in its details.
pub fn status_from_failure(failure: Failure) -> Status {
    let code = match failure.kind {
        ErrorKind::User => Code::InvalidArgument,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Transient | ErrorKind::Cluster => Code::Unavailable,
        ErrorKind::OutOfMemory | ErrorKind::DiskFull => Code::ResourceExhausted,
        ErrorKind::Contradicted => Code::Aborted,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Panic | ErrorKind::Internal => Code::Internal,
    };
    let message = failure.message.clone();
    Status::with_details(code, message, wire::Failure::from(failure).encode_to_vec().into())
}

/// The failure that a status carries, or one that says what the transport said.
pub fn failure_from_status(status: &Status) -> Failure {
    let details = Some(status.details()).filter(|details| !details.is_empty());
    let carried = details.and_then(|details| wire::Failure::decode(details).ok());
    if let Some(failure) = carried.and_then(|failure| Failure::try_from(failure).ok()) {
        return failure;
    }
    let kind = match status.code() {
        Code::Cancelled => ErrorKind::Cancelled,
        Code::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Cluster,
    };
    let cause = match std::error::Error::source(status) {
        Some(source) => crate::connect::root_cause(source),
        None => status.message().to_owned(),
    };
    Failure::new(kind, format!("the connection failed: {cause}"))
}
