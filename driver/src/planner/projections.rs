//! Projections that stay where they are.
//!
//! DataFusion moves what a projection computes down a plan, and parts of a join's condition into new
//! projections below the join. Four times it goes too far:
//!
//! - **Filters that hand on some columns of their input.** It takes the columns of the projection above
//!   for those of the input, and compares another column, or finds none of that name:
//!   ```text
//!   ProjectionExec: [case when c2@0 = 0 then 7 else c1@1 end, c0@2]     c0@2 is the first c0 here
//!     FilterExec: c0@2 IS NULL, projection=[c2@3, c1@1, c0@0]           and the second one here
//!   ```
//!   Before the rule runs, such a filter hands on all of its input, below a projection. The rule joins
//!   the two again.
//! - **Sorts with a limit.** `10 / a` over the first three rows would be computed for all.
//! - **Merge joins with a condition beside their keys.** The condition keeps the numbers that its columns had.
//! - **Conditions of joins without keys.** Of `case when x = 0 then false else 10 / x > y end` it computes
//!   `10 / x` before the join, for every `x`.
//!
//! While the rule runs, the last three are in a [`Closed`] operator, which it doesn't know.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CaseExpr, Column};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::{NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

use super::around::Around;

/// Keeps projections in their place around DataFusion's rule that moves them, in a session's rules.
pub(crate) fn with_kept_projections(builder: SessionStateBuilder) -> SessionStateBuilder {
    let around = Around {
        rules: &["ProjectionPushdown"],
        is_changed: |node| columns(node).is_some() || is_closed(node),
        change: |node| {
            if is_closed(&node) { Ok(Arc::new(Closed { inner: node })) } else { taken_apart(node) }
        },
        restore: |node| Some(Arc::clone(&node.downcast_ref::<Closed>()?.inner)),
    };
    around.install(builder)
}

/// The columns that a filter hands on, if these are not all.
fn columns(node: &Arc<dyn ExecutionPlan>) -> Option<&[usize]> {
    node.downcast_ref::<FilterExec>()?.projection().as_deref()
}

fn taken_apart(node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let (Some(filter), Some(columns)) = (node.downcast_ref::<FilterExec>(), columns(&node)) else {
        return Ok(node);
    };
    let whole = FilterExecBuilder::from(filter).apply_projection(None)?.build()?;
    let schema = whole.schema();
    let columns = columns.iter().map(|at| {
        let name = schema.field(*at).name();
        ProjectionExpr { expr: Arc::new(Column::new(name, *at)), alias: name.clone() }
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::new(whole))?))
}

/// Returns true for an operator that evaluates, or lets through, less than there is below it.
fn is_closed(node: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return join.filter().is_some_and(|filter| has_case(filter.expression()));
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        return join.filter().is_some();
    }
    (node.is::<SortExec>() || node.is::<SortPreservingMergeExec>()) && node.fetch().is_some()
}

/// Returns true for a condition with a part that is evaluated for some rows alone: `AND` and `OR` over
/// such a part are a `CASE` by now ([`crate::numbers`]).
fn has_case(condition: &Arc<dyn PhysicalExpr>) -> bool {
    condition.exists(|part| Ok(part.is::<CaseExpr>())).expect("looking fails nowhere")
}

/// An operator in the place of another one, with its inputs. It never executes.
#[derive(Debug)]
struct Closed {
    inner: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for Closed {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Closed")
    }
}

impl ExecutionPlan for Closed {
    fn name(&self) -> &'static str {
        "Closed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.inner.maintains_input_order()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = replace_children_if_necessary(Arc::clone(&self.inner), children)?;
        Ok(Arc::new(Self { inner }))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a closed operator never executes")
    }
}
