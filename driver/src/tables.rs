//! Rows in memory as content: what a program scans of tables made by `CREATE TABLE AS`, of
//! registered batches and of `VALUES`.
//!
//! Batches that follow each other in a partition travel as one block, some
//! [`CHUNK_BYTES`] large. A block is encoded, hashed and put once for as long as its batches live:
//! it is known by the addresses of its columns, which weak references keep from being used again.
//! Small rows travel in the bindings themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use datafusion::arrow::array::{Array, RecordBatch};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_operators::source::{Bound, Piece, Scanned};

use crate::content::{Contents, Put};

/// Batches are put together up to this size.
const CHUNK_BYTES: usize = 1 << 20;

/// Rows up to this size are part of the bindings.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// Blocks of living tables, by the addresses of their columns.
#[derive(Default)]
pub(crate) struct Tables {
    chunks: Mutex<HashMap<Vec<usize>, Chunk>>,
}

struct Chunk {
    columns: Vec<Weak<dyn Array>>,
    put: Arc<Put>,
}

impl Chunk {
    fn is_alive(&self) -> bool {
        self.columns.iter().all(|column| column.strong_count() > 0)
    }
}

impl Tables {
    /// Binds what a leaf scans; rows that are content of their own stay as long as what is added to
    /// `used`.
    ///
    /// # Errors
    /// `Cluster` when the manager is gone or has no room.
    pub(crate) async fn bind(
        &self,
        scanned: &Scanned,
        contents: &Contents,
        used: &mut Vec<Arc<Put>>,
    ) -> Result<Bound, Failure> {
        let partitions = match scanned {
            Scanned::Files(groups) => return Ok(Bound::Files(groups.clone())),
            Scanned::Rows(partitions) => partitions,
        };
        let mut bound = Vec::with_capacity(partitions.len());
        for batches in partitions {
            let mut pieces = Vec::new();
            for chunk in chunks(batches) {
                pieces.push(self.piece(chunk, contents, used).await?);
            }
            bound.push(pieces);
        }
        Ok(Bound::Rows(bound))
    }

    async fn piece(
        &self,
        batches: &[RecordBatch],
        contents: &Contents,
        used: &mut Vec<Arc<Put>>,
    ) -> Result<Piece, Failure> {
        let name = addresses(batches);
        let known = self.chunks().get(&name).map(|chunk| Arc::clone(&chunk.put));
        let put = match known {
            Some(put) => put,
            None => {
                let block = encode_block(batches[0].schema_ref(), batches, BlockCodec::Plain);
                let block = block.map_err(|error| {
                    let message = format!("encoding rows of a table in memory: {error}");
                    Failure::new(ErrorKind::Internal, message)
                })?;
                if block.len() <= INLINE_BYTES_MAX || name.is_empty() {
                    return Ok(Piece::Inline(block));
                }
                let put = contents.put(block).await?;
                let columns = batches.iter().flat_map(RecordBatch::columns);
                let columns = columns.map(Arc::downgrade).collect();
                self.chunks().insert(name, Chunk { columns, put: Arc::clone(&put) });
                put
            }
        };
        let piece = Piece::Content { hash: put.hash, bytes: put.bytes };
        used.push(put);
        Ok(piece)
    }

    /// Lets go of the blocks of tables that are no more.
    pub(crate) fn sweep(&self) {
        self.chunks().retain(|_, chunk| chunk.is_alive());
    }

    fn chunks(&self) -> MutexGuard<'_, HashMap<Vec<usize>, Chunk>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses of all columns; as long as weak references to them are held, nothing else has
/// these.
fn addresses(batches: &[RecordBatch]) -> Vec<usize> {
    let columns = batches.iter().flat_map(RecordBatch::columns);
    columns.map(|column| Arc::as_ptr(column).cast::<()>().addr()).collect()
}

/// Batches that follow each other, put together up to [`CHUNK_BYTES`].
fn chunks(batches: &[RecordBatch]) -> Vec<&[RecordBatch]> {
    let (mut chunks, mut first, mut bytes) = (Vec::new(), 0, 0);
    for (at, batch) in batches.iter().enumerate() {
        let size = batch.get_array_memory_size();
        if at > first && bytes + size > CHUNK_BYTES {
            chunks.push(&batches[first..at]);
            (first, bytes) = (at, 0);
        }
        bytes += size;
    }
    if first < batches.len() {
        chunks.push(&batches[first..]);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use datafusion::arrow::array::Int64Array;
    use gnist_common::graph::ContentHash;
    use gnist_proto::link::ContentSink;

    use super::*;

    #[derive(Default)]
    struct Counts(Mutex<(usize, usize)>);

    #[async_trait]
    impl ContentSink for Counts {
        async fn put_content(&self, _: ContentHash, _: Bytes) -> Result<(), Failure> {
            self.0.lock().unwrap().0 += 1;
            Ok(())
        }

        async fn release_content(&self, _: ContentHash) -> Result<(), Failure> {
            self.0.lock().unwrap().1 += 1;
            Ok(())
        }
    }

    fn batch(rows: i64) -> RecordBatch {
        let column = Arc::new(Int64Array::from_iter_values(0..rows)) as _;
        RecordBatch::try_from_iter([("k", column)]).unwrap()
    }

    #[tokio::test]
    async fn rows_are_put_once_while_their_table_lives_and_released_after() {
        let counts = Arc::new(Counts::default());
        let (contents, tables) = (Contents::new(Arc::clone(&counts) as _), Tables::default());
        // Each is a chunk of its own, of other rows.
        let rows = (0..24).map(|n| batch(131_072 + n)).collect::<Vec<_>>();
        let scanned = Scanned::Rows(vec![rows[..12].to_vec(), rows[12..].to_vec(), vec![]]);
        let mut bound = Vec::new();
        for _ in 0..3 {
            let mut used = Vec::new();
            bound.push(tables.bind(&scanned, &contents, &mut used).await.unwrap());
            assert_eq!(used.len(), 24);
        }
        assert_eq!(bound[0], bound[1]);
        assert_eq!(*counts.0.lock().unwrap(), (24, 0));
        tables.sweep();
        contents.trim().await;
        assert_eq!(*counts.0.lock().unwrap(), (24, 0), "the table lives");
        drop((scanned, rows));
        tables.sweep();
        contents.trim().await;
        let (put, released) = *counts.0.lock().unwrap();
        assert_eq!(put, 24);
        assert!(released > 0 && contents.bytes() <= 16 << 20, "{released} released");
    }

    #[tokio::test]
    async fn small_rows_travel_in_the_bindings() {
        let counts = Arc::new(Counts::default());
        let (contents, tables) = (Contents::new(Arc::clone(&counts) as _), Tables::default());
        let scanned = Scanned::Rows(vec![vec![batch(3), batch(4)]]);
        let bound = tables.bind(&scanned, &contents, &mut Vec::new()).await.unwrap();
        let Bound::Rows(partitions) = bound else { panic!("rows") };
        assert!(matches!(partitions[0].as_slice(), [Piece::Inline(_)]));
        assert_eq!(*counts.0.lock().unwrap(), (0, 0));
    }
}
