//! A store whose errors name it, the object, and the reason that people can act on.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::multipart::{MultipartStore, PartId};
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result, UploadPart,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::reason::reason_of;

/// A store that is not of this machine.
#[derive(Debug)]
pub(super) struct Told<S> {
    /// The URL, such as `s3://bucket`.
    pub(super) url: Arc<str>,
    pub(super) store: S,
}

impl<S> Told<S> {
    fn told(&self, error: Error) -> Error {
        told(&self.url, error)
    }
}

impl<S> fmt::Display for Told<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The error with the URL of its object, and its reason for people.
fn told(url: &str, error: Error) -> Error {
    let reason = || reason_of(url, &error).into();
    let at = |path: &str| {
        if path.starts_with(url) { path.to_owned() } else { format!("{url}/{path}") }
    };
    match &error {
        // It has no place for a path.
        Error::Generic { store, .. } => {
            Error::Generic { store, source: format!("{url}: {}", reason_of(url, &error)).into() }
        }
        Error::NotFound { path, .. } => Error::NotFound { path: at(path), source: reason() },
        Error::AlreadyExists { path, .. } => {
            Error::AlreadyExists { path: at(path), source: reason() }
        }
        Error::Precondition { path, .. } => {
            Error::Precondition { path: at(path), source: reason() }
        }
        Error::NotModified { path, .. } => Error::NotModified { path: at(path), source: reason() },
        Error::PermissionDenied { path, .. } => {
            Error::PermissionDenied { path: at(path), source: reason() }
        }
        Error::Unauthenticated { path, .. } => {
            Error::Unauthenticated { path: at(path), source: reason() }
        }
        _ => error,
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Told<S> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await.map_err(|error| self.told(error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.store.put_multipart_opts(location, options).await;
        let upload = upload.map_err(|error| self.told(error))?;
        Ok(Box::new(ToldUpload { url: Arc::clone(&self.url), upload }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result =
            self.store.get_opts(location, options).await.map_err(|error| self.told(error))?;
        if let GetResultPayload::Stream(pieces) = result.payload {
            let url = Arc::clone(&self.url);
            let pieces = pieces.map_err(move |error| told(&url, error));
            result.payload = GetResultPayload::Stream(pieces.boxed());
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await.map_err(|error| self.told(error))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let url = Arc::clone(&self.url);
        self.store.delete_stream(locations).map_err(move |error| told(&url, error)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let url = Arc::clone(&self.url);
        self.store.list(prefix).map_err(move |error| told(&url, error)).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let url = Arc::clone(&self.url);
        let files = self.store.list_with_offset(prefix, offset);
        files.map_err(move |error| told(&url, error)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await.map_err(|error| self.told(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await.map_err(|error| self.told(error))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store.rename_opts(from, to, options).await.map_err(|error| self.told(error))
    }
}

#[async_trait]
impl<S: MultipartStore> MultipartStore for Told<S> {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.store.create_multipart(path).await.map_err(|error| self.told(error))
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.store.put_part(path, id, part_idx, data).await.map_err(|error| self.told(error))
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.store.complete_multipart(path, id, parts).await.map_err(|error| self.told(error))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.store.abort_multipart(path, id).await.map_err(|error| self.told(error))
    }
}

/// An upload whose errors are told.
#[derive(Debug)]
struct ToldUpload {
    url: Arc<str>,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for ToldUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (url, part) = (Arc::clone(&self.url), self.upload.put_part(data));
        Box::pin(async move { part.await.map_err(|error| told(&url, error)) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await.map_err(|error| told(&self.url, error))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await.map_err(|error| told(&self.url, error))
    }
}
