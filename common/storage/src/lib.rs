//! Paths as tables: what a path holds, in which format, and how a session reads it.
//!
//! ```text
//! format      the format and compression that a file's name says
//! hidden      names that are never data
//! shrunk      files that get shorter while they are read
//! listing     a path -> its files, all of one format
//! refusal     the reasons why a path is no table
//! table       a listing -> a table of a DataFusion session
//! external    CREATE EXTERNAL TABLE as Spark and Hive read files
//! paths       a path in place of a table's name
//! ```
//!
//! Invariant: a path is listed and its schema read once, in the driver; tasks are told what was
//! found and never look for themselves.
mod external;
mod format;
mod hidden;
mod listing;
mod paths;
mod refusal;
mod shrunk;
mod table;

pub use external::{serve_external_tables, serve_local_files};
pub use format::FileFormat;
pub use listing::Listing;
pub use paths::{is_path, serve_paths};
pub use refusal::{ListingError, io_reason};
pub use table::{open_as, open_path, register_path};
