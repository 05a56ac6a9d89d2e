//! One staged file: rows go through its encoder, and the bytes to the store in pieces.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use gnist_storage::commit::AddedFile;

use super::encode::Encoder;
use super::sink::Sink;

/// A file that is being written.
pub(super) struct StagedFile {
    sink: Sink,
    encoder: Box<dyn Encoder>,
    /// Bytes that wait for a piece to be full.
    waiting: Vec<u8>,
    path: String,
    bytes: u64,
    rows: u64,
}

impl StagedFile {
    /// The file that is to be at `path`, below the folder of the table.
    pub(super) fn new(sink: Sink, encoder: Box<dyn Encoder>, path: String) -> Self {
        Self { sink, encoder, waiting: Vec::new(), path, bytes: 0, rows: 0 }
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.encoder.write(rows)?;
        self.rows += rows.num_rows() as u64;
        self.collect_made();
        if self.waiting.len() < self.sink.piece_bytes() {
            return Ok(());
        }
        self.pass_on().await
    }

    /// Gives up the memory that it holds: rows make a smaller group, and bytes a smaller piece.
    pub(super) async fn shrink(&mut self) -> Result<()> {
        self.encoder.flush()?;
        self.collect_made();
        if self.waiting.len() < self.sink.piece_bytes_min() {
            return Ok(());
        }
        self.pass_on().await
    }

    /// Bytes of memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.encoder.held_bytes() + self.encoder.own_bytes() + self.waiting.capacity()
    }

    /// Bytes of memory of rows that are not encoded yet.
    pub(super) fn unencoded_bytes(&self) -> usize {
        self.encoder.held_bytes()
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes so far, those that are not encoded yet as they would be.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + (self.waiting.len() + self.encoder.coming_bytes()) as u64
    }

    /// Ends the file.
    pub(super) async fn finish(mut self) -> Result<AddedFile> {
        self.encoder.finish()?;
        self.waiting.append(&mut self.encoder.take());
        self.bytes += self.waiting.len() as u64;
        let Self { sink, waiting, path, bytes, rows, .. } = self;
        let staged = sink.finish(waiting).await?;
        Ok(AddedFile { path, staged, bytes, rows })
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
        self.bytes += piece.len() as u64;
        self.sink.push(piece).await
    }
}
