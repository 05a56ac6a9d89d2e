//! The commit log of a folder of files: a write is seen whole or not at all, whoever dies in the middle of it.
//!
//! ```text
//! t/                                   the folder of a table
//!   part-000000-000000-6f1c….parquet   data
//!   _SUCCESS                           there while nothing is being published
//!   _gnist/log/00000000000000000007.json        an entry: the files that a write adds and removes
//!   _gnist/log/00000000000000000007.published   there once its files are in their places
//!   _gnist/log/00000000000000000007.done        there once the files that it removes are gone
//!   _gnist/staged/6f1c…/….staged       files of a write that is not committed yet
//!   _gnist/staged/6f1c…/….upload       the id of an upload of such a write
//! ```
//!
//! Files are uploaded to their own places where any process can complete an upload of parts (S3, Google Cloud Storage,
//! Azure): nobody sees a file before its upload is completed, and the entry has the upload's id and the tags of its
//! parts. Elsewhere files are staged under other names and renamed.
//!
//! **The commit point** is the creation of the entry, which fails if there is one of its number. Before it, nothing of
//! a write can be seen, and nothing that was there has changed. After it, publishing is a redo, which the writer, or
//! whoever writes to the folder next, finishes:
//!
//! 1. Remove `_SUCCESS`.
//! 2. Rename the staged files to their places, or complete their uploads. One that is gone, and is in its place with
//!    the right size, is done: S3 knows no upload any more that is completed.
//! 3. Create `N.published`.
//! 4. Delete the files that the entry removes.
//! 5. Create `_SUCCESS`.
//! 6. Delete the folder of the staged files; uploads that other attempts left there are aborted.
//! 7. Create `N.done`. Look whether `_SUCCESS` is still there: somebody who is slow at step 1 may have removed it.
//!    Delete earlier entries, but for the one before.
//!
//! **At most one entry is open**, the last: a writer finishes it before it creates its own. The last entry stays, so
//! numbers only grow. A writer whose listing is old may still create an entry of a number that was pruned; it lists
//! again, sees that its entry is not the last and that none of its work is done, and deletes it. Entries below the last
//! one say nothing. Names of files are never reused, since each write has an id of its own, so a redo that comes late
//! finds its work done and does no harm.
//!
//! **Readers** ([`View`]) leave out the files that an unpublished entry adds, and those that one removes which is
//! published and not done. So they see the folder before or after a write. They look at the log before and after they
//! list, and list again if it has changed meanwhile. Programs that only list the folder wait for `_SUCCESS`.
//!
//! Two writes at once: of two that append, both land, one after the other. One that began before files were replaced
//! ([`Kind::Overwrite`]), or that replaces files and is not the first to commit, is told so and changes nothing.
//!
//! The idea is Delta Lake's transaction log (Armbrust et al., VLDB 2020, section 3.2), with a log that holds only what
//! is open: the folder is read by listing, so files that others put there are seen.

mod entry;
mod error;
mod folder;
mod log;
mod staged;
mod view;

#[cfg(test)]
mod tests;

use datafusion::object_store;

pub use entry::{AddedFile, Entry, Kind, Staged, WriteId};
pub use error::CommitError;
pub use folder::{Base, Folder, Removal};
pub use staged::{OpenUpload, open_upload_path, staged_path};
pub use view::below;
pub(crate) use view::{LISTINGS_MAX, View, data_files, viewed_files};

/// The folder of everything that is not data.
const GNIST: &str = "_gnist";

/// The folder of the log, below that.
const LOG: &str = "log";

/// The file that is there while nothing is being published.
const SUCCESS: &str = "_SUCCESS";

/// The error of a listing whose log can't be read.
pub(crate) fn listing_error(error: CommitError) -> object_store::Error {
    match error {
        CommitError::Store { source, .. } => source,
        error => object_store::Error::Generic { store: "commit log", source: Box::new(error) },
    }
}
