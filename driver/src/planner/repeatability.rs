//! The repeatability of a stage, read off its plan: the differences that a second run of its tasks
//! may make.
//!
//! Inputs are read in task order and placed by row, so a plan is exact unless an operator in it is
//! not: partial aggregates emit early under memory pressure (equivalent), sums of floats and
//! aggregates that depend on order are merged in another order then (rounding), what is chosen by
//! its place among rows of no fixed order is another choice then (indeterminate, see
//! [`super::row_order`]), and volatile functions give what they like (indeterminate), but for
//! `random()` and `uuid()` on a cluster.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use gnist_common::graph::Repeatability;
use gnist_operators::placement::Placement;
use gnist_operators::random::draws_by_row;
use gnist_operators::write::WriteExec;

use super::row_order::{RowOrder, rows_of};

/// Aggregates whose value depends on the order of their rows.
const ORDER_SENSITIVE: [&str; 5] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// The source of the values of `random()` and `uuid()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draws {
    /// The job's seed and the row: tasks of a cluster.
    ByRow,
    /// The thread they run on: DataFusion's own plan in one process.
    ByThread,
}

/// The repeatability of a stage that runs this plan and reads rows of these orders, and the order
/// of its own rows.
pub(crate) fn repeatability_of(
    plan: &Arc<dyn ExecutionPlan>,
    placement: &Placement,
    inputs: &[RowOrder],
    draws: Draws,
) -> (Repeatability, RowOrder) {
    let rows = rows_of(plan, inputs);
    let mut worst = rows.repeatability;
    if is_by_position(placement) && rows.order > RowOrder::Fixed {
        worst = Repeatability::Indeterminate;
    }
    let visited = plan.apply(|node| {
        worst = worst.max(of_operator(node, inputs, draws));
        if node.is::<RecursiveQueryExec>() {
            worst = worst.max(of_recursive(node));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("reading a plan does not fail");
    let order =
        if worst == Repeatability::Exact { rows.order } else { rows.order.max(RowOrder::Free) };
    (worst, if worst == Repeatability::Indeterminate { RowOrder::Parts } else { order })
}

/// Returns true if rows are dealt out by their places.
fn is_by_position(placement: &Placement) -> bool {
    matches!(placement, Placement::Partitioned(Partitioning::RoundRobinBatch(_)))
}

fn of_operator(node: &Arc<dyn ExecutionPlan>, inputs: &[RowOrder], draws: Draws) -> Repeatability {
    let mut worst = match node.downcast_ref::<AggregateExec>() {
        Some(aggregate) => of_aggregate(aggregate),
        // Files are cut where memory is short, and have names of their own.
        None if node.is::<WriteExec>() => Repeatability::Equivalent,
        None => Repeatability::Exact,
    };
    let visited = node.apply_expressions(&mut |expr| {
        match volatility_of(expr) {
            Volatility::Stable => {}
            // By the row's number, which is that of another row in another order.
            Volatility::Draws if draws == Draws::ByRow && has_fixed_rows(node, inputs) => {}
            Volatility::Draws | Volatility::Free => worst = Repeatability::Indeterminate,
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("reading expressions does not fail");
    worst
}

/// Returns true if an operator reads its rows in the same order each time.
fn has_fixed_rows(node: &Arc<dyn ExecutionPlan>, inputs: &[RowOrder]) -> bool {
    node.children().into_iter().all(|input| rows_of(input, inputs).order <= RowOrder::Fixed)
}

/// The repeatability of a recursive query: its own exchanges bring rows in any order, and its rows
/// are drawn by several threads.
fn of_recursive(query: &Arc<dyn ExecutionPlan>) -> Repeatability {
    if is_volatile(query) { Repeatability::Indeterminate } else { Repeatability::Equivalent }
}

fn of_aggregate(aggregate: &AggregateExec) -> Repeatability {
    if aggregate.aggr_expr().iter().any(|function| rounds(function)) {
        Repeatability::Rounding
    } else {
        Repeatability::Equivalent
    }
}

pub(super) fn rounds(function: &AggregateFunctionExpr) -> bool {
    let name = function.fun().name();
    if matches!(name, "min" | "max" | "count") {
        return false;
    }
    ORDER_SENSITIVE.contains(&name)
        || function.field().data_type().is_floating()
        || name.starts_with("approx_")
}

/// True if some expression of the plan gives another value each time.
pub(crate) fn is_volatile(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(&mut |expr| {
            found |= volatility_of(expr) != Volatility::Stable;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    })
    .expect("reading a plan does not fail")
}

fn is_draw(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let function = expr.downcast_ref::<ScalarFunctionExpr>();
    function.is_some_and(|function| draws_by_row(function.fun()))
}

/// The worst that an expression and what is in it do. Ordered from the safest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Volatility {
    Stable,
    /// `random()` or `uuid()`, at worst.
    Draws,
    /// Any other volatile function.
    Free,
}

fn volatility_of(expr: &Arc<dyn PhysicalExpr>) -> Volatility {
    let own = if is_draw(expr) {
        Volatility::Draws
    } else if expr.is_volatile_node() {
        Volatility::Free
    } else {
        Volatility::Stable
    };
    expr.children().into_iter().map(volatility_of).fold(own, Volatility::max)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use futures::executor::block_on;

    use super::*;

    fn of(query: &str, draws: Draws) -> Repeatability {
        let plan = block_on(async {
            let context = SessionContext::new();
            let table = "create table t as select 1 as k, 2.5e0 as f, 'x' as s";
            context.sql(table).await?.collect().await?;
            context.sql(query).await?.create_physical_plan().await
        });
        repeatability_of(&plan.expect("a plan"), &Placement::Single, &[], draws).0
    }

    #[test]
    fn rows_that_are_only_looked_at_are_exact() {
        for query in ["select k + 1 from t where f > 1", "select * from t order by k limit 1"] {
            assert_eq!(of(query, Draws::ByRow), Repeatability::Exact, "{query}");
        }
    }

    #[test]
    fn partial_aggregates_may_emit_early() {
        let query = "select k, count(*), max(f), sum(k) from t group by k";
        assert_eq!(of(query, Draws::ByRow), Repeatability::Equivalent);
    }

    #[test]
    fn sums_of_floats_and_ordered_aggregates_round() {
        for call in ["sum(f)", "avg(k)", "array_agg(s)", "first_value(s)", "approx_distinct(k)"] {
            let query = format!("select k, {call} from t group by k");
            assert_eq!(of(&query, Draws::ByRow), Repeatability::Rounding, "{call}");
        }
    }

    #[test]
    fn random_values_repeat_by_row_only() {
        for call in ["random()", "uuid()", "case when f > 1 then random() else 0 end"] {
            let query = format!("select {call} from t");
            assert_eq!(of(&query, Draws::ByRow), Repeatability::Exact, "{call}");
            assert_eq!(of(&query, Draws::ByThread), Repeatability::Indeterminate, "{call}");
            let of_groups = format!("select {call} from (select f from t group by f) as g");
            assert_eq!(of(&of_groups, Draws::ByRow), Repeatability::Indeterminate, "{call}");
        }
    }

    #[test]
    fn a_recursive_query_keeps_its_rows_but_not_their_order() {
        let sums = "with recursive n as (select 1 as k union all select k + 1 from n where k < 9) \
             select k from n";
        assert_eq!(of(sums, Draws::ByRow), Repeatability::Equivalent);
        let drawn = "with recursive n as (select 0e0 as k union all \
             select k + random() from n where k < 9) select k from n";
        assert_eq!(of(drawn, Draws::ByRow), Repeatability::Indeterminate);
    }
}
