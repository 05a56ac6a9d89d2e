//! Subqueries that nothing made a join of are refused by name, before DataFusion's physical planner
//! fails on them with its own words.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, not_impl_err};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Fails on an optimised plan with a subquery that can't run.
pub(crate) fn refuse_left_subqueries(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| check(expr, node).map(|()| TreeNodeRecursion::Continue))
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check(expr: &Expr, node: &LogicalPlan) -> Result<()> {
    let clause = clause(node);
    match expr {
        Expr::Exists(_) => not_impl_err!("this EXISTS in {clause} is not supported yet"),
        Expr::InSubquery(_) => {
            not_impl_err!("this IN with a subquery in {clause} is not supported yet")
        }
        Expr::SetComparison(_) => not_impl_err!("this ANY or ALL in {clause} is not supported yet"),
        Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            not_impl_err!(
                "this subquery in {clause}, which depends on its rows, is not supported yet"
            )
        }
        Expr::OuterReferenceColumn(_, Column { relation, name, .. }) => {
            let table = relation.as_ref().map(|table| format!("{table}.")).unwrap_or_default();
            not_impl_err!(
                "the reference to `{table}{name}`, a column of the query around it, in {clause} is not \
                 supported yet"
            )
        }
        _ => Ok(()),
    }
}

fn clause(node: &LogicalPlan) -> &'static str {
    match node {
        LogicalPlan::Filter(_) => "a filter",
        LogicalPlan::Projection(_) => "a select list",
        LogicalPlan::Aggregate(_) => "an aggregate",
        LogicalPlan::Window(_) => "a window",
        LogicalPlan::Sort(_) => "an ORDER BY",
        LogicalPlan::Join(_) => "the condition of a join",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::Limit(_) => "a LIMIT",
        _ => "this place",
    }
}
