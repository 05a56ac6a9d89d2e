//! The reasons why a write does not land.

use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore};
use gnist_common::error::{ErrorKind, Failure};

use crate::stores::shown;

/// A write that did not land. Nothing of it can be seen, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store refuses.
    #[error("{doing} `{path}`")]
    Store {
        /// The attempt, such as `can't create`.
        doing: &'static str,
        /// The file or folder, as it is shown.
        path: String,
        /// The store's reason.
        source: object_store::Error,
    },
    /// An entry of the log that is none.
    #[error("`{path}` is no entry of a commit log: {reason}")]
    BadEntry {
        /// The file, as it is shown.
        path: String,
        /// The fault in it.
        reason: String,
    },
    /// A staged file of a committed write that is gone.
    #[error("`{path}` of a write that is committed is gone, and so is its staged file or upload")]
    Gone {
        /// The place of the file, as it is shown.
        path: String,
    },
    /// A staged file that is not where its writer said it is.
    #[error("the staged file `{path}` is not there, or has another size")]
    NotStaged {
        /// The file, as it is shown.
        path: String,
    },
    /// A write that is committed, whose files are not all in their places yet.
    #[error("the write is committed, and is to be published by the next write to the folder")]
    Unpublished(#[source] Box<CommitError>),
    /// A write whose entry the store may have, though it did not say so.
    #[error("it is not known whether the write is committed")]
    Unknown(#[source] Box<CommitError>),
    /// Another write has landed meanwhile.
    #[error("another write to `{folder}` has landed meanwhile, and one of the two replaces files")]
    Conflict {
        /// The folder, as it is shown.
        folder: String,
    },
}

impl CommitError {
    pub(super) fn store(
        doing: &'static str,
        store: &dyn ObjectStore,
        path: &Path,
        source: object_store::Error,
    ) -> Self {
        Self::Store { doing, path: shown(store, path), source }
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
            Self::NotStaged { .. } => Failure::new(ErrorKind::User, self.to_string()).with_help(
                "write to a folder that the driver and every worker see under this path",
            ),
            Self::Unpublished(cause) => {
                let cause = cause.failure(reason_of);
                let message = format!("{self}: {}", cause.message);
                Failure::new(cause.kind, message).with_help(
                    "don't run it again, it would write its rows twice: its rows are seen after the next write",
                )
            }
            Self::Unknown(cause) => {
                let cause = cause.failure(reason_of);
                let message = format!("{self}: {}", cause.message);
                Failure::new(cause.kind, message).with_help(
                    "look whether its rows are there once the store answers; the next write to the folder publishes them",
                )
            }
            Self::Conflict { .. } => Failure::new(ErrorKind::User, self.to_string())
                .with_help("nothing of this write is visible; run it again, with views and tables of the path made anew"),
        }
    }
}
