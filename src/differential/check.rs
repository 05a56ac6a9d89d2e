//! The verdict on one engine's reply to one statement.

use gnist_common::error::{ErrorKind, Failure};
use gnist_differential::compare::{difference, shown};
use gnist_differential::tree::{Errors, Statement};
use gnist_differential::{Outcome, Row};

use super::engine::{Reply, is_fault};

/// The reply that an engine must give.
pub(super) enum Wanted {
    /// The rows that are wanted.
    Rows(Vec<Row>),
    /// The rows that are wanted, or an error of the statement's own: plain DataFusion can't plan or
    /// run it.
    RowsOrRefusal(Vec<Row>),
    /// An error, for this reason.
    Error(String),
    /// The right reply is not known.
    Unknown,
}

/// The judgement of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The wanted rows.
    Right,
    /// The wanted error.
    FailedAsWanted,
    /// A clear refusal of a statement that has an answer.
    Refused(String),
    /// A difference.
    Wrong(String),
    /// The right reply is not known.
    Unknown,
}

/// The answer that the engines must give, which is the oracle's. Plain DataFusion is no judge, for it has faults of
/// its own.
pub(super) fn wanted(outcome: &Outcome, plain: &Reply) -> Wanted {
    match (outcome, plain) {
        (Outcome::Rows(rows), Reply::Failed(_)) => Wanted::RowsOrRefusal(rows.clone()),
        (Outcome::Rows(rows), _) => Wanted::Rows(rows.clone()),
        (Outcome::Fails(fault), _) => Wanted::Error(format!("{fault:?}")),
        (Outcome::NotCovered(_) | Outcome::Undetermined(_), _) => Wanted::Unknown,
    }
}

/// Judges a reply.
pub(super) fn judge(reply: &Reply, wanted: &Wanted, statement: &Statement) -> Verdict {
    let order = &statement.query.order;
    match (reply, wanted) {
        (Reply::Hangs, _) => Verdict::Wrong("no answer in time".to_owned()),
        (Reply::Failed(failure), _) if is_fault(failure) => {
            Verdict::Wrong(format!("{:?} error: {}", failure.kind, failure.message))
        }
        (Reply::Rows(got), Wanted::Rows(want) | Wanted::RowsOrRefusal(want)) => {
            match difference(got, want, order) {
                None => Verdict::Right,
                Some(text) => {
                    Verdict::Wrong(format!("{text}\n  got {}\n want {}", shown(got), shown(want)))
                }
            }
        }
        (Reply::Failed(_), Wanted::Error(_)) => Verdict::FailedAsWanted,
        (Reply::Failed(failure), Wanted::RowsOrRefusal(_)) => {
            Verdict::Refused(failure.message.clone())
        }
        (Reply::Failed(failure), Wanted::Rows(_)) => refusal(failure),
        (Reply::Rows(got), Wanted::Error(fault)) if statement.errors == Errors::Strict => {
            Verdict::Wrong(format!("no error ({fault} was to be found)\n  got {}", shown(got)))
        }
        (Reply::Rows(_), Wanted::Error(_)) | (_, Wanted::Unknown) => Verdict::Unknown,
    }
}

/// A statement that has rows may be refused for what is not built, or for memory; nothing else.
fn refusal(failure: &Failure) -> Verdict {
    match failure.kind {
        ErrorKind::Unsupported | ErrorKind::OutOfMemory => {
            Verdict::Refused(failure.message.clone())
        }
        _ if is_planning(&failure.message) => Verdict::Refused(failure.message.clone()),
        kind => Verdict::Wrong(format!("{kind:?} error: {}", failure.message)),
    }
}

/// True if DataFusion says that it can't plan something. Its errors have no kind of their own for
/// that; this only sorts a report.
fn is_planning(message: &str) -> bool {
    [
        "not implemented",
        "not supported",
        "Unsupported",
        "unsupported",
        "can only be",
        "must be aggregated to return at most one row",
        "can't be planned",
    ]
    .iter()
    .any(|part| message.contains(part))
}

impl Verdict {
    /// Returns true if it is a difference.
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}
