//! The reasons why a write does not land.

use datafusion::object_store;
use datafusion::object_store::path::Path;
use gnist_common::error::{ErrorKind, Failure};

/// A write that did not land. Nothing of it can be seen, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store refuses.
    #[error("{doing} `/{path}`")]
    Store {
        /// The attempt, such as `can't create`.
        doing: &'static str,
        /// The file or folder.
        path: Path,
        /// The store's reason.
        source: object_store::Error,
    },
    /// An entry of the log that is none.
    #[error("`/{path}` is no entry of a commit log: {reason}")]
    BadEntry {
        /// The file.
        path: Path,
        /// The fault in it.
        reason: String,
    },
    /// A staged file of a committed write that is gone.
    #[error("`/{path}` of a write that is committed is gone, and so is its staged file")]
    Gone {
        /// The place of the file.
        path: Path,
    },
    /// A write that is committed, whose files are not all in their places yet.
    #[error("the write is committed, and is to be published by the next write to the folder")]
    Unpublished(#[source] Box<CommitError>),
    /// Another write has landed meanwhile.
    #[error("another write to `/{folder}` has landed meanwhile, and one of the two replaces files")]
    Conflict {
        /// The folder.
        folder: Path,
    },
}

impl CommitError {
    pub(super) fn store(doing: &'static str, path: &Path, source: object_store::Error) -> Self {
        Self::Store { doing, path: path.clone(), source }
    }

    /// The failure, with the kind that the store's own reason has, as `kind_of` tells it.
    pub fn failure(&self, reason_of: &dyn Fn(&object_store::Error) -> Failure) -> Failure {
        match self {
            Self::Store { source, .. } => {
                let mut failure = reason_of(source);
                failure.message = format!("{self}: {}", failure.message);
                failure
            }
            Self::BadEntry { .. } | Self::Gone { .. } => {
                Failure::new(ErrorKind::User, self.to_string()).with_help(
                    "something other than Gnist has changed `_gnist/`: put the file back, or delete the \
                     entry in `_gnist/log/` to give up the write",
                )
            }
            Self::Unpublished(cause) => {
                let cause = cause.failure(reason_of);
                let message = format!("{self}: {}", cause.message);
                Failure::new(cause.kind, message).with_help(
                    "don't run it again, it would write its rows twice: its rows are seen after the next write",
                )
            }
            Self::Conflict { .. } => Failure::new(ErrorKind::User, self.to_string())
                .with_help("nothing of this write is visible; run it again"),
        }
    }
}
