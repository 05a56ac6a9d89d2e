//! One partition of a result in the driver, until its rows are read.
//!
//! A partition is fetched whole before its first row is shown, so that one that is lost on the way
//! can be computed again. One that is too large to be held goes on in a file without a name, which
//! is gone as soon as it is closed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::size::rows_bytes;

use crate::fetch::decode;

/// Bytes of a partition's rows that are held; the rest is written to a file, encoded.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Rows in their order: first those held, then those in the file.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    held: VecDeque<RecordBatch>,
    held_bytes: usize,
    spilled: Option<Spilled>,
}

impl Partition {
    /// A partition of these rows.
    pub(crate) fn of(batches: Vec<RecordBatch>) -> Self {
        Self { held: batches.into(), ..Self::default() }
    }

    /// Takes the next frame, and what it holds.
    ///
    /// # Errors
    /// `DiskFull`, when the file can't be written.
    pub(crate) async fn push(
        &mut self,
        frame: Bytes,
        batches: Vec<RecordBatch>,
    ) -> Result<(), Failure> {
        if self.spilled.is_none() {
            // A frame may be a hundredth of its rows.
            let bytes = batches.iter().map(rows_bytes).sum::<usize>().max(frame.len());
            if self.held_bytes + bytes <= HELD_BYTES_MAX {
                self.held_bytes += bytes;
                self.held.extend(batches);
                return Ok(());
            }
        }
        drop(batches);
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled::create().map_err(|error| unwritable(&error))?),
        };
        spilled.append(frame).await.map_err(|error| unwritable(&error))
    }

    /// The next rows.
    ///
    /// # Errors
    /// When the file can't be read back.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        loop {
            if let Some(batch) = self.held.pop_front() {
                return Ok(Some(batch));
            }
            let Some(spilled) = &mut self.spilled else { return Ok(None) };
            let frame = spilled.next().await.map_err(|error| {
                let message = format!("reading a result back from the driver's disk: {error}");
                Failure::new(ErrorKind::Internal, message)
            })?;
            let Some(frame) = frame else { return Ok(None) };
            self.held.extend(decode(frame).await?);
        }
    }
}

/// Frames in a file.
#[derive(Debug)]
struct Spilled {
    file: Arc<File>,
    /// Places of the unread frames: offset and length.
    frames: VecDeque<(u64, usize)>,
    written_bytes: u64,
}

impl Spilled {
    fn create() -> io::Result<Self> {
        let file = Arc::new(nameless_file(&std::env::temp_dir())?);
        Ok(Self { file, frames: VecDeque::new(), written_bytes: 0 })
    }

    async fn append(&mut self, frame: Bytes) -> io::Result<()> {
        let (file, at, length) = (Arc::clone(&self.file), self.written_bytes, frame.len());
        let write = move || file.write_all_at(&frame, at);
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
        self.frames.push_back((at, length));
        self.written_bytes += length as u64;
        Ok(())
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some((at, length)) = self.frames.pop_front() else { return Ok(None) };
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut frame = vec![0; length];
            file.read_exact_at(&mut frame, at)?;
            Ok(Some(Bytes::from(frame)))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }
}

/// A file that nobody else finds, and that is gone when it is closed.
fn nameless_file(folder: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("gnist-result-{}-{number}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn unwritable(error: &io::Error) -> Failure {
    let folder = std::env::temp_dir();
    let message = format!("writing a large result to `{}`: {error}", folder.display());
    Failure::new(ErrorKind::DiskFull, message).with_help("make room there, or set `TMPDIR`")
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
    use datafusion::arrow::datatypes::Int64Type;
    use gnist_operators::block::{BlockCodec, encode_block};

    use super::*;

    #[tokio::test]
    async fn rows_are_held_by_their_size_and_not_by_that_of_their_frames() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(vec![7; 1 << 20]));
        let batch = RecordBatch::try_from_iter([("k", column)]).expect("a column");
        let mut partition = Partition::default();
        for _ in 0..8 {
            let one = std::slice::from_ref(&batch);
            let frame = encode_block(batch.schema_ref(), one, BlockCodec::Lz4).expect("a block");
            assert!(frame.len() < HELD_BYTES_MAX / 100);
            partition.push(frame, vec![batch.clone()]).await.expect("room on the disk");
        }
        assert_eq!(partition.held.len(), 4);
        assert_eq!(partition.spilled.as_ref().map(|spilled| spilled.frames.len()), Some(4));
    }

    #[tokio::test]
    async fn a_partition_that_is_too_large_to_be_held_comes_back_in_order() {
        let mut partition = Partition::default();
        const FRAMES: i64 = 12;
        const ROWS: i64 = 1 << 19;
        for frame in 0..FRAMES {
            let rows = frame * ROWS..(frame + 1) * ROWS;
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
            let batch = RecordBatch::try_from_iter([("k", column)]).expect("a column");
            let block =
                encode_block(batch.schema_ref(), std::slice::from_ref(&batch), BlockCodec::Plain);
            partition.push(block.expect("a block"), vec![batch]).await.expect("room on the disk");
        }
        assert!(partition.held_bytes <= HELD_BYTES_MAX);
        assert!(partition.spilled.as_ref().is_some_and(|spilled| spilled.frames.len() >= 4));
        let mut next = 0;
        while let Some(batch) = partition.next().await.expect("what was written") {
            for value in batch.column(0).as_primitive::<Int64Type>().values() {
                assert_eq!(*value, next);
                next += 1;
            }
        }
        assert_eq!(next, FRAMES * ROWS);
    }
}
