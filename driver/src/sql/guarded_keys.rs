//! Join keys that a condition beside them guards.
//!
//! DataFusion takes the equalities of an outer join's condition for its keys, which are computed for
//! every row:
//!
//! ```text
//! x LEFT JOIN y ON x.a <> 0 AND 10 / x.a = y.a
//! ```
//!
//! An equality that can fail and stands behind a condition that is no equality of both sides stays in
//! the join's filter, which is evaluated from left to right. So does one that is drawn, as `x.a + random() = y.a`,
//! which a key would draw once for a row of one side.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::OptimizerConfig;

use super::around::Rule;
use crate::numbers::{fails, input_schema};

/// The rewrite of the rule that makes keys of equalities, without those that are guarded. See the module.
pub(super) fn without_guarded(
    inner: &Rule,
    mut plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    let guarded = guarded(&mut plan)?;
    let made = inner.rewrite(plan, config)?;
    if guarded.is_empty() {
        return Ok(made);
    }
    let is_changed = made.transformed;
    let LogicalPlan::Join(mut join) = made.data else { return Ok(made) };
    join.filter = conjunction(join.filter.into_iter().chain(guarded));
    Ok(Transformed::new_transformed(LogicalPlan::Join(join), is_changed))
}

/// The guarded equalities, taken out of a join's filter.
fn guarded(plan: &mut LogicalPlan) -> Result<Vec<Expr>> {
    let schema = input_schema(plan)?;
    let LogicalPlan::Join(join) = plan else { return Ok(Vec::new()) };
    if join.join_type == JoinType::Inner || join.filter.is_none() {
        return Ok(Vec::new());
    }
    let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let guard = conditions.iter().position(|condition| !is_equality(condition));
    let guard = guard.unwrap_or(conditions.len());
    let is_guarded = |(at, condition): (usize, &Expr)| {
        is_equality(condition)
            && (condition.is_volatile() || at > guard && fails(condition, &schema))
    };
    let (behind, free): (Vec<_>, Vec<_>) = conditions
        .into_iter()
        .enumerate()
        .partition(|(at, condition)| is_guarded((*at, condition)));
    if !behind.is_empty() {
        join.filter = conjunction(free.into_iter().map(|(_, condition)| condition));
    }
    Ok(behind.into_iter().map(|(_, condition)| condition).collect())
}

/// Returns true for an equality of two expressions that both have columns.
fn is_equality(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
        if !left.column_refs().is_empty() && !right.column_refs().is_empty())
}
