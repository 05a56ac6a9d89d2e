//! What a second run of a stage's tasks may change, read off its plan.
//!
//! Inputs are read in task order and placed by row, so a plan is exact unless an operator in it is
//! not: partial aggregates emit early under memory pressure (equivalent), sums of floats and
//! aggregates that depend on order are merged in another order then (rounding), and volatile
//! functions give what they like (indeterminate).

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use gnist_common::graph::Repeatability;

/// Aggregates whose value depends on the order of their rows.
const ORDER_SENSITIVE: [&str; 5] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// The repeatability of a stage that runs this plan, its inputs being equal.
pub(crate) fn repeatability_of(plan: &Arc<dyn ExecutionPlan>) -> Repeatability {
    let mut worst = Repeatability::Exact;
    let visited = plan.apply(|node| {
        worst = worst.max(of_operator(node.as_ref()));
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("reading a plan does not fail");
    worst
}

fn of_operator(node: &dyn ExecutionPlan) -> Repeatability {
    let mut worst = match node.downcast_ref::<AggregateExec>() {
        Some(aggregate) => of_aggregate(aggregate),
        None => Repeatability::Exact,
    };
    let visited = node.apply_expressions(&mut |expr| {
        if is_volatile(expr) {
            worst = Repeatability::Indeterminate;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("reading expressions does not fail");
    worst
}

fn of_aggregate(aggregate: &AggregateExec) -> Repeatability {
    if aggregate.aggr_expr().iter().any(|function| rounds(function)) {
        Repeatability::Rounding
    } else {
        Repeatability::Equivalent
    }
}

fn rounds(function: &AggregateFunctionExpr) -> bool {
    let name = function.fun().name();
    if matches!(name, "min" | "max" | "count") {
        return false;
    }
    ORDER_SENSITIVE.contains(&name)
        || function.field().data_type().is_floating()
        || name.starts_with("approx_")
}

fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is_volatile_node() || expr.children().into_iter().any(is_volatile)
}
