//! Paths of stores: URLs such as `s3://bucket/folder`, and the objects that they stand for.
//!
//! A URL is taken as it is written: `%20` in it is no space. Its objects are shown as URLs too.

use std::collections::BTreeMap;
use std::path::{Path as ShownPath, PathBuf};

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectMeta, ObjectStoreExt as _};
use datafusion::prelude::SessionConfig;

use crate::commit::{Base, CommitError, viewed_files};
use crate::format::extension_of;
use crate::listing::{MATCH, is_glob};
use crate::refusal::ListingError;
use crate::stores::store_of;

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) store: ObjectStoreUrl,
    pub(crate) path: Path,
    /// The path as it was given, without the store: it may be a pattern, or end in `/`.
    pub(crate) rest: String,
}

impl Place {
    /// The place that a URL names; none if the text is no URL, or one of this machine.
    ///
    /// # Errors
    /// It names no store, or can't be a path there.
    pub(crate) fn of(text: &str) -> Result<Option<Self>, ListingError> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        if scheme == "file" {
            return Ok(None);
        }
        let bad = |reason: String| ListingError::BadUrl { url: text.to_owned(), reason };
        let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(bad("it names no bucket or host".to_owned()));
        }
        if host.contains('@') && matches!(scheme, "s3" | "s3a" | "gs" | "http" | "https") {
            return Err(bad("credentials don't belong into a path".to_owned()));
        }
        let store = ObjectStoreUrl::parse(format!("{scheme}://{host}"));
        let store = store.map_err(|error| bad(error.strip_backtrace()))?;
        let path = Path::parse(rest.trim_matches('/'));
        let path = path.map_err(|error| bad(error.to_string()))?;
        Ok(Some(Self { store, path, rest: rest.to_owned() }))
    }

    /// An object of the store, as it is shown.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("{}{path}", self.store))
    }

    /// The objects that a path of a store stands for: one, those of a folder, or those that match a pattern. Hidden
    /// ones and those that are not published are left out. With them comes the last write that was to be seen in each
    /// folder with a commit log, if there was a look at logs: a single object is taken as it is.
    ///
    /// # Errors
    /// There are none, or the store refuses.
    pub(crate) async fn objects(
        &self,
        config: &SessionConfig,
    ) -> Result<(Vec<ObjectMeta>, Option<BTreeMap<Path, Base>>), ListingError> {
        let root = self.shown(&self.path);
        let no_store = |failure| ListingError::NoStore(Box::new(failure));
        let store = store_of(config, &self.store).map_err(no_store)?;
        let refused = |source: object_store::Error| ListingError::Store {
            path: root.clone(),
            source: Box::new(source),
        };
        let is_pattern = is_glob(&self.rest);
        if !self.rest.ends_with('/') && !self.path.as_ref().is_empty() {
            // What is there under this very name is taken by name, as a local file is.
            match store.raw.head(&self.path).await {
                Ok(object) => return Ok((vec![object], None)),
                // Web servers have no listings.
                Err(object_store::Error::NotFound { .. }) if self.is_of_web() => {
                    return Err(ListingError::Missing { path: root });
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(_) if is_pattern => {}
                Err(error) => return Err(refused(error)),
            }
        }
        let folder = if is_pattern { self.folder_of_pattern() } else { self.path.clone() };
        // A folder that is not there is an empty one; a bucket that is not there is an error.
        let found = viewed_files(store.raw.as_ref(), &folder).await;
        let (mut found, view) = found.map_err(|error| match error {
            CommitError::Store { source, .. } => refused(source),
            other => ListingError::Log { path: root.clone(), source: Box::new(other) },
        })?;
        // Clients that show folders mark them by empty objects.
        found
            .retain(|object| object.size > 0 || extension_of(&name_of(&object.location)).is_some());
        if is_pattern {
            let pattern = glob::Pattern::new(self.path.as_ref()).map_err(|error| {
                ListingError::BadPattern { pattern: self.rest.clone(), reason: error.msg }
            })?;
            found.retain(|object| matches(&pattern, &object.location));
        }
        found.sort_by(|one, other| one.location.cmp(&other.location));
        match found.is_empty() {
            false => Ok((found, Some(view.bases()))),
            true if is_pattern => {
                Err(ListingError::NoMatch { pattern: root.display().to_string() })
            }
            true => Err(ListingError::Missing { path: root }),
        }
    }

    fn is_of_web(&self) -> bool {
        self.store.as_str().starts_with("http")
    }

    /// The innermost folder that all matches of the pattern are below.
    fn folder_of_pattern(&self) -> Path {
        self.path.parts().take_while(|part| !is_glob(part.as_ref())).collect()
    }
}

