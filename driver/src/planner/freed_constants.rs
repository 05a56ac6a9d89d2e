//! Columns of outer joins that are constant on one side alone.
//!
//! A filter or a literal makes a column constant below an outer join, which gives null for it where the other
//! side has no partner. DataFusion takes it for constant above the join too, and drops it from sorts and window
//! partitions. Here such a column goes through a call below the join, of which nothing is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};
use gnist_operators::functions::set_keys::unknown;

/// Adds the rule to a session's: the first, for those after it take constants for the truth.
pub(crate) fn with_freed_constants(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let optimizer = builder.physical_optimizers().get_or_insert_default();
    optimizer.rules.insert(0, Arc::new(FreedConstants));
    builder
}

#[derive(Debug)]
struct FreedConstants;

impl PhysicalOptimizerRule for FreedConstants {
    fn name(&self) -> &'static str {
        "freed_constants"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(join_type) = join_type(&node) else { return Ok(Transformed::no(node)) };
            let is_null_beside = match join_type {
                JoinType::Left => [false, true],
                JoinType::Right => [true, false],
                JoinType::Full => [true, true],
                _ => return Ok(Transformed::no(node)),
            };
            let children = node.children().into_iter().zip(is_null_beside);
            let children = children.map(|(child, is_null)| match is_null {
                true => freed(child),
                false => Ok(Arc::clone(child)),
            });
            let children = children.collect::<Result<_>>()?;
            Ok(Transformed::yes(replace_children_if_necessary(node, children)?))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn join_type(node: &Arc<dyn ExecutionPlan>) -> Option<JoinType> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    node.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type)
}

/// The input with its constant columns in calls; the input itself if it has none.
fn freed(input: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let constants = input.equivalence_properties().constants();
    let constants: BTreeSet<usize> = constants
        .iter()
        .filter_map(|constant| Some(constant.expr.downcast_ref::<Column>()?.index()))
        .collect();
    if constants.is_empty() {
        return Ok(Arc::clone(input));
    }
    let schema = input.schema();
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
        let expr = if constants.contains(&at) { unknown(column, &schema)? } else { column };
        Ok(ProjectionExpr { expr, alias: field.name().clone() })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, Arc::clone(input))?))
}
