//! Subqueries that nothing made a join of are refused by name, before DataFusion's physical planner
//! fails on them with its own words.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, not_impl_err};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::subqueries::references::query_of;

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

/// Fails on a subquery with an aggregate over columns of the query around it alone, which is that query's by the
/// standard: DataFusion aggregates the rows of the subquery.
///
/// # Errors
/// `NotImplemented` naming the aggregate.
pub(super) fn refuse_outer_aggregates(plan: &LogicalPlan) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let Some(subquery) = query_of(expr) else { return Ok(TreeNodeRecursion::Continue) };
                subquery.subquery.apply(|node| {
                    if let LogicalPlan::Aggregate(aggregate) = node {
                        aggregate.aggr_expr.iter().try_for_each(check_aggregate)?;
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
                refuse_outer_aggregates(&subquery.subquery)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_aggregate(aggregate: &Expr) -> Result<()> {
    let is_outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
    if aggregate.any_column_refs() || !aggregate.exists(|expr| Ok(is_outer(expr)))? {
        return Ok(());
    }
    let name = match aggregate.clone().unalias() {
        Expr::AggregateFunction(call) => call.func.name().to_owned(),
        other => other.to_string(),
    };
    not_impl_err!(
        "`{name}` in a subquery is over columns of the query around it alone, and so an aggregate of that query: \
         compute it there"
    )
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
