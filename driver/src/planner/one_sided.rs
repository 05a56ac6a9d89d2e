//! Constants and orders that hold on one side of a join, and not above it.
//!
//! - **Constants.** A filter or a literal makes a column constant, or equal to an expression, below an outer
//!   join, which gives null for it where the other side has no partner. DataFusion takes it for constant
//!   above the join too, and drops it from sorts and window partitions. Here such a column goes through a call
//!   below the join, of which nothing is known.
//! - **Order.** A merge join comes in the order of one of its sides. DataFusion takes the rows of equal keys for
//!   sorted by the order of the other side, which begins anew for each row of the first one, and moves sorts
//!   by both sides below the join. Here the other side's columns go through such a call above it. (Of hash joins
//!   see [`super::kept_orders`].)

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};
use gnist_operators::functions::set_keys::unknown;

use super::around::with_first;

/// Adds the rule to a session's: the first, for those after it take what they know of a join for the truth.
pub(crate) fn with_one_sided(builder: SessionStateBuilder) -> SessionStateBuilder {
    with_first(builder, Arc::new(OneSided))
}

#[derive(Debug)]
struct OneSided;

impl PhysicalOptimizerRule for OneSided {
    fn name(&self) -> &'static str {
        "one_sided"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let (known, merged) = (known_too_well(&node), merged(&node));
            if known.iter().all(BTreeSet::is_empty) && merged.is_empty() {
                return Ok(Transformed::no(node));
            }
            let children = node.children().into_iter().zip(&known);
            let children = children.map(|(child, columns)| freed(child, columns));
            let children = children.collect::<Result<_>>()?;
            let join = replace_children_if_necessary(node, children)?;
            Ok(Transformed::yes(freed(&join, &merged)?))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The columns of each input of a join that it is known too much of.
fn known_too_well(join: &Arc<dyn ExecutionPlan>) -> Vec<BTreeSet<usize>> {
    let children = join.children();
    let (Some(join_type), [left, right]) = (join_type(join), children.as_slice()) else {
        return Vec::new();
    };
    match join_type {
        JoinType::Left => vec![BTreeSet::new(), constants(right)],
        JoinType::Right => vec![constants(left), BTreeSet::new()],
        JoinType::Full => vec![constants(left), constants(right)],
        _ => vec![BTreeSet::new(), BTreeSet::new()],
    }
}

/// The columns of a merge join that come from the side whose order it does not keep. Its keys are equal
/// to those of the other side.
fn merged(join: &Arc<dyn ExecutionPlan>) -> BTreeSet<usize> {
    let Some(join) = join.downcast_ref::<SortMergeJoinExec>() else { return BTreeSet::new() };
    let columns = join.left().schema().fields().len();
    let (side, keys): (_, BTreeSet<usize>) = match join.join_type() {
        JoinType::Inner | JoinType::Left => (
            columns..join.schema().fields().len(),
            join.on().iter().filter_map(|(_, key)| Some(place(key)? + columns)).collect(),
        ),
        JoinType::Right => {
            (0..columns, join.on().iter().filter_map(|(key, _)| place(key)).collect())
        }
        _ => return BTreeSet::new(),
    };
    side.filter(|column| !keys.contains(column)).collect()
}

fn join_type(join: &Arc<dyn ExecutionPlan>) -> Option<JoinType> {
    if let Some(join) = join.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = join.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    join.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type)
}

/// The columns that a constant or an equality speaks of which need not hold for a row of nulls: `upper(n) = 'X'`,
/// `a = concat(b)`. Two columns that are equal are equal then too.
fn constants(input: &Arc<dyn ExecutionPlan>) -> BTreeSet<usize> {
    let known = input.equivalence_properties();
    let classes = known.eq_group().iter().filter(|class| {
        let mut exprs = class.iter();
        exprs.any(|expr| place(expr).is_none() || known.is_expr_constant(expr).is_some())
    });
    let columns = classes.flat_map(|class| class.iter().flat_map(collect_columns));
    columns.map(|column| column.index()).collect()
}

fn place(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    Some(expr.downcast_ref::<Column>()?.index())
}

/// The input with these columns in calls; the input itself if there are none.
pub(super) fn freed(
    input: &Arc<dyn ExecutionPlan>,
    freed: &BTreeSet<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if freed.is_empty() {
        return Ok(Arc::clone(input));
    }
    let schema = input.schema();
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
        let expr = if freed.contains(&at) { unknown(column, &schema)? } else { column };
        Ok(ProjectionExpr { expr, alias: field.name().clone() })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, Arc::clone(input))?))
}
