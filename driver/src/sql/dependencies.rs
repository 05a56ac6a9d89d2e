//! Rules that take rows for unique by what was once their key.
//!
//! DataFusion knows that the groups of a query are told apart by its keys. It goes on to know it above a join
//! and above `unnest`, which make several rows of a group, and above a second grouping by more keys. It then
//! drops a `DISTINCT`, keys of a sort or of a grouping, or a join. Where there is a join or an `unnest` below,
//! the rules that ask for it are told of no keys.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, FunctionalDependencies, Result};
use datafusion::logical_expr::{Distinct, LogicalPlan};
use datafusion::optimizer::OptimizerConfig;

use super::around::Rule;

/// Names of DataFusion's rules that ask for keys.
pub(super) const RULES: [&str; 4] = [
    "eliminate_duplicated_expr",
    "eliminate_join",
    "optimize_projections",
    "replace_distinct_aggregate",
];

/// The rewrite of a rule that is told of no keys above joins. See the module.
pub(super) fn without_keys(
    inner: &Rule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    let plan = if inner.apply_order().is_some() {
        // It looks at one node and the schemas of its inputs.
        plan.map_children(of_input).data()?
    } else if multiplies(&plan)? {
        plan.transform_up_with_subqueries(|node| forgetful(node).map(Transformed::no)).data()?
    } else {
        plan
    };
    inner.rewrite(plan, config)
}

/// An input whose schema names no keys.
fn of_input(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if plan.schema().functional_dependencies().is_empty() || !multiplies(&plan)? {
        return Ok(Transformed::no(plan));
    }
    match plan {
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            plan.map_children(of_input)
        }
        plan => forgetful(plan).map(Transformed::no),
    }
}

/// Returns true if there is an operator that may make several rows of one.
fn multiplies(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_) | LogicalPlan::Unnest(_))))
}

fn forgetful(mut plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = match &mut plan {
        LogicalPlan::Aggregate(node) => &mut node.schema,
        LogicalPlan::Distinct(Distinct::On(node)) => &mut node.schema,
        LogicalPlan::Join(node) => &mut node.schema,
        LogicalPlan::Projection(node) => &mut node.schema,
        LogicalPlan::SubqueryAlias(node) => &mut node.schema,
        LogicalPlan::TableScan(node) => &mut node.projected_schema,
        LogicalPlan::Union(node) => &mut node.schema,
        LogicalPlan::Unnest(node) => &mut node.schema,
        LogicalPlan::Window(node) => &mut node.schema,
        _ => return Ok(plan),
    };
    forget(schema)?;
    Ok(plan)
}

fn forget(schema: &mut DFSchemaRef) -> Result<()> {
    if !schema.functional_dependencies().is_empty() {
        let known = DFSchema::clone(schema);
        *schema = Arc::new(known.with_functional_dependencies(FunctionalDependencies::empty())?);
    }
    Ok(())
}
