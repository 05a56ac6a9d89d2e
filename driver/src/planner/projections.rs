//! Projections that stay where they are.
//!
//! DataFusion moves what a projection computes down a plan, and parts of a join's condition into new
//! projections below the join. Five times it goes too far:
//!
//! - **Filters that hand on some columns of their input.** It takes the columns of the projection above
//!   for those of the input, and compares another column, or finds none of that name:
//!   ```text
//!   ProjectionExec: [case when c2@0 = 0 then 7 else c1@1 end, c0@2]     c0@2 is the first c0 here
//!     FilterExec: c0@2 IS NULL, projection=[c2@3, c1@1, c0@0]           and the second one here
//!   ```
//!   Before the rule runs, such a filter hands on all of its input, below a projection. The rule joins
//!   the two again.
//! - **Filters.** `10 / a` over the rows where `a <> 0` would be computed for all. The filter hands on what the
//!   projection needs, and nothing is moved through it.
//! - **Sorts with a limit.** `10 / a` over the first three rows would be computed for all.
//! - **Merge joins with a condition beside their keys.** The condition keeps the numbers that its columns had.
//! - **Conditions of joins without keys.** Of `case when x = 0 then false else 10 / x > y end` it computes
//!   `10 / x` before the join, for every `x`.
//!
//! While the rule runs, the last four are in a [`Closed`] operator, which it doesn't know.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CaseExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
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
        is_changed: |node| columns(node).is_some() || is_closed(node) || computes(node).is_some(),
        change: |node| {
            if is_closed(&node) {
                return Ok(Arc::new(Closed { inner: node }));
            }
            match over_closed_filter(&node)? {
                Some(projection) => Ok(projection),
                None => taken_apart(node),
            }
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

/// A projection of more than columns.
fn computes(node: &Arc<dyn ExecutionPlan>) -> Option<&ProjectionExec> {
    let projection = node.downcast_ref::<ProjectionExec>()?;
    projection.expr().iter().any(|it| !it.expr.is::<Column>()).then_some(projection)
}

/// A projection that computes, over a filter that hands on the columns it needs and is closed; none if there is
/// no filter below it.
fn over_closed_filter(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = computes(node) else { return Ok(None) };
    // The filter may have been taken apart.
    let (filter, handed_on) = match projection.input().downcast_ref::<ProjectionExec>() {
        Some(columns) => {
            let places =
                columns.expr().iter().map(|it| Some(it.expr.downcast_ref::<Column>()?.index()));
            let Some(places) = places.collect::<Option<Vec<usize>>>() else { return Ok(None) };
            (columns.input(), places)
        }
        None => (projection.input(), (0..projection.input().schema().fields().len()).collect()),
    };
    let Some(filter) = filter.downcast_ref::<FilterExec>() else { return Ok(None) };
    let used = projection.expr().iter().flat_map(|it| collect_columns(&it.expr));
    let used: BTreeSet<usize> = used.map(|column| column.index()).collect();
    if used.is_empty() || filter.projection().is_some() {
        return Ok(None);
    }
    let kept: Vec<usize> = used.iter().map(|at| handed_on[*at]).collect();
    let is_all = kept.iter().copied().eq(0..filter.input().schema().fields().len());
    let kept = (!is_all).then_some(kept);
    let filter = FilterExecBuilder::from(filter).apply_projection(kept)?.build()?;
    let schema = filter.schema();
    let place = |at: usize| used.iter().position(|used| *used == at);
    let exprs = projection.expr().iter().map(|it| {
        let moved = Arc::clone(&it.expr).transform_up(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let Some(at) = place(column.index()) else {
                return internal_err!("a projection needs a column that it does not");
            };
            Ok(Transformed::yes(Arc::new(Column::new(schema.field(at).name(), at)) as _))
        });
        Ok(ProjectionExpr { expr: moved.data()?, alias: it.alias.clone() })
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let closed = Arc::new(Closed { inner: Arc::new(filter) });
    Ok(Some(Arc::new(ProjectionExec::try_new(exprs, closed)?)))
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
