//! One attempt: a program becomes an instance, its rows become blocks or a result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, StreamExt};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::StageOutput;
use gnist_common::protocol::{INLINE_RESULT_BYTES_MAX, WorkerToManager};
use gnist_common::task::{AttemptEnd, Launch, TaskMetrics, TaskOutput};
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_operators::failure::{attempt_end_of, external};
use gnist_operators::measured::measures;
use gnist_operators::placement::{BatchLimit, Placement, Placer};
use gnist_operators::program::Instance;
use gnist_operators::source::TaskSources;

use crate::blocks::{OutputWriter, block_error};
use crate::executor::Executor;
use crate::inputs::{ReadCounts, TaskReader};
use crate::memory::{AttemptPool, Refusal};
use crate::outbox::Outbox;
use crate::panics;
use crate::programs::TaskRows;
use crate::results::{ResultClosed, ResultWriter};

/// Runs an attempt to its end, whatever that is. Dropped, it stops all that it started.
pub(crate) async fn run(executor: &Executor, outbox: &Outbox, launch: Launch) -> AttemptEnd {
    let attempt = launch.attempt;
    let pool = AttemptPool::new(&executor.budget);
    let release = || outbox.push(WorkerToManager::SlotsReleased { attempt });
    let done = execute(executor, launch, Arc::clone(&pool), release);
    let end = match AssertUnwindSafe(done).catch_unwind().await {
        Ok(Ok(output)) => return AttemptEnd::Done(output),
        Ok(Err(error)) => end_of(&error, pool.refusal()),
        Err(payload) => AttemptEnd::Panic(panics::failure_of_payload(&*payload)),
    };
    blame(end, |failure| failure.at_attempt(attempt).on_worker(executor.worker))
}

fn end_of(error: &DataFusionError, refusal: Option<Refusal>) -> AttemptEnd {
    if let DataFusionError::External(inner) = error.find_root()
        && inner.is::<ResultClosed>()
    {
        return AttemptEnd::Cancelled;
    }
    match (attempt_end_of(error), refusal) {
        (AttemptEnd::OutOfMemory(failure), Some(refusal)) => {
            let peak = Some(refusal.peak_bytes);
            AttemptEnd::OutOfMemory(failure.in_operator(refusal.operator, peak))
        }
        (AttemptEnd::Panic(failure), _) => {
            AttemptEnd::Panic(panics::failure_of_text(&failure.message))
        }
        (AttemptEnd::User(failure), _) if failure.kind == ErrorKind::Cluster => {
            AttemptEnd::Transient(failure)
        }
        (end, _) => end,
    }
}

fn blame(end: AttemptEnd, add: impl FnOnce(Failure) -> Failure) -> AttemptEnd {
    match end {
        AttemptEnd::FetchFailed { worker, failure } => {
            AttemptEnd::FetchFailed { worker, failure: add(failure) }
        }
        AttemptEnd::Transient(failure) => AttemptEnd::Transient(add(failure)),
        AttemptEnd::OutOfMemory(failure) => AttemptEnd::OutOfMemory(add(failure)),
        AttemptEnd::DiskFull(failure) => AttemptEnd::DiskFull(add(failure)),
        AttemptEnd::User(failure) => AttemptEnd::User(add(failure)),
        AttemptEnd::Panic(failure) => AttemptEnd::Panic(add(failure)),
        AttemptEnd::Done(_) | AttemptEnd::BlocksMissing { .. } | AttemptEnd::Cancelled => end,
    }
}

/// Returns the output of an attempt at an empty program: nothing, at no cost.
pub(crate) fn empty_output(output: StageOutput) -> TaskOutput {
    let nothing = vec![0; output.partitions() as usize];
    TaskOutput { bytes: nothing.clone(), rows: nothing, ..TaskOutput::default() }
}

async fn execute(
    executor: &Executor,
    launch: Launch,
    pool: Arc<AttemptPool>,
    release: impl FnOnce() + Send,
) -> Result<TaskOutput> {
    let started = Instant::now();
    let Launch { attempt, program, bindings, inputs, output, tasks, .. } = launch;
    let reference = program;
    let program = executor.programs.program(reference).await.map_err(external)?;
    let bindings = executor.programs.bindings(reference, bindings).await.map_err(external)?;
    let reader = Arc::new(TaskReader::new(Arc::clone(&executor.inputs), inputs, tasks));
    let waiting = Instant::now();
    reader.wait().await?;
    // Its run time tells how long a task takes, not how early it was launched.
    let started = started + waiting.elapsed();
    let counts = reader.counts();
    let task = attempt.task;
    let rows = executor.programs.rows(&program, &bindings, task.partition).await;
    let TaskRows { rows, held: _held } = rows.map_err(external)?;
    let sources = TaskSources { bound: &bindings.sources, rows };
    let application = executor.applications.get(task.stage.job.application).await?;
    let decoding = application.decoding(&bindings.settings)?;
    let instance = program.instantiate(task, &bindings, &sources, &decoding)?;
    drop(sources);
    let context = Executor::running(attempt, &decoding, Arc::clone(&pool), reader, &application);
    let Some(Instance { plan, placement }) = instance else { return Ok(empty_output(output)) };
    let rows = execute_stream(Arc::clone(&plan), context)?;
    let made = match open_result(executor, attempt, output, &rows) {
        Some(writer) => pass_on(rows, writer, release).await?,
        None => store(executor, attempt, output, &placement, rows).await?,
    };
    let metrics = Measured { plan: &plan, pool: &pool, counts: &counts, started };
    Ok(metrics.complete(made))
}

