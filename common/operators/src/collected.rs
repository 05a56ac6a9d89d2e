//! Rows as an operator that collects them needs them.
//!
//! A text column is a list of views into buffers, and a batch has all buffers that one of its views is in.
//! Batches of a scan, a join or a sort have many buffers in common. That costs those who collect rows:
//!
//! - a sort counts for each batch all that its buffers hold: a sort above another one seemed to need 156 GiB
//!   for 6 million rows;
//! - a join and a window put all buffers of all their batches into a list, many times the same ones, which each of
//!   their own batches takes along.
//!
//! Sorts and windows get each batch with texts of its own. A join, which can't spill, gets short ones only:
//! a long text of rows that the join below found often is there once, and copies of it would be as many.
//!
//! A window over whole partitions keeps all rows of its task and counts none of them. They are counted here.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_datafusion_err, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use prost::{Enumeration, Message};

use crate::size::{compacted, pieces, rows_bytes};

/// Buffers that a column of short texts may have.
const BUFFERS_MAX: usize = 4;

/// Bytes of a short text, on average.
const SHORT_BYTES_MAX: usize = 64;

/// Copies that a window has of its rows: the batches as they came, and all of them in one.
const COPIES_OF_WINDOW: usize = 2;

/// Bytes of a batch whose texts are copied at once, if it has more than one row.
const COPY_BYTES_MAX: usize = 4 << 20;

/// The operator that collects rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Collector {
    /// A join, which gets copies of short texts in many buffers.
    Join = 0,
    /// A sort, or a window that lets go of rows: all texts whose buffers hold much more are copied. Batches are
    /// cut, so that a copy stays small.
    Sort = 1,
    /// A window that keeps all rows: like a sort, and what it keeps is counted.
    Window = 2,
}

/// The rows of its input for the operator above, which collects them. It is planned last: no filter or limit is
/// moved through it.
#[derive(Debug)]
pub struct CollectedExec {
    input: Arc<dyn ExecutionPlan>,
    by: Collector,
}

impl CollectedExec {
    /// The rows of `input`, which an operator collects.
    pub fn new(input: Arc<dyn ExecutionPlan>, by: Collector) -> Self {
        Self { input, by }
    }
}

/// Returns true if columns of this type are views into buffers, or have such columns inside.
pub fn has_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_views(item.data_type())
        }
        DataType::Map(entries, _) => has_views(entries.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_views(field.data_type())),
        _ => false,
    }
}

/// The rows with short texts copied.
fn with_short_texts(batch: RecordBatch) -> Result<RecordBatch> {
    let copies: Vec<Option<ArrayRef>> = batch.columns().iter().map(short_texts).collect();
    if copies.iter().all(Option::is_none) {
        return Ok(batch);
    }
    let columns = copies.into_iter().zip(batch.columns());
    let columns = columns.map(|(copy, column)| copy.unwrap_or_else(|| Arc::clone(column)));
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &rows)?)
}

/// A copy of short texts in many buffers.
fn short_texts(column: &ArrayRef) -> Option<ArrayRef> {
    let is_worth_it = |buffers: usize, bytes: &dyn Fn() -> usize| {
        buffers > BUFFERS_MAX && bytes() <= SHORT_BYTES_MAX * column.len()
    };
    match column.data_type() {
        DataType::Utf8View => {
            let texts = column.as_string_view();
            is_worth_it(texts.data_buffers().len(), &|| texts.total_buffer_bytes_used())
                .then(|| Arc::new(texts.gc()) as _)
        }
        DataType::BinaryView => {
            let texts = column.as_binary_view();
            is_worth_it(texts.data_buffers().len(), &|| texts.total_buffer_bytes_used())
                .then(|| Arc::new(texts.gc()) as _)
        }
        _ => None,
    }
}

/// A [`CollectedExec`] on the wire; its input travels as its child.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CollectedMessage {
    #[prost(enumeration = "Collector", tag = "1")]
    by: i32,
}

impl CollectedExec {
    pub(crate) fn encode(&self) -> CollectedMessage {
        CollectedMessage { by: self.by as i32 }
    }

    pub(crate) fn decode(
        message: &CollectedMessage,
        inputs: &[Arc<dyn ExecutionPlan>],
    ) -> Result<Self> {
        let [input] = inputs else { return internal_err!("collected rows have one input") };
        let Ok(by) = Collector::try_from(message.by) else {
            return internal_err!("there is no collector {}", message.by);
        };
        Ok(Self::new(Arc::clone(input), by))
    }
}

impl CollectedExec {
    /// The account of the rows that a window keeps.
    fn counted(&self, partition: usize, context: &TaskContext) -> Option<MemoryReservation> {
        (self.by == Collector::Window).then(|| {
            MemoryConsumer::new(format!("WindowAgg[{partition}]")).register(context.memory_pool())
        })
    }
}

impl DisplayAs for CollectedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectedExec: by={:?}", self.by)
    }
}

