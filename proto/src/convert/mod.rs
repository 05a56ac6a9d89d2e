//! Conversions between the wire's types and the domain's, one file per message family.
//!
//! Towards the wire nothing can fail (`From`); from the wire everything that a peer could leave out
//! or invent is checked (`TryFrom`), so that the domain's types stay honest.

mod failure;
mod graph;
mod ids;
mod outputs;
mod protocol;
mod split;
mod stores;
mod task;
mod view;

#[cfg(test)]
mod tests;

use gnist_common::error::{ErrorKind, Failure};

pub use failure::{failure_from_status, status_from_failure};
pub use ids::{hash_from_wire, hash_to_wire};
pub use outputs::{outputs_from_parts, outputs_to_parts};
pub use protocol::FirstMessage;
pub use split::{driver_messages, manager_to_worker_messages};

/// A message that this version does not understand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A part without which the message means nothing.
    #[error("the message lacks `{field}`")]
    Missing {
        /// `message.field`.
        field: &'static str,
    },
    /// A value of an enumeration that a newer peer may know.
    #[error("`{value}` is no known value of `{enumeration}`")]
    UnknownValue {
        /// The enumeration.
        enumeration: &'static str,
        /// The value that came.
        value: i32,
    },
    /// A content hash of another length than SHA-256's.
    #[error("a content hash of {length} bytes, where 32 were expected")]
    HashLength {
        /// The length that came, in bytes.
        length: usize,
    },
    /// A conversation that does not begin with what it must begin with.
    #[error("the conversation must begin with `{expected}`")]
    Unopened {
        /// The first message that was expected.
        expected: &'static str,
    },
    /// A peer of another version.
    #[error("the {peer} speaks protocol {theirs}, this cluster manager speaks {ours}")]
    ProtocolVersion {
        /// `worker` or `driver`.
        peer: &'static str,
        /// The version that the peer speaks.
        theirs: u32,
        /// The version that this process speaks.
        ours: u32,
    },
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        let failure = Failure::new(ErrorKind::Cluster, error.to_string());
        match error {
            ConvertError::ProtocolVersion { .. } => {
                failure.with_help("run the same version of gnist everywhere")
            }
            _ => failure,
        }
    }
}

/// The value of a field without which its message means nothing.
fn required<T>(value: Option<T>, field: &'static str) -> Result<T, ConvertError> {
    value.ok_or(ConvertError::Missing { field })
}

/// Converts every element towards the wire.
fn to_wire<D, W: From<D>>(values: Vec<D>) -> Vec<W> {
    values.into_iter().map(W::from).collect()
}

/// Converts every element from the wire, where nothing can be wrong with one.
fn from_wire<W, D: From<W>>(values: Vec<W>) -> Vec<D> {
    values.into_iter().map(D::from).collect()
}

/// Converts every element from the wire; the first that is wrong fails all.
fn try_from_wire<W, D>(values: Vec<W>) -> Result<Vec<D>, ConvertError>
where
    D: TryFrom<W, Error = ConvertError>,
{
    values.into_iter().map(D::try_from).collect()
}
