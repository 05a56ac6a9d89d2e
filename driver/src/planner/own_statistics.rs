//! Aggregates that are answered from their own statistics alone.
//!
//! DataFusion answers `count(*)` from the number of rows of a table. Looking for the part of an aggregate
//! that reads the rows, its rule passes one with a `FILTER`, which statistics can't answer, and takes
//! an aggregate further inside for it:
//!
//! ```text
//! select sum(n) filter (where n > 5) from (select count(*) as n from t)      is count(*) of t
//! ```
//!
//! `count(distinct c)` is answered by that rule from the statistics of the column `c`, which say that a constant has
//! one distinct value. They say so of `null`, which doesn't count, and of a table without rows, too:
//!
//! ```text
//! select count(distinct a), count(distinct b) from (select null as a, 3 as b from t)     is 1, 1
//! ```
//!
//! While the rule runs, the input of each aggregate with a filter or a `DISTINCT` is the first of two inputs
//! of a [`Fence`], which the rule doesn't pass in that search, and whose statistics are unknown. It never
//! executes.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

use super::around::Around;

/// Fences aggregates off around DataFusion's rule that answers from statistics, in a session's rules.
pub(crate) fn with_own_statistics(builder: SessionStateBuilder) -> SessionStateBuilder {
    let around = Around {
        rules: &["aggregate_statistics"],
        is_changed: is_misread,
        change: fenced,
        restore: |node| Some(Arc::clone(&node.downcast_ref::<Fence>()?.input)),
    };
    around.install(builder)
}

fn fenced(aggregate: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs = aggregate.children().into_iter().map(|input| Fence::around(Arc::clone(input)));
    let inputs = inputs.collect();
    replace_children_if_necessary(aggregate, inputs)
}

/// Returns true for an aggregate that the rule would answer wrongly: one with a `FILTER` or a `DISTINCT`.
fn is_misread(node: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return false };
    aggregate.filter_expr().iter().any(Option::is_some)
        || aggregate.aggr_expr().iter().any(|function| function.is_distinct())
}

/// An operator that hands on its first input, and tells no statistics of it. Its second one has no rows.
#[derive(Debug)]
struct Fence {
    input: Arc<dyn ExecutionPlan>,
    nothing: Arc<dyn ExecutionPlan>,
}

impl Fence {
    fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let nothing = Arc::new(EmptyExec::new(input.schema()));
        Arc::new(Self { input, nothing })
    }
}

impl DisplayAs for Fence {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Fence")
    }
}

impl ExecutionPlan for Fence {
    fn name(&self) -> &'static str {
        "Fence"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input, &self.nothing]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(nothing), Some(input)) => Ok(Arc::new(Self { input, nothing })),
            _ => internal_err!("a fence has two inputs"),
        }
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a fence never executes")
    }
}
