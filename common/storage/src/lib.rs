//! Paths as tables: what a path holds, in which format, and how a session reads it.
//!
//! ```text
//! format      the format and compression that a file's name says
//! listing     a path -> its files, all of one format
//! table       a listing -> a table of a DataFusion session
//! ```
//!
//! Invariant: a path is listed and its schema read once, in the driver; tasks are told what was
//! found and never look for themselves.

mod format;
mod listing;
mod table;

pub use format::FileFormat;
pub use listing::{Listing, ListingError};
pub use table::register_path;