/// True if a pattern matches an object, or a folder that it is in.
fn matches(pattern: &glob::Pattern, object: &Path) -> bool {
    let text = object.as_ref();
    let folders = text.match_indices('/').map(|(at, _)| &text[..at]);
    folders.chain([text]).any(|path| pattern.matches_with(path, MATCH))
}

fn name_of(object: &Path) -> PathBuf {
    ShownPath::new(object.as_ref()).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::object_store::ObjectStore;
    use datafusion::object_store::memory::InMemory;
    use gnist_common::stores::StoreSettings;
    use url::Url;

    use super::*;
    use crate::stores::{Store, Stores};

    #[test]
    fn urls_name_stores_and_paths() {
        let place = Place::of("s3://b/a b/*.csv").expect("a URL").expect("of a store");
        assert_eq!(place.store.as_str(), "s3://b/");
        assert_eq!(place.path.as_ref(), "a b/*.csv");
        assert_eq!(place.folder_of_pattern().as_ref(), "a b");
        assert_eq!(place.shown(&place.path), PathBuf::from("s3://b/a b/*.csv"));
        for text in ["a/b.csv", "/a", "file:///a/b"] {
            assert_eq!(Place::of(text).expect("a path"), None, "{text}");
        }
        for text in ["s3:///a", "s3://key:secret@b/a", "s3://b/a//b.csv"] {
            assert!(matches!(Place::of(text), Err(ListingError::BadUrl { .. })), "{text}");
        }
    }

    #[tokio::test]
    async fn a_place_stands_for_an_object_a_folder_or_matches() {
        let store = Arc::new(InMemory::new());
        for path in ["t/a.csv", "t/b/c.csv", "t/_SUCCESS", "t/d.json", "t/*.csv/e.csv"] {
            store.put(&Path::from(path), "x".into()).await.expect("written");
        }
        store.put(&Path::from("t/b"), "".into()).await.expect("a mark of a folder");
        let stores = Stores::new(StoreSettings::default(), None);
        let url = Url::parse("s3://b").expect("a URL");
        stores.register(&url, Store::without_uploads(store as Arc<dyn ObjectStore>));
        let config = SessionConfig::new().with_extension(Arc::new(stores));
        let names = async |path: &str| {
            let place = Place::of(&format!("s3://b/{path}")).expect("a URL").expect("of a store");
            let objects = place.objects(&config).await;
            objects.map(|(found, _)| {
                found.into_iter().map(|it| it.location.to_string()).collect::<Vec<_>>()
            })
        };
        assert_eq!(names("t/a.csv").await.expect("there"), ["t/a.csv"]);
        assert_eq!(names("t/b/").await.expect("there"), ["t/b/c.csv"]);
        assert_eq!(names("t/[ab]").await.expect("there"), ["t/b/c.csv"]);
        assert_eq!(names("t/[ab]*").await.expect("there"), ["t/a.csv", "t/b/c.csv"]);
        assert_eq!(names("**/c.csv").await.expect("there"), ["t/b/c.csv"]);
        assert!(matches!(names("t/*.parquet").await, Err(ListingError::NoMatch { .. })));
        assert!(matches!(names("u").await, Err(ListingError::Missing { .. })));
    }
}
