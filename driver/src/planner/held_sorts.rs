//! Sorts with a limit, held while DataFusion moves sorts ([`super::held_limits`]).

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};

/// The first rows of an order: one partition of any number. It requires no order of its input, so that none is
/// looked for below, and never executes.
#[derive(Debug)]
pub(super) struct HeldSort {
    input: Arc<dyn ExecutionPlan>,
    /// The sort over that input.
    sort: Arc<SortExec>,
}

impl HeldSort {
    pub(super) fn new(sort: &SortExec) -> Self {
        Self { input: Arc::clone(sort.input()), sort: Arc::new(sort.clone()) }
    }

    /// The sort: of each partition by itself, below a merge, if there are several.
    pub(super) fn sort(&self) -> Arc<dyn ExecutionPlan> {
        if self.input.output_partitioning().partition_count() == 1 {
            return Arc::clone(&self.sort) as _;
        }
        let (order, fetch) = (self.sort.expr(), self.sort.fetch());
        let sort = SortExec::new(order.clone(), Arc::clone(&self.input)).with_fetch(fetch);
        let sorted = Arc::new(sort.with_preserve_partitioning(true));
        Arc::new(SortPreservingMergeExec::new(order.clone(), sorted).with_fetch(fetch))
    }
}

impl DisplayAs for HeldSort {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "HeldSort: [{}], fetch={:?}", self.sort.expr(), self.sort.fetch())
    }
}

impl ExecutionPlan for HeldSort {
    fn name(&self) -> &'static str {
        "HeldSort"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.sort.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.sort.apply_expressions(visit)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return internal_err!("a sort has an input") };
        let sort = SortExec::new(self.sort.expr().clone(), Arc::clone(&input));
        let sort = Arc::new(sort.with_fetch(self.sort.fetch()));
        Ok(Arc::new(Self { input, sort }))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a held sort never executes")
    }
}
