//! Merges of many runs that one peer makes as they are read, over one connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, RecordBatch,
};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use gnist_common::graph::InputMode;
use gnist_common::ids::{BlockId, WorkerId};
use gnist_common::task::{AttemptEnd, OutputLocation};
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_operators::exchange::{BlockSelection, StageInputs, TaskInputs};
use gnist_operators::failure::attempt_end_of;
use gnist_operators::reader::{ReadMode, StageReaderExec};
use gnist_proto::connect::listen;

use super::tests::{Peer, Reader, on_io, stage};
use crate::data_plane::{Blocks, FrameError, Frames, serve};
use crate::memory::{AttemptPool, MemoryBudget};

/// Time after which a test counts as hung: far longer than any of them takes.
const HUNG_AFTER: Duration = Duration::from_secs(300);

const PAYLOAD_BYTES: i32 = 1024;

/// Runs whose frames are made when they are asked for.
#[derive(Clone)]
struct Made {
    runs: u32,
    frames: u32,
    rows: i64,
    payload: ArrayRef,
}

impl Made {
    fn new(runs: u32, frames: u32, rows: i64) -> Self {
        let values = (0..rows).map(|_| [b'x'; PAYLOAD_BYTES as usize]);
        let payload = Arc::new(FixedSizeBinaryArray::try_from_iter(values).unwrap());
        Self { runs, frames, rows, payload }
    }

    fn schema(&self) -> SchemaRef {
        let payload = Field::new("payload", self.payload.data_type().clone(), false);
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), payload]))
    }

    /// All keys of a run come before all of the next one.
    fn batch(&self, run: u32, frame: usize) -> RecordBatch {
        let frame = i64::from(run) * i64::from(self.frames) + i64::try_from(frame).unwrap();
        let first = frame * self.rows;
        let keys = Arc::new(Int64Array::from_iter_values(first..first + self.rows));
        RecordBatch::try_new(self.schema(), vec![keys, Arc::clone(&self.payload)]).unwrap()
    }

    fn outputs(&self, peer: WorkerId) -> Vec<OutputLocation> {
        let bytes = u64::from(self.frames) * self.rows.unsigned_abs() * PAYLOAD_BYTES as u64;
        let output = |run| {
            let attempt = stage().task(run).attempt(0);
            OutputLocation { attempt, worker: peer, bytes: vec![bytes] }
        };
        (0..self.runs).map(output).collect()
    }
}

struct MadeRun {
    made: Made,
    run: u32,
}

impl Blocks for Made {
    fn open(&self, block: BlockId) -> Option<Box<dyn Frames>> {
        Some(Box::new(MadeRun { made: self.clone(), run: block.attempt.task.partition }))
    }
}

impl Frames for MadeRun {
    fn frame(&mut self, number: usize, codec: BlockCodec) -> Result<Option<Bytes>, FrameError> {
        if number >= self.made.frames as usize {
            return Ok(None);
        }
        let batch = self.made.batch(self.run, number);
        let frame = encode_block(&self.made.schema(), &[batch], codec);
        frame.map(Some).map_err(FrameError::Encoding)
    }
}

/// A peer that serves these blocks.
async fn peer(blocks: impl Blocks, budget_bytes: u64) -> (WorkerId, String) {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let (id, address) = (WorkerId(2), listener.address.to_string());
    drop(serve(listener, id, Arc::new(blocks), MemoryBudget::new(budget_bytes)));
    (id, address)
}

