//! A path that is written to: a folder of many files, or one file.

use std::path::{Path, PathBuf};

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path as StorePath;
use gnist_common::error::{ErrorKind, Failure};

use crate::format::{FileFormat, extension_of};
use crate::listing::{absolute, local_path};
use crate::remote::Place;

/// The target of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteTarget {
    /// The path, as it was given.
    pub given: String,
    /// The store.
    pub store: ObjectStoreUrl,
    /// The folder of the files.
    pub folder: StorePath,
    /// The folder on this machine, if the store is its disk.
    pub local: Option<PathBuf>,
    /// The name of the only file; absent if the path is a folder.
    pub single_file: Option<String>,
}

impl WriteTarget {
    /// The target at a path. One that ends in the name of a format, such as `a/b.csv.gz`, is a file, unless a folder of
    /// this name is there or it ends in `/`.
    ///
    /// # Errors
    /// The path is of a store that is not built in, or can't be a name there.
    pub fn of(given: &str) -> Result<Self, Failure> {
        if given.is_empty() {
            return Err(Failure::new(ErrorKind::User, "the path to write to is empty"));
        }
        if let Some(place) = Place::of(given)? {
            return Self::in_store(given, place);
        }
        let path = absolute(&local_path(given)).map_err(|error| {
            Failure::new(ErrorKind::NotFound, format!("can't write to `{given}`: {error}"))
        })?;
        let is_file = !given.ends_with('/') && extension_of(&path).is_some() && !path.is_dir();
        let (local, single_file) = match (is_file, path.parent(), path.file_name()) {
            (true, Some(parent), Some(name)) => {
                (parent.to_owned(), Some(name.to_string_lossy().into_owned()))
            }
            _ => (path, None),
        };
        let folder = StorePath::from_absolute_path(&local).map_err(|error| {
            let message = format!("`{given}` can't be written to: {error}");
            Failure::new(ErrorKind::User, message).with_help("give the path another name")
        })?;
        let store = ObjectStoreUrl::local_filesystem();
        Ok(Self { given: given.to_owned(), store, folder, local: Some(local), single_file })
    }

    fn in_store(given: &str, place: Place) -> Result<Self, Failure> {
        if is_read_only(place.store.as_str()) {
            return Err(read_only(given));
        }
        let Place { store, path, rest } = place;
        let given = given.to_owned();
        let is_file = !rest.ends_with('/') && extension_of(Path::new(path.as_ref())).is_some();
        if !is_file {
            return Ok(Self { given, store, folder: path, local: None, single_file: None });
        }
        let mut parts: Vec<_> = path.parts().collect();
        let name = parts.pop().map(|name| name.as_ref().to_owned());
        let folder = parts.into_iter().collect();
        Ok(Self { given, store, folder, local: None, single_file: name })
    }

    /// The folder of a table, as the table reads it.
    ///
    /// # Errors
    /// The table is one file, a pattern, or in a store that is not built in.
    pub(crate) fn of_table(given: &str, url: &ListingTableUrl) -> Result<Self, Failure> {
        let user = |message: String| Failure::new(ErrorKind::User, message);
        if is_read_only(url.object_store().as_str()) {
            return Err(read_only(given));
        }
        if url.get_glob().is_some() {
            let message = format!("the files of the table are a pattern, `{given}`");
            return Err(user(message).with_help("write with `COPY` to one of its folders"));
        }
        if !url.is_collection() {
            let message = format!("the table is the file `{given}`, which stays as it is");
            return Err(
                user(message).with_help("make a table of a folder: a `LOCATION` that ends in `/`")
            );
        }
        let local = match url.scheme() {
            "file" => Some(
                LocalFileSystem::new()
                    .path_to_filesystem(url.prefix())
                    .map_err(|error| user(format!("`{given}` is no folder: {error}")))?,
            ),
            _ => None,
        };
        Ok(Self {
            given: given.to_owned(),
            store: url.object_store(),
            folder: url.prefix().clone(),
            local,
            single_file: None,
        })
    }

    /// The path of the only file.
    pub fn file(&self) -> Option<StorePath> {
        let path = format!("{}/{}", self.folder, self.single_file.as_ref()?);
        StorePath::parse(path.trim_start_matches('/')).ok()
    }

    /// The end of a file's name that says its format, such as `csv.gz`, if it says one.
    pub fn end_of(name: &str) -> Option<String> {
        Some(extension_of(Path::new(name))?.text.trim_start_matches('.').to_owned())
    }

    /// The format and compression that a name says.
    pub fn form_of(name: &str) -> Option<(FileFormat, CompressionTypeVariant)> {
        let extension = extension_of(Path::new(name))?;
        Some((extension.format, extension.compression))
    }
}

/// Web servers give files and take none.
fn is_read_only(store: &str) -> bool {
    store.starts_with("http://") || store.starts_with("https://")
}

fn read_only(given: &str) -> Failure {
    let message = format!("`{given}` can't be written to: web servers are only read");
    Failure::new(ErrorKind::Unsupported, message).with_help("write to a folder or to `s3://`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_if_its_name_says_a_format() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().display();
        std::fs::create_dir(folder.path().join("there.csv")).expect("created");
        for (path, below, file) in [
            ("out", "/out", None),
            ("out/", "/out", None),
            ("a/b.parquet", "/a", Some("b.parquet")),
            ("a/../b.csv.gz", "", Some("b.csv.gz")),
            ("b.csv/", "/b.csv", None),
            ("there.csv", "/there.csv", None),
            ("v1.2", "/v1.2", None),
        ] {
            let target = WriteTarget::of(&format!("{root}/{path}")).expect("a target");
            assert_eq!(format!("/{}", target.folder), format!("{root}{below}"), "{path}");
            assert_eq!(target.single_file.as_deref(), file, "{path}");
        }
    }

    #[test]
    fn a_url_is_a_folder_or_an_object_of_a_store() {
        for (url, folder, file) in [
            ("s3://b/t", "t", None),
            ("s3://b/t.csv/", "t.csv", None),
            ("s3://b/t/a b.csv.gz", "t", Some("a b.csv.gz")),
            ("s3://b/a.csv", "", Some("a.csv")),
            ("s3://b", "", None),
        ] {
            let target = WriteTarget::of(url).expect("a target");
            assert_eq!(target.store.as_str(), "s3://b/");
            assert_eq!((target.folder.as_ref(), target.single_file.as_deref()), (folder, file));
            assert_eq!(target.local, None);
        }
        let error = WriteTarget::of("https://h/t").expect_err("only read");
        assert!(error.message.contains("only read"), "{error}");
        assert!(WriteTarget::of("s3://").is_err());
    }
}
