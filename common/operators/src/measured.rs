//! Plans that measure their operators: rows, time and memory of each, for `EXPLAIN ANALYZE`.
//!
//! Every operator is wrapped as it is decoded. A wrapper knows the position of its operator in the
//! whole plan, counted in pre-order, so measures of tasks that run different branches of a union can
//! be added up.
//!
//! ```text
//! Aggregate            Measured(0, Aggregate)
//!   Filter       ──▶     Measured(1, Filter)
//!     Source               Measured(2, Source)
//! ```
//!
//! - Rows are those that the operator puts out.
//! - Time is what its `poll_next` takes, less what the `poll_next` of operators below takes within.
//! - Memory is what it reserves at most: each operator gets a view of the attempt's pool.
//! - Spilled bytes are DataFusion's own count.
//!
//! DataFusion's metrics alone were rejected: most operators count no memory, and some neither rows
//! nor time.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::Stream;
use gnist_common::task::OperatorMetrics;

use crate::measured_pool::OperatorPool;

/// The same plan, measuring every operator. A recursive query counts as one: it resets and shares
/// what is below it.
///
/// # Errors
/// When an operator refuses its wrapped children.
pub fn measured(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    wrap(plan, &Measuring::default())
}

fn wrap(plan: Arc<dyn ExecutionPlan>, measuring: &Measuring) -> Result<Arc<dyn ExecutionPlan>> {
    let position = measuring.next();
    let inner = if plan.is::<RecursiveQueryExec>() {
        measuring.skip(operators_of(&plan) - 1);
        plan
    } else {
        let children = plan.children().into_iter().cloned();
        let wrapped = children.map(|child| wrap(child, measuring)).collect::<Result<Vec<_>>>()?;
        // A wrapper has the very properties of its operator: nothing is computed anew, and filters
        // that are shared across the plan stay shared.
        replace_children_if_necessary(plan, wrapped)?
    };
    Ok(measuring.wrap(inner, position))
}

/// Operators of a plan.
pub(crate) fn operators_of(plan: &Arc<dyn ExecutionPlan>) -> u32 {
    1 + plan.children().into_iter().map(operators_of).sum::<u32>()
}

/// The positions of a plan's operators, handed out in pre-order.
#[derive(Debug, Default)]
pub(crate) struct Measuring {
    next: Cell<u32>,
    /// The attempt's pool, as the first operator of the plan sees it.
    base: Arc<OnceLock<Arc<dyn MemoryPool>>>,
}

impl Measuring {
    /// The position of the next operator.
    pub(crate) fn next(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }

    /// Passes operators over.
    pub(crate) fn skip(&self, operators: u32) {
        self.next.set(self.next.get() + operators);
    }

    /// The operator at a position, measured.
    pub(crate) fn wrap(
        &self,
        inner: Arc<dyn ExecutionPlan>,
        position: u32,
    ) -> Arc<dyn ExecutionPlan> {
        let (counts, base) = (Arc::default(), Arc::clone(&self.base));
        Arc::new(MeasuredExec { inner, position, counts, base })
    }
}

/// The measures of a plan that ran, by position; none of one that was not [`measured`].
pub fn measures(plan: &Arc<dyn ExecutionPlan>) -> Vec<OperatorMetrics> {
    let mut found = Vec::new();
    collect(plan, &mut found);
    found.sort_by_key(|metrics: &OperatorMetrics| metrics.position);
    found
}

fn collect(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<OperatorMetrics>) {
    if let Some(measured) = plan.downcast_ref::<MeasuredExec>() {
        found.push(measured.metrics_so_far());
    }
    plan.children().into_iter().for_each(|child| collect(child, found));
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    rows: AtomicU64,
    nanos: AtomicU64,
    reserved: AtomicU64,
    peak: AtomicU64,
}

impl Counts {
    pub(crate) fn grow(&self, bytes: u64) {
        let reserved = self.reserved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(reserved, Ordering::Relaxed);
    }