/// Merges all runs by key, with a budget for everything; returns the number of rows, which come in
/// the order of their keys.
async fn merge(made: &Made, reader: &Reader) -> Result<i64> {
    let schema = made.schema();
    let key = PhysicalSortExpr::new_default(col("k", &schema)?);
    let ordering = LexOrdering::new([key]).unwrap();
    let equivalence =
        EquivalenceProperties::new_with_orderings(Arc::clone(&schema), [ordering.clone()]);
    let partitioning = Partitioning::UnknownPartitioning(made.runs as usize);
    let runs = StageReaderExec::new(0, ReadMode::Merge, equivalence, partitioning);
    let merge = SortPreservingMergeExec::new(ordering, Arc::new(runs));
    let pool = AttemptPool::new(reader.budget());
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let inputs = TaskInputs(Arc::new(reader.task(InputMode::All, 1)));
    let config = SessionConfig::new().with_batch_size(1024).with_extension(Arc::new(inputs));
    let context = TaskContext::default().with_session_config(config).with_runtime(runtime);
    let mut rows = merge.execute(0, Arc::new(context))?;
    let mut next = 0;
    while let Some(batch) = rows.next().await {
        for key in batch?.column(0).as_primitive::<Int64Type>().values() {
            assert_eq!(*key, next);
            next += 1;
        }
    }
    Ok(next)
}

fn merges(made: &Made, budget_bytes: u64) {
    let here = Peer::start(1, budget_bytes);
    on_io(async {
        let (id, address) = peer(made.clone(), budget_bytes).await;
        let reader = Reader::with_budget(&here, id, address, made.outputs(id), budget_bytes);
        let merged = tokio::time::timeout(HUNG_AFTER, merge(made, &reader)).await;
        let rows = merged.expect("it hangs").unwrap();
        assert_eq!(rows, i64::from(made.runs) * i64::from(made.frames) * made.rows);
        assert_eq!(reader.budget().used_bytes(), 0, "all credit is given back");
        let peak = reader.budget().peak_bytes();
        assert!(peak <= budget_bytes + budget_bytes / 8, "{peak}");
    });
}

#[test]
fn runs_of_100_mib_on_one_peer_are_merged_within_64_mib() {
    let made = Made::new(64, 800, 128);
    merges(&made, 64 << 20);
}

#[test]
fn more_runs_than_a_connection_has_streams_or_a_runtime_has_threads_are_merged() {
    let made = Made::new(600, 40, 16);
    merges(&made, 64 << 20);
}

/// One row with one value, larger than any window.
struct OneValue(usize);

impl OneValue {
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("value", DataType::Binary, false)]))
    }
}

impl Blocks for OneValue {
    fn open(&self, _: BlockId) -> Option<Box<dyn Frames>> {
        Some(Box::new(Self(self.0)))
    }
}

impl Frames for OneValue {
    fn frame(&mut self, number: usize, codec: BlockCodec) -> Result<Option<Bytes>, FrameError> {
        if number > 0 {
            return Ok(None);
        }
        let value = vec![7_u8; self.0];
        let column = Arc::new(BinaryArray::from_iter_values([value]));
        let batch = RecordBatch::try_new(Self::schema(), vec![column]).unwrap();
        encode_block(&Self::schema(), &[batch], codec).map(Some).map_err(FrameError::Encoding)
    }
}

async fn read_one_value(here: &Peer, value_bytes: usize, budget_bytes: u64) -> Result<usize> {
    let (id, address) = peer(OneValue(value_bytes), 1 << 30).await;
    let attempt = stage().task(0).attempt(0);
    let outputs = vec![OutputLocation { attempt, worker: id, bytes: vec![value_bytes as u64] }];
    let reader = Reader::with_budget(here, id, address, outputs, budget_bytes);
    let task = reader.task(InputMode::Partition, 1);
    let mut rows = task.read(0, BlockSelection::Partition(0), OneValue::schema())?;
    let batch = rows.next().await.expect("one batch")?;
    assert!(rows.next().await.is_none());
    Ok(batch.column(0).as_binary::<i32>().value(0).len())
}

#[test]
fn a_value_of_100_mib_comes_whole_or_is_refused_by_name() {
    let here = Peer::start(1, 64 << 20);
    on_io(async {
        let value_bytes = 100 << 20;
        assert_eq!(read_one_value(&here, value_bytes, 256 << 20).await.unwrap(), value_bytes);
        let error = read_one_value(&here, value_bytes, 64 << 20).await.unwrap_err();
        let AttemptEnd::OutOfMemory(failure) = attempt_end_of(&error) else {
            panic!("not refused: {error}")
        };
        assert!(failure.message.contains("100.0 MiB"), "{failure}");
    });
}