impl ExecutionPlan for CollectedExec {
    fn name(&self) -> &'static str {
        "CollectedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|children| internal_datafusion_err!("{} inputs, not one", children.len()))?;
        Ok(Arc::new(Self::new(input, self.by)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let counted = self.counted(partition, &context);
        let rows = self.input.execute(partition, context)?;
        let schema = self.schema();
        if self.by == Collector::Join {
            let rows = rows.map(|batch| with_short_texts(batch?));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
        }
        let rows = rows.map_ok(|batch| {
            let copies = pieces(batch, COPY_BYTES_MAX).into_iter().map(compacted);
            stream::iter(copies.map(|copy| Ok(copy?)))
        });
        // The bytes are counted until the window lets go of this stream, which it does with its rows.
        let rows = rows.try_flatten().map(move |batch| match (&counted, batch) {
            (Some(counted), Ok(batch)) => {
                counted.try_grow(COPIES_OF_WINDOW * rows_bytes(&batch)).map(|()| batch)
            }
            (_, batch) => batch,
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&inputs[0]))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use datafusion::arrow::array::{BinaryViewArray, Int64Array, ListArray, StringViewArray};
    use datafusion::arrow::buffer::OffsetBuffer;
    use datafusion::arrow::compute::{concat, take};
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::DataFusionError;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::collect;
    use futures::executor::block_on;

    use super::*;

    fn texts(of: Range<i64>, padding: usize) -> ArrayRef {
        let text =
            |n| (n % 3 != 0).then(|| format!("a text that is no part of its view {n:padding$}"));
        Arc::new(of.map(text).collect::<StringViewArray>())
    }

    /// Texts in 20 buffers.
    fn in_many_buffers(padding: usize) -> ArrayRef {
        let many: Vec<ArrayRef> = (0..20).map(|at| texts(at * 10..at * 10 + 10, padding)).collect();
        let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
        concat(&many).unwrap()
    }

    fn copied(batches: Vec<RecordBatch>, by: Collector) -> Vec<RecordBatch> {
        let schema = batches[0].schema();
        let source = MemorySourceConfig::try_new_exec(&[batches], schema, None);
        let plan = Arc::new(CollectedExec::new(source.unwrap(), by));
        block_on(collect(plan, Arc::default())).unwrap()
    }

    fn buffers(batch: &RecordBatch, column: usize) -> usize {
        batch.column(column).as_string_view().data_buffers().len()
    }

    #[test]
    fn short_texts_in_many_buffers_are_copied_into_one_and_others_are_left() {
        let bytes = in_many_buffers(0);
        let bytes = bytes.as_string_view().iter().map(|text| text.map(str::as_bytes));
        let bytes = bytes.collect::<BinaryViewArray>();
        let parts: Vec<ArrayRef> =
            (0..20).map(|at| Arc::new(bytes.slice(at * 10, 10).gc()) as _).collect();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let columns = [
            ("many", in_many_buffers(0)),
            ("few", texts(0..200, 0)),
            ("long", in_many_buffers(200)),
            ("bytes", concat(&parts).unwrap()),
            ("n", Arc::new(Int64Array::from_iter_values(0..200))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(7, 100);
        let rows = copied(vec![batch.clone(), batch.slice(0, 0)], Collector::Join);
        assert_eq!(rows[0], batch);
        assert_eq!((buffers(&batch, 0), buffers(&rows[0], 0)), (20, 1));
        let of_bytes = |batch: &RecordBatch| batch.column(3).as_binary_view().data_buffers().len();
        assert_eq!((of_bytes(&batch), of_bytes(&rows[0])), (20, 1));
        for left in [1, 2, 4] {
            assert!(Arc::ptr_eq(rows[0].column(left), batch.column(left)), "column {left}");
        }
    }

    #[test]
    fn all_texts_hold_what_they_need_nested_ones_too() {
        let many = in_many_buffers(200);
        let field = Arc::new(Field::new("item", many.data_type().clone(), true));
        let lists =
            ListArray::new(field, OffsetBuffer::from_lengths([1; 200]), Arc::clone(&many), None);
        let columns = [("many", many), ("lists", Arc::new(lists) as _)];
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(7, 20);
        let rows = copied(vec![batch.clone()], Collector::Sort);
        assert_eq!(rows, [batch]);
        for column in rows[0].columns() {
            assert!(
                column.get_buffer_memory_size() < 14_000,
                "{}",
                column.get_buffer_memory_size()
            );
        }
    }

    #[test]
    fn a_text_that_many_rows_share_is_never_copied_for_all_of_them_at_once() {
        let long = Arc::new(StringViewArray::from_iter_values(["x".repeat(1 << 20)])) as ArrayRef;
        let rows = take(&long, &Int64Array::from(vec![0; 20]), None).unwrap();
        let batch = RecordBatch::try_from_iter([("s", rows)]).unwrap();
        assert_eq!(copied(vec![batch.clone()], Collector::Join), std::slice::from_ref(&batch));
        let rows = copied(vec![batch.clone()], Collector::Sort);
        assert!(rows.iter().all(|rows| rows.get_array_memory_size() < 5 << 20));
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 20);
    }

    #[test]
    fn what_a_window_keeps_is_counted_until_it_lets_go() {
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let batch = RecordBatch::try_from_iter([("n", n)]).unwrap();
        let source =
            MemorySourceConfig::try_new_exec(&[vec![batch.clone(); 3]], batch.schema(), None);
        let plan = CollectedExec::new(source.unwrap(), Collector::Window);
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(40_000));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc();
        let context = Arc::new(TaskContext::default().with_runtime(runtime.unwrap()));
        let mut rows = plan.execute(0, context).unwrap();
        for kept in [16_000, 32_000] {
            block_on(rows.next()).unwrap().unwrap();
            assert_eq!(pool.reserved(), kept);
        }
        let error = block_on(rows.next()).unwrap().unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
        drop(rows);
        assert_eq!(pool.reserved(), 0);
    }
}
