//! Paths as tables: what a path holds, in which format, and how a session reads it.
//!
//! ```text
//! format      the format and compression that a file's name says
//! csv         the columns of CSV files, as their headers and first rows say
//! hidden      names that are never data
//! commit      the log that makes a write be seen whole or not at all
//! stores      the stores of an application, and their settings
//! remote      paths of stores
//! shrunk      files that get shorter while they are read
//! footers     Parquet files whose footer is longer than they are
//! listing     a path -> its files, all of one format
//! listed      a table over such files, which knows when they were listed
//! refusal     the reasons why a path is no table
//! table       a listing -> a table of a DataFusion session
//! external    CREATE EXTERNAL TABLE as Spark and Hive read files
//! target      a path that is written to
//! partitions  columns that the names of folders say
//! paths       a path in place of a table's name
//! ```
//!
//! Invariant: a path is listed and its schema read once, in the driver; tasks are told what was
//! found and never look for themselves.
pub mod commit;
mod csv;
mod external;
mod footers;
mod format;
mod hidden;
mod listed;
mod listing;
mod partitions;
mod paths;
mod refusal;
mod remote;
mod shrunk;
pub mod stores;
mod table;
mod target;

pub use csv::CsvDialect;
pub use external::{ExternalTable, WRITE_OPTIONS, serve_external_tables};
pub use format::FileFormat;
pub use listed::ListedTable;
pub use listing::Listing;
pub use partitions::NULL_PARTITION;
pub use paths::{is_path, serve_paths};
pub use refusal::{ListingError, io_reason};
pub use table::{open_as, open_path, register_path};
pub use target::WriteTarget;
