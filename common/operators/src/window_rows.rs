//! Values of window functions, counted as they are made.
//!
//! A value of `array_agg` or `string_agg` is as large as its frame, and a window has one for each row: 60,000
//! rows in ten partitions are 360 million elements. DataFusion counts none of them. Here their aggregates count
//! each value as they make it ([`counted`]), in the account of the window that is running, and are refused
//! where memory ends. The operator above a window ([`WindowRowsExec`]) says which account that is, and closes it when
//! rows come out.
//!
//! The account goes to the aggregates by the thread: DataFusion gives them nothing but rows, and a window
//! computes on the thread that asks it for rows.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt as _, stream};

use crate::size::value_bytes;

thread_local! {
    /// The account of the window that runs on this thread.
    static ACCOUNT: RefCell<Option<Arc<MemoryReservation>>> = const { RefCell::new(None) };
}

/// Runs a window with this account. A window inside of it has its own.
fn with_account<T>(account: &Arc<MemoryReservation>, run: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<MemoryReservation>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACCOUNT.with_borrow_mut(|now| *now = self.0.take());
        }
    }
    let outer = ACCOUNT.with_borrow_mut(|now| now.replace(Arc::clone(account)));
    let _restore = Restore(outer);
    run()
}

/// Counts bytes that a window has made, if one is running.
fn made(bytes: usize) -> Result<()> {
    ACCOUNT.with_borrow(|account| match account {
        Some(account) => account.try_grow(bytes),
        None => Ok(()),
    })
}

/// Returns true if values of this type may be large.
pub(crate) fn is_counted(data_type: &DataType) -> bool {
    data_type.is_nested()
        || data_type.is_string()
        || data_type.is_binary()
        || matches!(data_type, DataType::Dictionary(_, values) if is_counted(values))
}

/// An accumulator of a window that counts its values, if they may be large. One that is asked once for the rows of
/// a whole frame (`is_growing`) has its value in each of them.
pub(crate) fn counted(
    inner: Box<dyn Accumulator>,
    data_type: &DataType,
    is_growing: bool,
) -> Box<dyn Accumulator> {
    if !is_counted(data_type) {
        return inner;
    }
    Box::new(Counted { inner, is_growing, rows: 0 })
}

/// An accumulator that counts its values.
#[derive(Debug)]
struct Counted {
    inner: Box<dyn Accumulator>,
    is_growing: bool,
    /// Rows since the last value.
    rows: usize,
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.rows += values.first().map_or(0, |values| values.len());
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        let rows = if self.is_growing { self.rows.max(1) } else { 1 };
        self.rows = 0;
        made(value_bytes(&value).saturating_mul(rows))?;
        Ok(value)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

/// The rows of a window, whose aggregates count what they make.
#[derive(Debug)]
pub struct WindowRowsExec {
    window: Arc<dyn ExecutionPlan>,
}

impl WindowRowsExec {
    /// The rows of `window`.
    pub fn new(window: Arc<dyn ExecutionPlan>) -> Self {
        Self { window }
    }

    /// Returns true for a window with values that may be large.
    pub fn is_needed_above(plan: &dyn ExecutionPlan) -> bool {
        let functions = if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
            window.window_expr()
        } else if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
            window.window_expr()
        } else {
            return false;
        };
        let mut fields = functions.iter().map(|function| function.field());
        fields.any(|field| field.is_ok_and(|field| is_counted(field.data_type())))
    }

    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Self> {
        let [window] = inputs else { return internal_err!("the rows of one window") };
        Ok(Self::new(Arc::clone(window)))
    }
}

impl DisplayAs for WindowRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowRowsExec")
    }
}

impl ExecutionPlan for WindowRowsExec {
    fn name(&self) -> &'static str {
        "WindowRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.window.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.window]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(window), true) => Ok(Arc::new(Self::new(window))),
            _ => internal_err!("the rows of one window"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let account = MemoryConsumer::new(format!("WindowAgg[{partition}]"));
        let account = Arc::new(account.register(context.memory_pool()));
        let mut rows = self.window.execute(partition, context)?;
        let counted = stream::poll_fn(move |task| {
            let polled = with_account(&account, || rows.poll_next_unpin(task));
            if polled.is_ready() {
                account.free();
            }
            polled
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::common::DataFusionError;
    use datafusion::datasource::MemTable;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::functions::unordered::windows_without_orders;

    /// The rows of a window over 4,000 numbers, with a pool of 16 MiB.
    async fn rows_of(window: &str) -> Result<usize> {
        let session = SessionContext::new();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4000));
        let batch = RecordBatch::try_from_iter([("k", numbers)])?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        session.register_table("t", Arc::new(table))?;
        let query = session.sql(&format!("select {window} from t")).await?;
        let query = session.state().optimize(query.logical_plan())?;
        let query = windows_without_orders(&query)?;
        let state = session.state();
        let plan = state.query_planner().create_physical_plan(&query, &state).await?;
        let plan = above_windows(plan)?;
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(16 << 20));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc()?;
        let context = TaskContext::default().with_runtime(runtime);
        let batches = collect(plan, Arc::new(context)).await?;
        assert_eq!(pool.reserved(), 0);
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    fn above_windows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
        let counted = plan.transform_up(|node| {
            Ok(match WindowRowsExec::is_needed_above(node.as_ref()) {
                true => Transformed::yes(Arc::new(WindowRowsExec::new(node)) as _),
                false => Transformed::no(node),
            })
        });
        counted.data()
    }

    #[tokio::test]
    async fn values_as_large_as_their_frames_are_refused_where_memory_ends() {
        for window in [
            "array_agg(k) over ()",
            "array_agg(k) over (order by k)",
            "array_agg(k) over (order by k rows between 1500 preceding and current row)",
            "string_agg(k::text, ',') over (partition by k % 2)",
        ] {
            let refused = rows_of(window).await.unwrap_err();
            let text = refused.to_string();
            let is_memory = matches!(refused.find_root(), DataFusionError::ResourcesExhausted(_));
            assert!(is_memory && text.contains("WindowAgg"), "{window}: {text}");
        }
        for window in [
            "array_agg(k) over (partition by k % 100)",
            "array_agg(k) over (order by k rows between 9 preceding and current row)",
            "string_agg(k::text, ',') over (partition by k % 100 order by k)",
            "max(k::text) over ()",
            "sum(k) over ()",
        ] {
            assert_eq!(rows_of(window).await.unwrap(), 4000, "{window}");
        }
    }
}
