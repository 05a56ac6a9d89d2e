//! Tables made by `CREATE TABLE AS`: rows of a job, kept in the driver's memory.
//!
//! They are counted against the memory of the driver while they come, and until the table is
//! dropped: a table that does not fit is refused before the process is out of memory. Their rows lie
//! in several partitions, so that whoever reads them does so with all slots.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::common::{Constraints, DFSchema, DataFusionError, Result};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};

use crate::error::SessionError;
use crate::result::ResultStream;

/// Rows of a partition, at least: less is not worth a task.
const PARTITION_ROWS_MIN: usize = 8192;

/// The memory that all tables of a session share.
#[derive(Debug)]
pub(crate) struct TableMemory {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl TableMemory {
    pub(crate) fn new(limit: ByteSize) -> Arc<Self> {
        Arc::new(Self { limit_bytes: limit.0, used_bytes: AtomicU64::new(0) })
    }

    /// Bytes of all tables, and of those that are being made.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// The share of one table in a [`TableMemory`], given back when it is dropped.
#[derive(Debug)]
struct Held {
    memory: Arc<TableMemory>,
    bytes: u64,
}

impl Held {
    fn grow(&mut self, bytes: u64, table: &str) -> Result<(), Failure> {
        self.bytes += bytes;
        let used = self.memory.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used <= self.memory.limit_bytes {
            return Ok(());
        }
        let (own, used, limit) =
            (ByteSize(self.bytes), ByteSize(used), ByteSize(self.memory.limit_bytes));
        let message = format!(
            "the table `{table}` does not fit into the driver's memory: {own} of it have come, and \
             with other tables that makes {used} of {limit}"
        );
        Err(Failure::new(ErrorKind::OutOfMemory, message)
            .with_help("raise `--memory`, drop other tables, or select fewer rows or columns"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Refuses a table of two columns with one name, of which no query could say which it means.
///
/// # Errors
/// `User`, with the name.
pub(crate) fn refuse_shared_names(table: &str, columns: &DFSchema) -> Result<(), Failure> {
    let mut names = HashSet::new();
    let shared = columns.fields().iter().find(|column| !names.insert(column.name()));
    shared.map_or(Ok(()), |column| {
        let message =
            format!("the table `{table}` would have two columns called `{}`", column.name());
        Err(Failure::new(ErrorKind::User, message)
            .with_help("name the columns, and give one of them an alias"))
    })
}

/// The table of a query's rows, in up to `partitions` partitions.
///
/// # Errors
/// The job's failure, or that the rows do not fit; the job is cancelled then.
pub(crate) async fn table_of(
    mut rows: ResultStream,
    name: &str,
    memory: &Arc<TableMemory>,
    partitions: usize,
) -> Result<Arc<dyn TableProvider>, SessionError> {
    // That of the rows: the logical plan's is from before types were coerced.
    let schema = rows.schema();
    let mut held = Held { memory: Arc::clone(memory), bytes: 0 };
    let mut counter = RecordBatchMemoryCounter::new();
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        held.grow(counter.count_batch(&batch) as u64, name)?;
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
        batches.push(batch.map_err(|error| DataFusionError::ArrowError(Box::new(error), None))?);
    }
    let rows = MemTable::try_new(schema, dealt_out(batches, partitions))?;
    Ok(Arc::new(CreatedTable { rows, _held: held }))
}

/// The batches in up to so many partitions of about as many rows, in their order.
fn dealt_out(batches: Vec<RecordBatch>, partitions: usize) -> Vec<Vec<RecordBatch>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let partitions = rows.div_ceil(PARTITION_ROWS_MIN).clamp(1, partitions.max(1));
    let share = rows.div_ceil(partitions);
    let mut dealt = vec![Vec::new()];
    let mut rows_before = 0;
    for batch in batches {
        if rows_before >= share * dealt.len() {
            dealt.push(Vec::new());
        }
        rows_before += batch.num_rows();
        dealt.last_mut().expect("there is one from the beginning").push(batch);
    }
    dealt
}

/// Rows in memory that are counted as long as they are there.
#[derive(Debug)]
struct CreatedTable {
    rows: MemTable,
    _held: Held,
}

#[async_trait]
impl TableProvider for CreatedTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.rows.constraints()
    }

    fn table_type(&self) -> TableType {
        self.rows.table_type()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows.scan(session, projection, filters, limit).await
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("k", column)]).expect("a column")
    }

    fn dealt(lengths: &[i64], partitions: usize) -> Vec<usize> {
        let dealt = dealt_out(lengths.iter().copied().map(batch).collect(), partitions);
        dealt.iter().map(|batches| batches.iter().map(RecordBatch::num_rows).sum()).collect()
    }

    #[test]
    fn rows_lie_in_as_many_partitions_as_are_worth_a_task() {
        assert_eq!(dealt(&[], 4), [0]);
        assert_eq!(dealt(&[10, 20], 4), [30]);
        assert_eq!(dealt(&[8192; 8], 4), [16_384; 4]);
        assert_eq!(dealt(&[8192; 3], 4), [8192; 3]);
        assert_eq!(dealt(&[100_000, 1, 1], 2), [100_000, 2]);
    }

    #[tokio::test]
    async fn a_table_that_does_not_fit_is_refused_and_one_that_is_dropped_gives_its_memory_back() {
        let memory = TableMemory::new(ByteSize(20_000));
        let one = ResultStream::ready(batch(1).schema(), vec![batch(1000)]);
        let table = table_of(one, "t", &memory, 2).await.expect("8 KB of 20");
        let used = memory.used_bytes();
        assert!((8000..10_000).contains(&used), "{used}");
        let many = ResultStream::ready(batch(1).schema(), vec![batch(1000), batch(1000)]);
        let refused = table_of(many, "u", &memory, 2).await.expect_err("24 KB of 20").failure();
        assert_eq!(refused.kind, ErrorKind::OutOfMemory);
        assert!(refused.message.contains("`u`"), "{refused}");
        assert_eq!(memory.used_bytes(), used);
        drop(table);
        assert_eq!(memory.used_bytes(), 0);
    }
}
