//! The wire: `.proto` files and the types generated from them, conversions to and from the
//! domain's types (one file per message family), and the links that carry conversations.
//!
//! Invariant: generated types never leave this crate's callers' edges: driver, worker and
//! scheduler speak in types of `gnist-common`.

pub mod link;
