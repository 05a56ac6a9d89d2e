//! A path as the files below it, all of one format.
//!
//! Hidden names are somebody's notes (`_SUCCESS`, checksums, staged output) and never data: see
//! [`crate::hidden`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use datafusion::object_store::ObjectMeta;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path as StorePath;
use datafusion::prelude::SessionConfig;

use crate::commit::{Base, View};
use crate::format::{Extension, FileFormat, extension_of};
use crate::hidden::is_hidden;
use crate::refusal::ListingError;
use crate::remote::Place;

/// Folders below folders are followed this deep.
const DEPTH_MAX: u32 = 64;

/// Listings that are tried while writers change the folder.
const LISTINGS_MAX: usize = 100;

/// The files of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub(crate) root: PathBuf,
    pub(crate) extension: Extension,
    /// Files to read, at least one, sorted by path. Those of a store are shown as URLs.
    pub(crate) files: Vec<PathBuf>,
    /// What a store's listing says of each; none for files of this machine.
    pub(crate) objects: Vec<ObjectMeta>,
    /// The last write that was to be seen in each of the folders with a commit log; none if nobody looked.
    pub(crate) bases: Option<BTreeMap<StorePath, Base>>,
}

impl Listing {
    /// Lists a path: `PATH`, `file://PATH` or the URL of a store, of a file, a folder, or a pattern of them. What is
    /// there under this very name is taken by name, whatever `*` it holds; `~/` is the home folder. Files of
    /// writes that are not published are left out: see [`crate::commit`].
    ///
    /// # Errors
    ///
    /// The path is missing, unreadable, empty, of no known format or of several.
    pub async fn of(config: &SessionConfig, path: &str) -> Result<Self, ListingError> {
        if let Some(place) = Place::of(path)? {
            return Self::of_store(config, &place).await;
        }
        let store = LocalFileSystem::new();
        let mut before = None;
        for _ in 0..LISTINGS_MAX {
            let mut listing = Self::as_it_is(path)?;
            let places: Vec<Option<StorePath>> =
                listing.files.iter().map(|file| in_store(file)).collect();
            let folders = places.iter().flatten().map(folder_of).collect();
            let log =
                |error| ListingError::Log { path: listing.root.clone(), source: Box::new(error) };
            let after = (View::of(&store, &folders).await.map_err(log)?, folders);
            // Where there is no log after the files were listed, there was none before: the last entry stays.
            if after.0.has_no_log() || before.as_ref() == Some(&after) {
                let (view, _) = after;
                listing.bases = Some(view.bases());
                let mut is_shown =
                    places.iter().map(|file| !file.as_ref().is_some_and(|file| view.hides(file)));
                listing.files.retain(|_| is_shown.next().unwrap_or(true));
                if listing.files.is_empty() {
                    return Err(ListingError::EmptyFolder { path: listing.root });
                }
                return Ok(listing);
            }
            before = Some(after);
        }
        Err(ListingError::Changing { path: path.to_owned() })
    }

    async fn of_store(config: &SessionConfig, place: &Place) -> Result<Self, ListingError> {
        let (objects, bases) = place.objects(config).await?;
        let root = place.shown(&place.path);
        let mut found: Vec<(PathBuf, ObjectMeta)> =
            objects.into_iter().map(|object| (place.shown(&object.location), object)).collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (files, objects): (Vec<PathBuf>, Vec<ObjectMeta>) = found.into_iter().unzip();
        let extension = common_extension(&root, &files)?;
        Ok(Self { root, extension, files, objects, bases })
    }

    /// Lists a path without a look at commit logs.
    fn as_it_is(path: &str) -> Result<Self, ListingError> {
        let root = local_path(path);
        let mut files = Vec::new();
        match fs::metadata(&root) {
            Err(source) if source.kind() == io::ErrorKind::NotFound && is_glob(path) => {
                matches(&root, &mut files)?;
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(ListingError::Missing { path: root });
            }
            Err(source) => return Err(ListingError::Unreadable { path: root, source }),
            Ok(metadata) if metadata.is_dir() => collect(&root, DEPTH_MAX, &mut files)?,
            Ok(_) => files.push(root.clone()),
        }
        files.sort();
        let extension = common_extension(&root, &files)?;
        Ok(Self { root, extension, files, objects: Vec::new(), bases: None })
    }

    /// The format of every file.
    pub fn format(&self) -> FileFormat {
        self.extension.format
    }

    /// True if the path is a folder, and neither a file nor a pattern.
    pub(crate) fn is_folder(&self) -> bool {
        match self.objects.first() {
            Some(_) => {
                self.files.first() != Some(&self.root)
                    && self.files.iter().all(|file| file.starts_with(&self.root))
            }
            None => self.root.is_dir(),
        }
    }

    /// What the listing of a store says of a file.
    pub(crate) fn object(&self, file: &Path) -> Option<&ObjectMeta> {
        let at = self.files.binary_search_by(|known| known.as_path().cmp(file)).ok()?;
        self.objects.get(at)
    }