    pub(crate) fn shrink(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// An operator and what it did.
#[derive(Debug)]
struct MeasuredExec {
    inner: Arc<dyn ExecutionPlan>,
    position: u32,
    counts: Arc<Counts>,
    base: Arc<OnceLock<Arc<dyn MemoryPool>>>,
}

impl MeasuredExec {
    fn metrics_so_far(&self) -> OperatorMetrics {
        let spilled = self.inner.metrics().and_then(|metrics| metrics.spilled_bytes());
        OperatorMetrics {
            position: self.position,
            output_rows: self.counts.rows.load(Ordering::Relaxed),
            compute_us: self.counts.nanos.load(Ordering::Relaxed) / 1_000,
            peak_memory_bytes: self.counts.peak.load(Ordering::Relaxed),
            spill_bytes: spilled.unwrap_or(0) as u64,
        }
    }

    /// The context with a pool that counts for this operator alone.
    fn context(&self, context: &TaskContext) -> Arc<TaskContext> {
        let base = self.base.get_or_init(|| Arc::clone(context.memory_pool()));
        let pool = OperatorPool::new(Arc::clone(base), Arc::clone(&self.counts));
        let runtime = context.runtime_env();
        let runtime = RuntimeEnv { memory_pool: Arc::new(pool), ..runtime.as_ref().clone() };
        Arc::new(TaskContext::new(
            context.task_id(),
            context.session_id(),
            context.session_config().clone(),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            Arc::new(runtime),
        ))
    }
}

impl DisplayAs for MeasuredExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl ExecutionPlan for MeasuredExec {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(inner), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("one operator is measured");
        };
        let (counts, base) = (Arc::clone(&self.counts), Arc::clone(&self.base));
        Ok(Arc::new(Self { inner, position: self.position, counts, base }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.inner.execute(partition, self.context(&context))?;
        Ok(Box::pin(MeasuredRows { rows, counts: Arc::clone(&self.counts) }))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

thread_local! {
    /// Time that measured operators took on this thread within the innermost one that is polled.
    static WITHIN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The rows of a partition.
struct MeasuredRows {
    rows: SendableRecordBatchStream,
    counts: Arc<Counts>,
}

impl Stream for MeasuredRows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let outside = WITHIN.replace(Duration::ZERO);
        let started = Instant::now();
        let polled = self.rows.as_mut().poll_next(context);
        let took = started.elapsed();
        let within = WITHIN.replace(outside + took);
        let own = u64::try_from(took.saturating_sub(within).as_nanos()).unwrap_or(u64::MAX);
        self.counts.nanos.fetch_add(own, Ordering::Relaxed);
        if let Poll::Ready(Some(Ok(batch))) = &polled {
            self.counts.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl RecordBatchStream for MeasuredRows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::{collect as run, displayable};
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn plan(sql: &str) -> (SessionContext, Arc<dyn ExecutionPlan>) {
        let context = SessionContext::new();
        let frame = context.sql(sql).await.expect("planned");
        let plan = frame.create_physical_plan().await.expect("planned");
        (context, plan)
    }

    #[tokio::test]
    async fn every_operator_counts_its_rows_and_the_plan_reads_as_before() {
        let sql = "select v % 10 as g, count(*) as n from (select value as v from \
                   generate_series(1, 1000) where value > 500) group by 1 order by 1";
        let (context, plan) = plan(sql).await;
        let before = displayable(plan.as_ref()).indent(false).to_string();
        let wrapped = measured(Arc::clone(&plan)).expect("wrapped");
        let batches = run(Arc::clone(&wrapped), context.task_ctx()).await.expect("ran");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
        let found = measures(&wrapped);
        assert_eq!(found.len(), before.lines().count());
        assert!(found.iter().enumerate().all(|(at, one)| one.position as usize == at));
        assert_eq!(found[0].output_rows, 10);
        let scan = found.last().expect("a leaf");
        assert_eq!(scan.output_rows, 1_000);
        assert!(found.iter().any(|one| one.output_rows == 500), "{found:?}");
    }

    #[tokio::test]
    async fn memory_is_that_of_the_operator_which_reserved_it() {
        let (context, plan) =
            plan("select * from generate_series(1, 50000) order by value desc").await;
        let wrapped = measured(plan).expect("wrapped");
        run(Arc::clone(&wrapped), context.task_ctx()).await.expect("ran");
        let text = displayable(wrapped.as_ref()).indent(false).to_string();
        let found = measures(&wrapped);
        let sorts = text.lines().step_by(2).position(|line| line.trim().starts_with("SortExec"));
        let sort = sorts.expect("a sort");
        for one in &found {
            assert_eq!(
                one.peak_memory_bytes > 300_000,
                one.position as usize == sort,
                "{text}{found:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_plan_that_is_not_measured_has_no_measures() {
        let (_, plan) = plan("select 1").await;
        assert!(measures(&plan).is_empty());
    }
}
