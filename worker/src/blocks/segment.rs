//! A segment: the output of one attempt in one file.
//!
//! ```text
//! frame frame frame ...      each one batch of one output partition, lz4, with its own checksum
//! ```
//!
//! Written under a temporary name, renamed when complete, deleted when dropped. An output
//! partition may have several runs of frames, one for each time that its writer ran out of memory;
//! the index lists its frames in order. The index stays in memory: a segment never outlives the
//! incarnation that wrote it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use gnist_operators::block::{BlockCodec, encode_block};

use super::block_error;
use crate::work_dir::disk_error;

const WRITE_BUFFER_BYTES: usize = 128 << 10;

/// The place of a frame in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameAt {
    offset: u64,
    length: u64,
}

/// A complete segment; its file is deleted when the last reader is done.
#[derive(Debug)]
pub struct Segment {
    path: PathBuf,
    /// Frames by output partition.
    frames: Vec<Vec<FrameAt>>,
    /// Open while anybody reads: once for all readers, who may be as many as there are consumers.
    file: Mutex<Weak<File>>,
}

impl Segment {
    /// Opens it for reading one output partition, from this frame on.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn open(self: &Arc<Self>, partition: u32, next: usize) -> io::Result<SegmentReader> {
        let file = self.file()?;
        Ok(SegmentReader { segment: Arc::clone(self), file, partition, next })
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(File::open(&self.path)?);
        *open = Arc::downgrade(&file);
        Ok(file)
    }

    /// The number of its output partitions.
    pub fn partitions(&self) -> usize {
        self.frames.len()
    }

    /// Returns the path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a segment was not deleted");
        }
    }
}

/// Reads the frames of one output partition, in order.
#[derive(Debug)]
pub struct SegmentReader {
    segment: Arc<Segment>,
    file: Arc<File>,
    partition: u32,
    next: usize,
}

impl SegmentReader {
    /// The next frame as it is on disk, not verified; nothing at the end.
    ///
    /// # Errors
    /// When the file can't be read to the frame's end.
    pub fn next_frame(&mut self) -> io::Result<Option<Bytes>> {
        let frame = self.frame(self.next)?;
        self.next += usize::from(frame.is_some());
        Ok(frame)
    }

    /// A frame by its number, nothing after the last; does not move the next one.
    ///
    /// # Errors
    /// When the file can't be read to the frame's end.
    pub fn frame(&self, number: usize) -> io::Result<Option<Bytes>> {
        let Some(at) = self.segment.frames[self.partition as usize].get(number) else {
            return Ok(None);
        };
        let length = usize::try_from(at.length).map_err(io::Error::other)?;
        let mut frame = vec![0; length];
        self.file.read_exact_at(&mut frame, at.offset)?;
        Ok(Some(frame.into()))
    }
}

/// Writes a segment.
#[derive(Debug)]
pub struct SegmentWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
    frames: Vec<Vec<FrameAt>>,
    written: u64,
}

impl SegmentWriter {
    /// Begins a segment that will be at `path`.
    ///
    /// # Errors
    /// When the file can't be made. This and all errors of the disk carry the failure of the
    /// attempt that writes.
    pub fn create(path: PathBuf, partitions: usize) -> io::Result<Self> {
        let temporary = path.with_extension("tmp");
        let file = create_file(&temporary).map_err(|error| refused(&path, error))?;
        let file = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
        let frames = vec![Vec::new(); partitions];
        Ok(Self { path, temporary, file: Some(file), frames, written: 0 })
    }

    /// Appends a batch to an output partition.
    ///
    /// # Errors
    /// When the disk refuses, or the batch can't be encoded.
    pub fn append(&mut self, schema: &Schema, partition: u32, batch: &RecordBatch) -> Result<()> {
        let one = std::slice::from_ref(batch);
        let frame = encode_block(schema, one, BlockCodec::Lz4).map_err(block_error)?;
        let file = self.file.as_mut().expect("taken only by finish");
        file.write_all(&frame).map_err(|error| refused(&self.path, error))?;
        let at = FrameAt { offset: self.written, length: frame.len() as u64 };
        self.frames[partition as usize].push(at);
        self.written += at.length;
        Ok(())
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Completes the segment and gives it its name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self) -> io::Result<Segment> {
        let file = self.file.take().expect("taken only here");
        let written = file.into_inner().map_err(io::IntoInnerError::into_error);
        let named = written.and_then(|_| fs::rename(&self.temporary, &self.path));
        named.map_err(|error| refused(&self.path, error))?;
        Ok(Segment {
            path: std::mem::take(&mut self.path),
            frames: std::mem::take(&mut self.frames),
            file: Mutex::new(Weak::new()),
        })
    }
}

/// Makes a file, and its folder too if that was deleted.
fn create_file(path: &Path) -> io::Result<File> {
    match (File::create(path), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            File::create(path)
        }
        (made, _) => made,
    }
}

fn refused(path: &Path, error: io::Error) -> io::Error {
    disk_error(path.parent().unwrap_or(path), error)
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        // Complete ones have been renamed.
        let _gone = fs::remove_file(&self.temporary);
    }
}