fn open_result(
    executor: &Executor,
    attempt: gnist_common::ids::AttemptId,
    output: StageOutput,
    rows: &SendableRecordBatchStream,
) -> Option<Box<dyn ResultWriter>> {
    let sink = executor.results.as_ref().filter(|_| output == StageOutput::Result)?;
    sink.open(attempt, rows.schema())
}

/// Hands result rows to the driver in this process. The first time that the driver is behind,
/// `release` gives the slots to others: whoever reads may be waiting for another job.
async fn pass_on(
    mut rows: SendableRecordBatchStream,
    mut writer: Box<dyn ResultWriter>,
    release: impl FnOnce() + Send,
) -> Result<TaskOutput> {
    let closed = |closed: ResultClosed| DataFusionError::External(Box::new(closed));
    let (mut bytes, mut count) = (0, 0);
    let mut release = Some(release);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size() as u64;
        count += batch.num_rows() as u64;
        let Some(batch) = writer.try_push(batch).map_err(closed)? else { continue };
        if let Some(release) = release.take() {
            release();
        }
        writer.push(batch).await.map_err(closed)?;
    }
    writer.finish().await.map_err(closed)?;
    Ok(TaskOutput { bytes: vec![bytes], rows: vec![count], ..TaskOutput::default() })
}

/// Places rows and stores them, or takes a small result along.
async fn store(
    executor: &Executor,
    attempt: gnist_common::ids::AttemptId,
    output: StageOutput,
    placement: &Placement,
    mut rows: SendableRecordBatchStream,
) -> Result<TaskOutput> {
    let schema = rows.schema();
    let partitions = placement.partitions();
    if partitions != output.partitions() as usize {
        return internal_err!("a program places rows into {partitions} partitions of {output:?}");
    }
    let limit = batch_limit(executor);
    let mut placer = Placer::new(placement, &schema, attempt.task.partition, limit)?;
    let mut writer = executor.store.writer(attempt, Arc::clone(&schema), partitions);
    while let Some(batch) = rows.next().await {
        placer.push(batch?, |partition, batch| writer.push(partition, batch))?;
        if !writer.reserve_unplaced(placer.buffered_bytes() as u64)? {
            placer.flush(|partition, batch| writer.push(partition, batch))?;
        }
    }
    drop(rows);
    placer.flush(|partition, batch| writer.push(partition, batch))?;
    if output.is_for_driver()
        && let Some(small) = small_result(&writer)?
    {
        return Ok(small);
    }
    let sealed = writer.seal()?;
    let metrics = TaskMetrics { spill_bytes: sealed.spill_bytes, ..TaskMetrics::default() };
    Ok(TaskOutput { bytes: sealed.bytes, rows: sealed.rows, metrics, ..TaskOutput::default() })
}

/// The batches of a stage's output: small enough that a merge of many runs fits the budget.
fn batch_limit(executor: &Executor) -> BatchLimit {
    const PART_OF_BUDGET: u64 = 512;
    const BYTES_MIN: u64 = 64 << 10;
    const BYTES_MAX: u64 = 1 << 20;
    let bytes = (executor.budget.limit_bytes() / PART_OF_BUDGET).clamp(BYTES_MIN, BYTES_MAX);
    BatchLimit { rows: executor.batch_rows, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

/// A result that is small enough to travel with the attempt's end.
fn small_result(writer: &OutputWriter) -> Result<Option<TaskOutput>> {
    // Encoded rows may be much smaller than the buffers that hold them.
    const WORTH_TRYING: u64 = 32 * INLINE_RESULT_BYTES_MAX as u64;
    let (bytes, rows) = writer.so_far();
    let Some(batches) = writer.in_memory().filter(|_| bytes[0] <= WORTH_TRYING) else {
        return Ok(None);
    };
    let batches: Vec<_> = batches.into_iter().cloned().collect();
    let block = encode_block(writer.schema(), &batches, BlockCodec::Plain).map_err(block_error)?;
    if block.len() > INLINE_RESULT_BYTES_MAX {
        return Ok(None);
    }
    Ok(Some(TaskOutput { bytes, rows, inline: Some(block.into()), ..TaskOutput::default() }))
}

/// The sources of an attempt's counts.
struct Measured<'a> {
    plan: &'a Arc<dyn ExecutionPlan>,
    pool: &'a AttemptPool,
    counts: &'a ReadCounts,
    started: Instant,
}

impl Measured<'_> {
    fn complete(self, made: TaskOutput) -> TaskOutput {
        let metrics = TaskMetrics {
            output_rows: made.rows.iter().sum(),
            output_bytes: made.bytes.iter().sum(),
            input_rows: self.counts.rows(),
            input_bytes: self.counts.bytes(),
            fetched_bytes: self.counts.fetched_bytes(),
            spill_bytes: made.metrics.spill_bytes + spilled_bytes(self.plan),
            peak_memory_bytes: self.pool.peak_bytes(),
            run_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        TaskOutput { metrics, operators: measures(self.plan), ..made }
    }
}

fn spilled_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0) as u64;
    own + plan.children().into_iter().map(spilled_bytes).sum::<u64>()
}
