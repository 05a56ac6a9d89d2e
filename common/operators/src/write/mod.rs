//! Rows as files: the last operator of a write, and the encoders of each format.
//!
//! ```text
//! rows ──▶ WriteExec ──by partition values──▶ open files ──encoder──▶ staged files
//!                └─▶ receipts: a row per file ──▶ driver ──▶ commit log
//! ```
//!
//! A task writes its rows into staged files, which nobody sees, and answers with a receipt for each. The driver
//! commits the receipts of the attempts that won, so that a task that is retried, or runs twice, does no harm:
//! see [`gnist_storage::commit`].
//!
//! - [`spec`]: the target, the format and its options, as they travel
//! - [`exec`]: the operator
//! - [`task`]: the files of one task
//! - [`folders`]: rows by their partition values, and the names of the folders
//! - [`mod@file`]: one staged file
//! - [`sink`]: its bytes on their way to the store
//! - [`encode`]: rows as bytes, a file a format
//! - [`receipts`]: the answer

mod encode;
mod exec;
mod file;
mod folders;
mod receipts;
mod sink;
mod spec;
mod task;

#[cfg(test)]
mod tests;

pub use encode::check_schema;
pub use exec::WriteExec;
pub(crate) use exec::WriteMessage;
pub use folders::is_folder_name;
pub use receipts::receipts_of;
pub use spec::{FileLimits, WriteFormat, WriteSpec};
pub use task::write_empty_file;
