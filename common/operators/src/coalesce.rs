//! Rows that wait until their output partition has a full batch: bounded in rows and in bytes, per
//! partition and in all.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result;

use crate::size::{fixed_bytes, pieces, rows_bytes};

/// Output partitions that may buffer a whole batch each; more share the same room.
const WHOLE_BATCHES_MAX: usize = 16;
const BATCH_ROWS_MIN: usize = 512;
/// Bytes of such a batch, at most: it has fewer rows if they are wide.
const BATCH_MIN_BYTES_MAX: usize = 64 << 10;

/// The size of a batch that is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes that the rows need; a single row may need more.
    pub bytes: usize,
}

impl BatchLimit {
    /// The rows that a partition buffers before they are a batch, of so many partitions.
    fn buffered_rows(self, schema: &Schema, partitions: usize) -> usize {
        let row_bytes: usize =
            schema.fields().iter().map(|field| fixed_bytes(field.data_type())).sum();
        let rows = self.rows.min((self.bytes / row_bytes.max(1)).max(1));
        if partitions <= WHOLE_BATCHES_MAX {
            return rows;
        }
        let least = BATCH_ROWS_MIN.min(BATCH_MIN_BYTES_MAX / row_bytes.max(1)).clamp(1, rows);
        (rows * WHOLE_BATCHES_MAX / partitions).max(least)
    }
}

/// The buffers of all output partitions of one task.
pub(crate) struct Coalescers {
    partitions: Vec<Partition>,
    schema: SchemaRef,
    limit: BatchLimit,
    /// Rows of a full batch.
    rows: usize,
    bytes: usize,
}

struct Partition {
    coalescer: BatchCoalescer,
    bytes: usize,
}

fn coalescer(schema: &SchemaRef, rows: usize) -> BatchCoalescer {
    BatchCoalescer::new(Arc::clone(schema), rows).with_biggest_coalesce_batch_size(Some(rows / 2))
}

impl Coalescers {
    pub(crate) fn new(schema: &SchemaRef, partitions: usize, limit: BatchLimit) -> Self {
        let rows = limit.buffered_rows(schema, partitions);
        let partition = || Partition { coalescer: coalescer(schema, rows), bytes: 0 };
        let partitions = (0..partitions).map(|_| partition()).collect();
        Self { partitions, schema: Arc::clone(schema), limit, rows, bytes: 0 }
    }

    pub(crate) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Bytes of the rows that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes rows of a partition and hands out its full batches.
    pub(crate) fn push(
        &mut self,
        number: usize,
        rows: RecordBatch,
        emit: &mut impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let bytes = rows_bytes(&rows);
        if bytes > self.limit.bytes {
            for piece in pieces(rows, self.limit.bytes) {
                let bytes = rows_bytes(&piece);
                self.push_piece(number, piece, bytes, emit)?;
            }
        } else {
            self.push_piece(number, rows, bytes, emit)?;
        }
        if self.bytes > WHOLE_BATCHES_MAX * self.limit.bytes {
            self.flush_largest(emit)?;
        }
        Ok(())
    }

    fn push_piece(
        &mut self,
        number: usize,
        rows: RecordBatch,
        bytes: usize,
        emit: &mut impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        if self.partitions[number].bytes + bytes > self.limit.bytes {
            self.flush(number, emit)?;
        }
        let count = rows.num_rows();
        let partition = &mut self.partitions[number];
        partition.coalescer.push_batch(rows)?;
        partition.bytes += bytes;
        self.bytes += bytes;
        if partition.coalescer.has_completed_batch() {
            // Those of the piece that are left; all rows of a piece count the same.
            let left = partition.coalescer.get_buffered_rows() * bytes / count.max(1);
            self.bytes = self.bytes - partition.bytes + left;
            partition.bytes = left;
        }
        drain(&mut partition.coalescer, number, emit)
    }

    /// Hands out the rows of a partition that wait.
    fn flush(
        &mut self,
        number: usize,
        emit: &mut impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let partition = &mut self.partitions[number];
        self.bytes -= std::mem::take(&mut partition.bytes);
        partition.coalescer.finish_buffered_batch()?;
        drain(&mut partition.coalescer, number, emit)?;
        if self.partitions.len() > WHOLE_BATCHES_MAX {
            // A coalescer's next buffer for texts is twice as large as its last one, up to a MiB: too much for so many.
            self.partitions[number].coalescer = coalescer(&self.schema, self.rows);
        }
        Ok(())
    }

    /// Hands out the rows of those partitions that have most, until half as many wait.
    fn flush_largest(
        &mut self,
        emit: &mut impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let goal = self.bytes / 2;
        let mut largest: Vec<usize> = (0..self.partitions.len()).collect();
        largest.sort_by_key(|number| std::cmp::Reverse(self.partitions[*number].bytes));
        for number in largest {
            if self.bytes <= goal {
                break;
            }
            self.flush(number, emit)?;
        }
        Ok(())
    }

    /// Hands out all rows that wait.
    pub(crate) fn flush_all(
        &mut self,
        emit: &mut impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        (0..self.partitions.len()).try_for_each(|number| self.flush(number, emit))
    }
}

fn drain(
    coalescer: &mut BatchCoalescer,
    partition: usize,
    emit: &mut impl FnMut(u32, RecordBatch) -> Result<()>,
) -> Result<()> {
    while let Some(full) = coalescer.next_completed_batch() {
        emit(u32::try_from(partition).expect("partition counts are u32"), full)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    const ROW_BYTES: usize = 10_000;
    const LIMIT: BatchLimit = BatchLimit { rows: 8192, bytes: 100_000 };

    fn wide(rows: usize) -> RecordBatch {
        let values = StringArray::from_iter_values((0..rows).map(|_| "x".repeat(ROW_BYTES)));
        RecordBatch::try_from_iter([("s", Arc::new(values) as _)]).expect("one column")
    }

    #[test]
    fn wide_rows_wait_in_bytes_not_in_rows() {
        let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, false)]));
        for partitions in [1, 16, 300] {
            let mut coalescers = Coalescers::new(&schema, partitions, LIMIT);
            let (mut rows, mut longest) = (0, 0);
            let mut emit = |_, batch: RecordBatch| {
                rows += batch.num_rows();
                longest = longest.max(rows_bytes(&batch));
                Ok(())
            };
            for n in 0..2_000 {
                coalescers.push(n * 7 % partitions, wide(1 + n % 25), &mut emit).expect("pushed");
                assert!(coalescers.bytes() <= 17 * LIMIT.bytes, "{}", coalescers.bytes());
            }
            coalescers.flush_all(&mut emit).expect("flushed");
            assert_eq!(coalescers.bytes(), 0);
            assert_eq!(rows, (0..2_000).map(|n| 1 + n % 25).sum::<usize>());
            assert!(longest <= LIMIT.bytes, "{longest}");
        }
    }

    #[test]
    fn a_batch_of_many_columns_has_fewer_rows() {
        let fields = (0..100).map(|n| Field::new(format!("c{n}"), DataType::Int64, false));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        assert_eq!(LIMIT.buffered_rows(&schema, 4), 125);
        let narrow = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        assert_eq!(LIMIT.buffered_rows(&narrow, 4), 8192);
        assert_eq!(LIMIT.buffered_rows(&narrow, 1000), 512);
        let limit = BatchLimit { rows: 8192, bytes: 1 << 20 };
        assert_eq!(limit.buffered_rows(&schema, 1000), 81);
        assert_eq!(limit.buffered_rows(&Schema::empty(), 1000), 512);
    }
}
