//! Names that are never data, and stores whose listings leave them out.
//!
//! Files of writes that are not published are hidden too: see [`crate::commit`].
//!
//! Spark, Hive and Gnist put notes beside the files that they write: `_SUCCESS`, checksums such as
//! `.part-0.csv.crc`, and unfinished output below `_temporary/`. A folder of partitions may begin with
//! `_`, where its column does: `_day=1/`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    self, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::commit::{CommitError, LISTINGS_MAX, View, data_files, listing_error};
use crate::footers::refuse_long_footers;
use crate::format::extension_of;
use crate::shrunk::{checked, end_of, explained};
use crate::stores::shown;

/// Returns true if a file or folder of this name is not data.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

/// A store whose listings leave out what is hidden below the folder that is listed. A hidden file or
/// folder that is asked for by its own name is read.
#[derive(Debug)]
pub(crate) struct DataFiles(pub(crate) Arc<dyn ObjectStore>);

impl fmt::Display for DataFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns true if no name on the way from a folder to a path is hidden.
pub(crate) fn is_data(path: &Path, folder: &Path) -> bool {
    match path.prefix_match(folder) {
        Some(mut names) => !names.any(|name| is_hidden(name.as_ref())),
        None => true,
    }
}

/// The data files below a folder: see [`crate::commit`].
async fn listed(store: Arc<dyn ObjectStore>, folder: Path) -> Result<Vec<ObjectMeta>> {
    let files = data_files(store.as_ref(), &folder).await.map_err(listing_error)?;
    // DataFusion lists a file that it does not find, and takes no files for no rows.
    if files.is_empty() && extension_of(std::path::Path::new(folder.as_ref())).is_some() {
        let source = "there is no such file, or none any more".into();
        return Err(object_store::Error::NotFound { path: shown(store.as_ref(), &folder), source });
    }
    Ok(files)
}

#[async_trait]
impl ObjectStore for DataFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // A whole file is read to its end, wherever that is.
        let range = options.range.clone();
        match (range, self.0.get_opts(location, options).await) {
            (Some(_), Ok(result)) => Ok(checked(result, location)),
            (Some(range), Err(error)) => {
                Err(explained(self.0.as_ref(), location, end_of(&range), error).await)
            }
            (None, result) => result,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.0.get_ranges(location, ranges).await {
            Ok(read) => {
                refuse_long_footers(self.0.as_ref(), location, ranges, &read).await?;
                Ok(read)
            }
            Err(error) => {
                let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
                Err(explained(self.0.as_ref(), location, end, error).await)
            }
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.cloned().unwrap_or_default();
        let files = listed(Arc::clone(&self.0), folder);
        stream::once(files).map_ok(|files| stream::iter(files).map(Ok)).try_flatten().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        let files = self.list(prefix);
        files.try_filter(move |file| std::future::ready(file.location > offset)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        let folders = BTreeSet::from([folder.clone()]);
        let view = || async { View::of(self.0.as_ref(), &folders).await.map_err(listing_error) };
        let mut before = view().await?;
        for _ in 0..LISTINGS_MAX {
            let mut found = self.0.list_with_delimiter(prefix).await?;
            let after = view().await?;
            if before == after {
                let objects = &mut found.objects;
                objects.retain(|file| {
                    is_data(&file.location, &folder) && !after.hides(&file.location)
                });
                found.common_prefixes.retain(|path| is_data(path, &folder));
                return Ok(found);
            }
            before = after;
        }
        Err(listing_error(CommitError::Conflict { folder: shown(self.0.as_ref(), &folder) }))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use datafusion::object_store::ObjectStoreExt as _;
    use datafusion::object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn listings_leave_out_what_is_hidden_below_their_folder() {
        let store = DataFiles(Arc::new(InMemory::new()));
        for path in [
            "_raw/t/_day=1/a.csv",
            "_raw/t/_SUCCESS",
            "_raw/t/.a.csv.crc",
            "_raw/t/_temporary/0/b.csv",
            "_raw/t/c.csv",
        ] {
            store.put(&Path::from(path), "x".into()).await.expect("written");
        }
        let folder = Path::from("_raw/t");
        let listed = store.list(Some(&folder)).map_ok(|file| file.location.to_string());
        let mut listed: Vec<_> = listed.try_collect().await.expect("listed");
        listed.sort();
        assert_eq!(listed, ["_raw/t/_day=1/a.csv", "_raw/t/c.csv"]);
        let found = store.list_with_delimiter(Some(&folder)).await.expect("listed");
        assert_eq!(found.objects.len(), 1);
        assert_eq!(found.common_prefixes, [Path::from("_raw/t/_day=1")]);
        let everything: Vec<_> = store.list(None).try_collect().await.expect("listed");
        assert!(everything.is_empty(), "all of it is below `_raw`");
        assert_eq!(store.head(&Path::from("_raw/t/_SUCCESS")).await.expect("there").size, 1);
    }
}
