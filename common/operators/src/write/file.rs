//! One staged file: rows go through its encoder, and the bytes to the store in pieces.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, MultipartUpload, ObjectStore, ObjectStoreExt as _};
use gnist_common::error::Failure;
use gnist_storage::commit::AddedFile;

use super::encode::Encoder;
use crate::failure::{external, failure_of_store};

/// Bytes of a piece: the least that S3 takes is 5 MiB, but for the last one.
const PIECE_BYTES: usize = 5 << 20;

/// A file that is being written.
pub(super) struct StagedFile {
    store: Arc<dyn ObjectStore>,
    location: Path,
    encoder: Box<dyn Encoder>,
    /// Bytes that wait for a piece to be full.
    waiting: Vec<u8>,
    upload: Option<Box<dyn MultipartUpload>>,
    added: AddedFile,
}

impl StagedFile {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        location: Path,
        encoder: Box<dyn Encoder>,
        path: String,
        staged: String,
    ) -> Self {
        let added = AddedFile { path, staged, bytes: 0, rows: 0 };
        Self { store, location, encoder, waiting: Vec::new(), upload: None, added }
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.encoder.write(rows)?;
        self.added.rows += rows.num_rows() as u64;
        self.collect_made();
        if self.waiting.len() < PIECE_BYTES {
            return Ok(());
        }
        self.pass_on().await
    }

    /// Gives up the memory that it holds: rows make a smaller group, and bytes a smaller piece.
    pub(super) async fn shrink(&mut self) -> Result<()> {
        self.encoder.flush()?;
        self.collect_made();
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.pass_on().await
    }

    /// Bytes of memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.encoder.held_bytes() + self.waiting.capacity()
    }

    /// Bytes of memory of rows that are not encoded yet.
    pub(super) fn unencoded_bytes(&self) -> usize {
        self.encoder.held_bytes()
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.added.rows
    }

    /// Bytes so far, those that are not encoded yet as they would be.
    pub(super) fn bytes(&self) -> u64 {
        self.added.bytes + (self.waiting.len() + self.encoder.coming_bytes()) as u64
    }

    /// Ends the file.
    pub(super) async fn finish(mut self) -> Result<AddedFile> {
        self.encoder.finish()?;
        self.waiting.append(&mut self.encoder.take());
        self.added.bytes += self.waiting.len() as u64;
        let rest = std::mem::take(&mut self.waiting);
        match self.upload.take() {
            None => {
                self.store
                    .put(&self.location, rest.into())
                    .await
                    .map_err(refused(&self.location))?;
            }
            Some(mut upload) => {
                if !rest.is_empty() {
                    upload.put_part(rest.into()).await.map_err(refused(&self.location))?;
                }
                upload.complete().await.map_err(refused(&self.location))?;
            }
        }
        Ok(self.added)
    }

    /// Takes what the encoder has made.
    fn collect_made(&mut self) {
        let mut made = self.encoder.take();
        if self.waiting.is_empty() {
            self.waiting = made;
        } else {
            self.waiting.append(&mut made);
        }
    }

    async fn pass_on(&mut self) -> Result<()> {
        let piece = std::mem::take(&mut self.waiting);
        self.added.bytes += piece.len() as u64;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let upload = self
                    .store
                    .put_multipart(&self.location)
                    .await
                    .map_err(refused(&self.location))?;
                self.upload.insert(upload)
            }
        };
        upload.put_part(piece.into()).await.map_err(refused(&self.location))
    }
}

/// The failure of a store to take a file, which names the file.
fn refused(location: &Path) -> impl Fn(object_store::Error) -> DataFusionError {
    let location = location.clone();
    move |error| {
        let failure = failure_of_store(&error);
        let message = format!("can't write `/{location}`: {}", failure.message);
        external(Failure { message, ..failure })
    }
}
