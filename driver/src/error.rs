//! The answer of a session when a statement can't be planned or a job fails.

use datafusion::common::DataFusionError;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::failure_of;

/// Reasons why a statement has no result.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The statement can't be planned. The cause keeps its place in the SQL text.
    #[error("planning the statement")]
    Plan(#[source] Box<DataFusionError>),
    /// The statement was planned, and its job failed.
    #[error(transparent)]
    Job(#[from] Failure),
}

impl SessionError {
    /// Returns the kind of the failure, which says what to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.failure().kind
    }

    /// The failure without its place in the SQL text.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Plan(error) => failure_of(error),
            Self::Job(failure) => failure.clone(),
        }
    }
}

impl From<DataFusionError> for SessionError {
    fn from(error: DataFusionError) -> Self {
        Self::Plan(Box::new(error))
    }
}

/// The failure for what comes with a later version.
pub(crate) fn not_yet(what: &str) -> Failure {
    Failure::new(ErrorKind::Unsupported, format!("{what} is not supported yet"))
}
