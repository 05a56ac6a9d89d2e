//! The reasons why a path is no table, and what to do about each.

use std::io;
use std::path::{Path, PathBuf};

use datafusion::object_store;
use gnist_common::config::nearest;
use gnist_common::error::{ErrorKind, Failure};

use crate::commit::CommitError;
use crate::hidden::is_hidden;
use crate::stores::is_url;

/// A path that is no table.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// No file or folder has this path.
    #[error("no such file or folder: `{}`", .path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file or folder can't be listed or opened.
    #[error("can't read `{}`: {}", .path.display(), io_reason(.source))]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder without data.
    #[error("the folder `{}` holds no data files", .path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A pattern that matches no file.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A pattern that can't be understood.
    #[error("`{pattern}` is no pattern of paths: {reason}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// The fault in it.
        reason: &'static str,
    },
    /// The name says nothing about the format.
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
    /// A folder whose commit log can't be read.
    #[error("can't list `{}`: {source}", .path.display())]
    Log {
        /// The path that was asked for.
        path: PathBuf,
        /// The fault of the log.
        source: Box<CommitError>,
    },
    /// A folder that writers change all the time.
    #[error("`{path}` was changed during each of many listings")]
    Changing {
        /// The path that was asked for.
        path: String,
    },
    /// A folder whose files are in different partitions.
    #[error(
        "`{}` and `{}` are not in the same partitions: their folders say different columns",
        .first.display(), .other.display()
    )]
    MixedPartitions {
        /// A file of the folder.
        first: PathBuf,
        /// Another of its files.
        other: PathBuf,
    },
    /// A partition column that is a column of the files too.
    #[error("the column `{column}` of `{}` is in its files and in the names of its folders", .path.display())]
    ColumnTwice {
        /// The folder.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A URL that is none of a store.
    #[error("`{url}` is no path of a store: {reason}")]
    BadUrl {
        /// The URL.
        url: String,
        /// The fault in it.
        reason: String,
    },
    /// A store that is not built in, or has no credentials.
    #[error("{0}")]
    NoStore(Box<Failure>),
    /// A store that refuses to list.
    #[error("can't read `{}`: {}", .path.display(), root_reason(.source))]
    Store {
        /// The path that was asked for.
        path: PathBuf,
        /// The store's reason.
        source: Box<object_store::Error>,
    },
}

/// The innermost reason of a store's error.
fn root_reason(error: &object_store::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// The system's reason without its number, such as `permission denied`.
pub fn io_reason(error: &io::Error) -> String {
    without_number(&error.to_string())
}

/// A text of the system without the number of its error.
pub(crate) fn without_number(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}

const KNOWN: &str = "files end in .parquet, .json, .ndjson, .jsonl or .csv, the last four also \
                     with .gz, .bz2, .xz or .zst";

impl ListingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. }
            | Self::Unreadable { .. }
            | Self::EmptyFolder { .. }
            | Self::NoMatch { .. } => ErrorKind::NotFound,
            Self::BadPattern { .. }
            | Self::UnknownFormat { .. }
            | Self::MixedFormats { .. }
            | Self::MixedPartitions { .. }
            | Self::ColumnTwice { .. }
            | Self::Log { .. } => ErrorKind::User,
            Self::Changing { .. } => ErrorKind::Transient,
            Self::BadUrl { .. } => ErrorKind::User,
            Self::NoStore(failure) => failure.kind,
            Self::Store { source, .. } => match &**source {
                object_store::Error::Generic { .. } => ErrorKind::Transient,
                _ => ErrorKind::NotFound,
            },
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Missing { path } if is_url(&path.to_string_lossy()) => {
                "give the path of a file or a folder".to_owned()
            }
            Self::Missing { path } => near_or_where(path),
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "give the user who runs this the right to read it".to_owned()
            }
            Self::Unreadable { .. } => "give the path of a file or a folder".to_owned(),
            Self::EmptyFolder { .. } | Self::NoMatch { .. } => {
                "names that begin with `_` or `.` are not read".to_owned()
            }
            Self::BadPattern { .. } => {
                "`*` stands for any text, `?` for a character, `[ab]` for one of these".to_owned()
            }
            Self::UnknownFormat { .. } => KNOWN.to_owned(),
            Self::MixedFormats { .. } => {
                "a table's files have one format and one compression; a pattern such as \
                 `folder/*.csv` chooses among them"
                    .to_owned()
            }
            Self::MixedPartitions { .. } => {
                "read the folders of one kind, or with a pattern such as `folder/*/*.csv`, which has no \
                 partition columns"
                    .to_owned()
            }
            Self::ColumnTwice { .. } => {
                "read it with a pattern such as `folder/*/*.csv`, which has no partition columns".to_owned()
            }
            Self::Log { .. } => "repair the files in `_gnist/log/` of the folder".to_owned(),
            Self::Changing { .. } => "read the folder while fewer writes land in it".to_owned(),
            Self::BadUrl { .. } => "a path of a store is `s3://BUCKET/PATH`".to_owned(),
            Self::NoStore(failure) => failure.help.clone().unwrap_or_default(),
            Self::Store { path, .. } => {
                let url = path.to_string_lossy();
                match url.split_once(':').map(|(scheme, _)| scheme) {
                    Some("s3" | "s3a") => "see the settings of the store, such as `s3.endpoint`".to_owned(),
                    Some("http" | "https") => "files of web servers are read by their whole URLs".to_owned(),
                    _ => "see the settings of the store".to_owned(),
                }
            }
        }
    }
}

/// The name beside a missing path that is most like it; else the folder that was looked in.
fn near_or_where(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    if let Some(name) = path.file_name()
        && let Ok(entries) = folder.read_dir()
    {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let shown = names.filter(|name| !is_hidden(name));
        if let Some(near) = nearest(&name.to_string_lossy(), shown) {
            let near = parent.map_or_else(|| PathBuf::from(&near), |parent| parent.join(&near));
            return format!("did you mean `{}`?", near.display());
        }
    }
    match std::env::current_dir() {
        Ok(working) if path.is_relative() => {
            format!("relative paths begin at the working folder, `{}`", working.display())
        }
        _ => "give the path of a file or a folder".to_owned(),
    }
}

impl From<ListingError> for Failure {
    fn from(error: ListingError) -> Self {
        let failure = Self::new(error.kind(), error.to_string());
        match error.help() {
            help if help.is_empty() => failure,
            help => failure.with_help(help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_suggests_its_neighbour_or_says_where_it_looked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("orders.csv"), "a\n").expect("written");
        let help = |name: &str| {
            Failure::from(ListingError::Missing { path: folder.path().join(name) }).help
        };
        let expected = format!("did you mean `{}`?", folder.path().join("orders.csv").display());
        assert_eq!(help("order.csv"), Some(expected));
        assert_eq!(help("zz"), Some("give the path of a file or a folder".to_owned()));
        let relative = Failure::from(ListingError::Missing { path: PathBuf::from("no/such") });
        let help = relative.help.expect("help");
        assert!(help.starts_with("relative paths begin at the working folder, `/"), "{help}");
    }

    #[test]
    fn the_systems_reason_has_no_number() {
        let source = io::Error::from_raw_os_error(13);
        let error = ListingError::Unreadable { path: PathBuf::from("a.csv"), source };
        assert_eq!(error.to_string(), "can't read `a.csv`: permission denied");
    }
}
