//! The wire: `.proto` files and the types generated from them, conversions to and from the
//! domain's types (one file per message family), and the links that carry conversations.
//!
//! Invariant: generated types never leave this crate's callers' edges: driver, worker and
//! scheduler speak in types of `gnist-common`.
//!
//! Layers, each leaning only on those above it:
//!
//! ```text
//! wire, link, view    generated types; the ends of a conversation; the cluster as people see it
//! lost                the workers that were declared lost, which nobody waits for
//! connect             every connection that is made or accepted
//! convert             wire <-> domain
//! client              a worker's and a driver's end over gRPC
//! ```

mod answer;
pub mod client;
pub mod connect;
pub mod convert;
pub mod link;
pub mod lost;
pub mod view;
pub mod wire;
