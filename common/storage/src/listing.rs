//! A path as the files below it, all of one format.
//!
//! Names that begin with `.` or `_` are somebody's notes (`_SUCCESS`, checksums, staged output)
//! and never data.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gnist_common::error::{ErrorKind, Failure};

use crate::format::{Extension, FileFormat, extension_of};

/// Folders below folders are followed this deep.
const DEPTH_MAX: u32 = 64;

/// The files of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub(crate) root: PathBuf,
    pub(crate) extension: Extension,
    /// At least one, sorted by path.
    pub(crate) files: Vec<PathBuf>,
}

/// A path that is no table.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// Nothing there.
    #[error("no such file or folder: `{}`", .path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// It can't be listed.
    #[error("can't read `{}`: {source}", .path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without data.
    #[error("the folder `{}` holds no data files", .path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The name says nothing.
    #[error("can't tell the format of `{}` from its name", .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder with several formats or compressions.
    #[error("`{}` and `{}` are not of one format", .first.display(), .other.display())]
    MixedFormats {
        /// A file of the folder.
        first: PathBuf,
        /// Another of its files.
        other: PathBuf,
    },
    /// A URL of a store that is not built in.
    #[error("reading from `{scheme}://` is not supported yet")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
}

const KNOWN: &str = "files end in .parquet, .json, .ndjson, .jsonl or .csv, the last four also \
                     with .gz, .bz2, .xz or .zst";

impl From<ListingError> for Failure {
    fn from(error: ListingError) -> Self {
        let (kind, help) = match &error {
            ListingError::Missing { .. } | ListingError::Unreadable { .. } => {
                (ErrorKind::NotFound, None)
            }
            ListingError::EmptyFolder { .. } => {
                (ErrorKind::NotFound, Some("names that begin with `_` or `.` are not read"))
            }
            ListingError::UnknownFormat { .. } => (ErrorKind::User, Some(KNOWN)),
            ListingError::MixedFormats { .. } => {
                (ErrorKind::User, Some("a table's files have one format and one compression"))
            }
            ListingError::UnknownScheme { .. } => {
                (ErrorKind::Unsupported, Some("give the path of a file or a folder"))
            }
        };
        let failure = Failure::new(kind, error.to_string());
        match help {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}

impl Listing {
    /// Lists a path: `PATH` or `file://PATH`, a file or a folder.
    ///
    /// # Errors
    ///
    /// The path is missing, unreadable, empty, of no known format or of several.
    pub fn of(path: &str) -> Result<Self, ListingError> {
        let root = local_path(path)?;
        let metadata = fs::metadata(&root).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ListingError::Missing { path: root.clone() },
            _ => ListingError::Unreadable { path: root.clone(), source },
        })?;
        let mut files = Vec::new();
        if metadata.is_dir() {
            collect(&root, DEPTH_MAX, &mut files)?;
            files.sort();
        } else {
            files.push(root.clone());
        }
        let extension = common_extension(&root, &files)?;
        Ok(Self { root, extension, files })
    }

    /// The format of every file.
    pub fn format(&self) -> FileFormat {
        self.extension.format
    }

    /// The files, at least one, sorted by path.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

fn local_path(path: &str) -> Result<PathBuf, ListingError> {
    match path.split_once("://") {
        None => Ok(PathBuf::from(path)),
        Some(("file", rest)) => Ok(PathBuf::from(rest)),
        Some((scheme, _)) => Err(ListingError::UnknownScheme { scheme: scheme.to_owned() }),
    }
}

fn collect(folder: &Path, depth_left: u32, files: &mut Vec<PathBuf>) -> Result<(), ListingError> {
    let unreadable = |source| ListingError::Unreadable { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        // Follows links, as the path itself was followed.
        let metadata = fs::metadata(&path);
        let metadata =
            metadata.map_err(|source| ListingError::Unreadable { path: path.clone(), source })?;
        if metadata.is_file() {
            files.push(path);
        } else if metadata.is_dir() && depth_left > 0 {
            collect(&path, depth_left - 1, files)?;
        }
    }
    Ok(())
}

fn common_extension(root: &Path, files: &[PathBuf]) -> Result<Extension, ListingError> {
    let first = files.first().ok_or_else(|| ListingError::EmptyFolder { path: root.to_owned() })?;
    let unknown = |path: &Path| ListingError::UnknownFormat { path: path.to_owned() };
    let extension = extension_of(first).ok_or_else(|| unknown(first))?;
    for other in &files[1..] {
        if extension_of(other).ok_or_else(|| unknown(other))? != extension {
            return Err(ListingError::MixedFormats { first: first.clone(), other: other.clone() });
        }
    }
    Ok(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("created");
            fs::write(path, "").expect("written");
        }
        folder
    }

    fn list(folder: &tempfile::TempDir) -> Result<Listing, ListingError> {
        Listing::of(folder.path().to_str().expect("UTF-8"))
    }

    #[test]
    fn a_folder_lists_its_data_files_in_order_and_nothing_else() {
        let folder = folder(&["b.csv", "a/x.csv", "_SUCCESS", ".b.csv.crc", "_gnist/c.csv"]);
        let listing = list(&folder).expect("lists");
        assert_eq!(listing.format(), FileFormat::Csv);
        assert_eq!(listing.files(), [folder.path().join("a/x.csv"), folder.path().join("b.csv")]);
    }

    #[test]
    fn what_is_no_table_says_why() {
        for (files, reason) in [
            (vec![], "holds no data files"),
            (vec!["_SUCCESS"], "holds no data files"),
            (vec!["a.txt"], "can't tell the format"),
            (vec!["a.csv", "b.json"], "are not of one format"),
            (vec!["a.csv", "b.csv.gz"], "are not of one format"),
        ] {
            let error = list(&folder(&files)).expect_err("no table").to_string();
            assert!(error.contains(reason), "{error}");
        }
        let error = Listing::of("/no/such/path.csv").expect_err("missing");
        assert_eq!(error.to_string(), "no such file or folder: `/no/such/path.csv`");
        let error = Listing::of("s3://bucket/x.csv").expect_err("no such store");
        assert_eq!(error.to_string(), "reading from `s3://` is not supported yet");
    }
}