    /// The files, at least one, sorted by path.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// The rules of patterns: `*` is part of one name.
pub(crate) const MATCH: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Returns true if a path is a pattern.
pub(crate) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The data files that a pattern matches, and those of the folders that it matches.
fn matches(pattern: &Path, files: &mut Vec<PathBuf>) -> Result<(), ListingError> {
    let text = pattern.to_string_lossy();
    let found = glob::glob_with(&text, MATCH).map_err(|error| ListingError::BadPattern {
        pattern: text.clone().into_owned(),
        reason: error.msg,
    })?;
    for path in found {
        let path = path.map_err(|error| ListingError::Unreadable {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if is_hidden_match(&path, pattern) {
            continue;
        }
        if path.is_dir() {
            collect(&path, DEPTH_MAX, files)?;
        } else {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(ListingError::NoMatch { pattern: text.into_owned() });
    }
    files.sort();
    files.dedup();
    Ok(())
}

/// Returns true if a hidden name is on the way to a path, which the pattern does not spell out.
fn is_hidden_match(path: &Path, pattern: &Path) -> bool {
    let is_written = |name: &OsStr| pattern.iter().any(|part| part == name);
    path.iter().any(|name| is_hidden(&name.to_string_lossy()) && !is_written(name))
}

/// The path on this machine: `~/` is the home folder.
pub(crate) fn local_path(path: &str) -> PathBuf {
    if let (Some(below), Some(home)) = (path.strip_prefix("~/"), std::env::home_dir()) {
        return home.join(below);
    }
    PathBuf::from(path.strip_prefix("file://").unwrap_or(path))
}

fn collect(folder: &Path, depth_left: u32, files: &mut Vec<PathBuf>) -> Result<(), ListingError> {
    let unreadable = |source| ListingError::Unreadable { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if is_hidden(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // Follows links, as the path itself was followed.
        let metadata = fs::metadata(&path);
        if metadata.is_err() && is_gone(&path) {
            continue;
        }
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

/// Returns true if a file was deleted since its folder was read.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The path of a file in the store of this machine. A name that is no UTF-8 is none of a file that Gnist writes.
fn in_store(file: &Path) -> Option<StorePath> {
    StorePath::from_absolute_path(absolute(file).ok()?).ok()
}

/// The path from the root, without `..`: a folder that is not there yet has no other name.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    Ok(clean)
}

/// The folder that a file is in.
fn folder_of(file: &StorePath) -> StorePath {
    let mut parts: Vec<_> = file.parts().collect();
    parts.pop();
    parts.into_iter().collect()
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
        Listing::as_it_is(folder.path().to_str().expect("UTF-8"))
    }

    #[test]
    fn a_folder_lists_its_data_files_in_order_and_nothing_else() {
        let folder = folder(&["b.csv", "a/x.csv", "_SUCCESS", ".b.csv.crc", "_gnist/c.csv"]);
        let listing = list(&folder).expect("lists");
        assert_eq!(listing.format(), FileFormat::Csv);
        assert_eq!(listing.files(), [folder.path().join("a/x.csv"), folder.path().join("b.csv")]);
    }

    #[test]
    fn a_pattern_lists_what_it_matches() {
        let folder = folder(&[
            "a1.csv",
            "a2.csv",
            "b1.csv",
            "_a.csv",
            "n.json",
            "in/a/x.csv",
            "in/_temporary/0/y.csv",
            "in/_k=1/z.csv",
        ]);
        let root = folder.path().to_str().expect("UTF-8");
        let names = |pattern: &str| {
            let listing = Listing::as_it_is(&format!("{root}/{pattern}"));
            let files = listing.map(|listing| listing.files().to_vec());
            files.map(|files| {
                let names = files.iter().map(|file| file.strip_prefix(root).expect("below"));
                names.map(|name| name.display().to_string()).collect::<Vec<_>>()
            })
        };
        assert_eq!(names("a?.csv").expect("lists"), ["a1.csv", "a2.csv"]);
        assert_eq!(names("*.csv").expect("lists"), ["a1.csv", "a2.csv", "b1.csv"]);
        let all = ["a1.csv", "a2.csv", "b1.csv", "in/_k=1/z.csv", "in/a/x.csv"];
        assert_eq!(names("**/*.csv").expect("lists"), all);
        assert_eq!(names("i*").expect("lists"), ["in/_k=1/z.csv", "in/a/x.csv"]);
        assert_eq!(names("in/*").expect("lists"), ["in/_k=1/z.csv", "in/a/x.csv"]);
        assert_eq!(names("*/_temporary/*").expect("lists"), ["in/_temporary/0/y.csv"]);
        let error = names("*.parquet").expect_err("no match").to_string();
        assert_eq!(error, format!("no file matches `{root}/*.parquet`"));
        assert!(matches!(names("[a.csv"), Err(ListingError::BadPattern { .. })));
        fs::write(folder.path().join("[a].csv"), "").expect("written");
        assert_eq!(names("[a].csv").expect("lists"), ["[a].csv"]);
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
        let error = Listing::as_it_is("/no/such/path.csv").expect_err("missing");
        assert_eq!(error.to_string(), "no such file or folder: `/no/such/path.csv`");
    }
}
