//! Rows whose texts hold no more than their own bytes.
//!
//! A text column is a list of views into buffers. Rows that a join finds keep all buffers of its build
//! side, and a join that collects such rows has those of every batch: many thousands, which each of its
//! own batches takes along, one by one. Copying the texts of each batch into a buffer of its own
//! before they are collected ends that.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use prost::Message;

/// Buffers that a column of a batch may have.
const BUFFERS_MAX: usize = 4;

/// The rows of its input, text columns of many buffers copied into one buffer a batch. It is planned
/// last: no filter or limit is moved through it.
#[derive(Debug)]
pub struct CompactExec {
    input: Arc<dyn ExecutionPlan>,
}

impl CompactExec {
    /// The rows of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }

    /// The operator that it copies the rows of.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

/// Returns true if columns of this type are views into buffers.
pub fn has_views(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
}

fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    if !batch.columns().iter().any(has_many_buffers) {
        return Ok(batch);
    }
    let columns: Vec<ArrayRef> = batch.columns().iter().map(compact_column).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &rows)?)
}

fn has_many_buffers(column: &ArrayRef) -> bool {
    let buffers = match column.data_type() {
        DataType::Utf8View => column.as_string_view().data_buffers(),
        DataType::BinaryView => column.as_binary_view().data_buffers(),
        _ => return false,
    };
    buffers.len() > BUFFERS_MAX
}

fn compact_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        _ if !has_many_buffers(column) => Arc::clone(column),
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        _ => Arc::new(column.as_binary_view().gc()),
    }
}

/// A [`CompactExec`] on the wire; its input travels as its child.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CompactMessage {}

impl CompactExec {
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Self> {
        let [input] = inputs else { return internal_err!("compact rows have one input") };
        Ok(Self::new(Arc::clone(input)))
    }
}

impl DisplayAs for CompactExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompactExec")
    }
}

impl ExecutionPlan for CompactExec {
    fn name(&self) -> &'static str {
        "CompactExec"
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
        Ok(Arc::new(Self::decode(&children)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let rows = rows.map(|batch| compact(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
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
    use datafusion::arrow::array::{Int64Array, StringViewArray};
    use datafusion::arrow::compute::concat;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::collect;
    use futures::executor::block_on;

    use super::*;

    fn texts(of: std::ops::Range<i64>) -> ArrayRef {
        let text = |n| (n % 3 != 0).then(|| format!("a text that is no part of its view {n}"));
        Arc::new(of.map(text).collect::<StringViewArray>())
    }

    #[test]
    fn texts_in_many_buffers_are_copied_into_one_and_others_are_left() {
        let many: Vec<ArrayRef> = (0..20).map(|at| texts(at * 10..at * 10 + 10)).collect();
        let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
        let many = concat(&many).unwrap();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
        let few = texts(0..200);
        let columns = [("many", many), ("few", few), ("n", numbers)];
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(7, 100);
        let source = MemorySourceConfig::try_new_exec(
            &[vec![batch.clone(), batch.slice(0, 0)]],
            batch.schema(),
            None,
        );
        let plan = Arc::new(CompactExec::new(source.unwrap()));
        let rows = block_on(collect(plan, Arc::default())).unwrap();
        assert_eq!(rows[0], batch);
        let buffers =
            |batch: &RecordBatch, at: usize| batch.column(at).as_string_view().data_buffers().len();
        assert_eq!((buffers(&batch, 0), buffers(&rows[0], 0)), (20, 1));
        assert_eq!(buffers(&rows[0], 1), buffers(&batch, 1));
        assert!(Arc::ptr_eq(rows[0].column(2), batch.column(2)));
    }
}
