//! The way of a staged file's bytes to its store: a file beside the table, or an upload to its own place.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::object_store::multipart::MultipartStore;
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, MultipartId, MultipartUpload, ObjectStoreExt as _};
use gnist_common::error::Failure;
use gnist_storage::commit::{OpenUpload, Staged};
use gnist_storage::stores::{Store, shown};

use crate::failure::{external, failure_of_store};

/// Bytes of a piece: the least that S3 takes is 5 MiB, but for the last one.
const PIECE_BYTES: usize = 5 << 20;

/// Pieces after which they get larger: S3 takes 10,000, and these make files of 270 GiB.
const PIECES_OF_A_SIZE: usize = 1000;

/// The place that the bytes of one file go to.
pub(super) struct Sink {
    store: Store,
    /// The file, or the object.
    location: Path,
    way: Way,
}

enum Way {
    /// Another name, below the folder of the table. The store has it whole once the upload is complete.
    File { staged: String, upload: Option<Box<dyn MultipartUpload>> },
    /// An upload that is left open.
    Upload {
        uploads: Arc<dyn MultipartStore>,
        note: Path,
        upload: Option<MultipartId>,
        parts: Vec<String>,
    },
}

impl Sink {
    /// A file at `location`, which is `staged` below the folder of the table.
    pub(super) fn file(store: Store, location: Path, staged: String) -> Self {
        Self { store, location, way: Way::File { staged, upload: None } }
    }

    /// An upload of the object at `location`, whose id is kept at `note`.
    pub(super) fn upload(
        uploads: Arc<dyn MultipartStore>,
        location: Path,
        store: Store,
        note: Path,
    ) -> Self {
        Self {
            store,
            location,
            way: Way::Upload { uploads, note, upload: None, parts: Vec::new() },
        }
    }

    /// The bytes from which on a piece can be passed on.
    pub(super) fn piece_bytes(&self) -> usize {
        match &self.way {
            Way::File { .. } => PIECE_BYTES,
            Way::Upload { parts, .. } => PIECE_BYTES * (1 + parts.len() / PIECES_OF_A_SIZE),
        }
    }

    /// The fewest bytes of a piece that is not the last.
    pub(super) fn piece_bytes_min(&self) -> usize {
        match &self.way {
            Way::File { .. } => 1,
            Way::Upload { .. } => PIECE_BYTES,
        }
    }

    /// Passes a piece on.
    pub(super) async fn push(&mut self, piece: Vec<u8>) -> Result<()> {
        let refused = refused(&self.store, &self.location);
        let (store, location) = (&self.store, &self.location);
        match &mut self.way {
            Way::File { upload, .. } => {
                let upload = match upload {
                    Some(upload) => upload,
                    None => {
                        let begun = store.objects.put_multipart(location).await;
                        upload.insert(begun.map_err(&refused)?)
                    }
                };
                upload.put_part(piece.into()).await.map_err(refused)
            }
            Way::Upload { uploads, note, upload, parts } => {
                let id = match upload {
                    Some(id) => id,
                    None => {
                        let id = uploads.create_multipart(location).await.map_err(&refused)?;
                        let id = upload.insert(id);
                        let open = OpenUpload { path: location.to_string(), upload: id.clone() };
                        let noted = store.objects.put(note, open.to_json().into()).await;
                        noted.map_err(&refused)?;
                        id
                    }
                };
                let part = uploads.put_part(location, id, parts.len(), piece.into()).await;
                parts.push(part.map_err(refused)?.content_id);
                Ok(())
            }
        }
    }

    /// Passes the last bytes on; then all of them are there, and nobody sees them.
    pub(super) async fn finish(mut self, rest: Vec<u8>) -> Result<Staged> {
        let is_upload = matches!(self.way, Way::Upload { .. });
        if is_upload && !rest.is_empty() {
            self.push(rest).await?;
            return Ok(self.staged());
        }
        let refused = refused(&self.store, &self.location);
        if let Way::File { upload, .. } = &mut self.way {
            match upload {
                None => {
                    let put = self.store.objects.put(&self.location, rest.into()).await;
                    put.map(drop).map_err(refused)?;
                }
                Some(upload) => {
                    if !rest.is_empty() {
                        upload.put_part(rest.into()).await.map_err(&refused)?;
                    }
                    upload.complete().await.map(drop).map_err(refused)?;
                }
            }
        }
        Ok(self.staged())
    }

    fn staged(&mut self) -> Staged {
        match &mut self.way {
            Way::File { staged, upload } => {
                *upload = None;
                Staged::File(std::mem::take(staged))
            }
            Way::Upload { upload, parts, .. } => match upload.take() {
                Some(upload) => Staged::Upload { upload, parts: std::mem::take(parts) },
                None => Staged::Empty,
            },
        }
    }
}

impl Drop for Sink {
    /// What an attempt leaves that fails or is stopped: its parts cost space until they are given up.
    fn drop(&mut self) {
        if let Way::Upload { upload, .. } = &mut self.way
            && let Some(upload) = upload.take()
        {
            // Its note is still there: whoever cleans up tries again.
            self.store.abort_upload(self.location.clone(), upload);
        }
    }
}

/// The failure of a store to take a file, which names the file.
fn refused(
    store: &Store,
    location: &Path,
) -> impl Fn(object_store::Error) -> DataFusionError + use<> {
    let location = shown(store.objects.as_ref(), location);
    move |error| {
        let failure = failure_of_store(&error);
        let message = format!("can't write `{location}`: {}", failure.message);
        external(Failure { message, ..failure })
    }
}
