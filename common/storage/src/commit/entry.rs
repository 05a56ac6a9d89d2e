//! Entries of the log, and their form in files: JSON, so that people can read them.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use serde::{Deserialize, Serialize};

/// The name of a write, in the names of its files. No two writes share one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WriteId(pub u128);

impl WriteId {
    /// A new id: the standard library seeds its hashers from the system's randomness.
    pub fn fresh() -> Self {
        let random = || u128::from(std::hash::RandomState::new().build_hasher().finish());
        Self((random() << 64) | random())
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Shows no number: it differs from run to run, and a plan is compared by its text.
impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteId")
    }
}

/// The effect of a write on the files that were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// They stay.
    Append,
    /// Some or all of them are replaced, or it was promised that there are none.
    Overwrite,
}

/// A file that a write adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedFile {
    /// The path below the folder of the table.
    pub path: String,
    /// The bytes, where nobody sees them yet.
    pub staged: Staged,
    /// The size of the file.
    pub bytes: u64,
    /// Number of rows in it.
    pub rows: u64,
}

/// The bytes of a file that nobody sees yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Staged {
    /// A file, by its path below the folder of the table. It is renamed.
    File(String),
    /// An upload to the place of the file, all of whose parts are there. It is completed.
    Upload {
        /// The id that the store gave it.
        upload: String,
        /// The tags of its parts, in order.
        parts: Vec<String>,
    },
    /// None: the file is empty, and a store has no upload of no parts. It is created.
    Empty,
}

/// One entry of the log: a write that is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The write's id, as the names of its files have it.
    pub write: String,
    /// The effect on the files that were there.
    pub kind: Kind,
    /// The number of the last entry that is an overwrite, this one included; absent if there was none.
    pub overwritten: Option<u64>,
    /// The files that it adds.
    pub added: Vec<AddedFile>,
    /// The files that it replaces, by their paths below the folder of the table.
    pub removed: Vec<String>,
}
