//! References of a subquery to the columns of the query around it.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, Spans};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, Union};

use crate::numbers::input_schema;

/// An outer column as a subquery names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) field: FieldRef,
    pub(super) column: Column,
}

/// The references of a plan whose own subqueries have been rewritten, each once, in the order in
/// which they appear.
pub(super) fn of_plan(plan: &LogicalPlan) -> Result<Vec<Reference>> {
    let mut found: Vec<Reference> = Vec::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            for reference in of_expr(expr)? {
                if !found.contains(&reference) {
                    found.push(reference);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The references in an expression.
pub(super) fn of_expr(expr: &Expr) -> Result<Vec<Reference>> {
    let mut found = Vec::new();
    expr.apply(|expr| {
        if let Expr::OuterReferenceColumn(field, column) = expr {
            found.push(Reference { field: Arc::clone(field), column: column.clone() });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The references of the subquery that an expression is.
pub(super) fn of_subquery(expr: &Expr) -> Result<Vec<Reference>> {
    match expr {
        Expr::Exists(exists) => of_plan(&exists.subquery.subquery),
        Expr::InSubquery(within) => of_plan(&within.subquery.subquery),
        Expr::SetComparison(set) => of_plan(&set.subquery.subquery),
        Expr::ScalarSubquery(subquery) => of_plan(&subquery.subquery),
        _ => Ok(Vec::new()),
    }
}

/// A plan as a subquery.
pub(in crate::sql) fn subquery(plan: LogicalPlan, spans: Spans) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans }
}

/// A subquery's plan whose references to these rows know their types, and whether they may be null; new if a
/// reference is another.
pub(in crate::sql) fn refreshed(
    plan: LogicalPlan,
    rows: &DFSchema,
) -> Result<Transformed<LogicalPlan>> {
    let mut is_new = false;
    let refreshed = plan.transform_up_with_subqueries(|node| {
        let refreshed = node.map_expressions(|expr| {
            expr.transform(|expr| match expr {
                Expr::OuterReferenceColumn(field, column) => {
                    match rows.field_from_column(&column) {
                        Ok(now) if *now != field => {
                            is_new = true;
                            let now = Arc::clone(now);
                            Ok(Transformed::yes(Expr::OuterReferenceColumn(now, column)))
                        }
                        _ => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
                    }
                }
                other => Ok(Transformed::no(other)),
            })
        })?;
        refreshed.map_data(with_own_schema)
    });
    Ok(Transformed::new_transformed(refreshed.data()?, is_new))
}

/// A plan in which the references of all subqueries are refreshed; new if one is another.
pub(in crate::sql) fn all_refreshed(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut is_new = false;
    let refreshed = plan.transform_up(|node| {
        let node = match node {
            LogicalPlan::Join(mut join) if has_references(&join.right)? => {
                // A lateral query names columns of the left side.
                let right = Arc::unwrap_or_clone(join.right);
                let right = refreshed(right, join.left.schema())?;
                is_new |= right.transformed;
                join.right = Arc::new(right.data);
                LogicalPlan::Join(join)
            }
            node => node,
        };
        let schema = input_schema(&node)?;
        let mut inner = |query: Subquery| -> Result<Subquery> {
            if !has_references(&query.subquery)? {
                return Ok(query);
            }
            let plan = refreshed(Arc::unwrap_or_clone(query.subquery), &schema)?;
            let all = all_refreshed(plan.data)?;
            is_new |= plan.transformed || all.transformed;
            Ok(subquery(all.data, query.spans))
        };
        node.map_expressions(|expr| {
            expr.transform(|expr| {
                Ok(Transformed::yes(match expr {
                    Expr::Exists(exists) => {
                        let subquery = inner(exists.subquery)?;
                        Expr::Exists(Exists { subquery, ..exists })
                    }
                    Expr::InSubquery(within) => {
                        let subquery = inner(within.subquery)?;
                        Expr::InSubquery(InSubquery { subquery, ..within })
                    }
                    Expr::SetComparison(set) => {
                        let subquery = inner(set.subquery)?;
                        Expr::SetComparison(SetComparison { subquery, ..set })
                    }
                    Expr::ScalarSubquery(query) => Expr::ScalarSubquery(inner(query)?),
                    other => return Ok(Transformed::no(other)),
                }))
            })
        })
    });
    Ok(Transformed::new_transformed(refreshed.data()?, is_new))
}

/// Returns true if a plan names columns of a query around it, or a query in its expressions does.
fn has_references(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(matches!(expr, Expr::OuterReferenceColumn(..))))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A node with the schema that its inputs and its expressions give it.
pub(in crate::sql) fn with_own_schema(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        // `recompute_schema` keeps the types of a union.
        LogicalPlan::Union(union) => {
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?))
        }
        node => node.recompute_schema(),
    }
}

/// An expression over the columns of `schema`, as a subquery over it says it.
pub(super) fn outer(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let replaced = expr.transform(|expr| match expr {
        Expr::Column(column) if schema.has_column(&column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    });
    replaced.data()
}

/// An expression with these outer columns replaced by columns that are at hand.
pub(super) fn bound(expr: Expr, outer: &[Column], at_hand: &[Column]) -> Result<Expr> {
    let replaced = expr.transform(|expr| match &expr {
        Expr::OuterReferenceColumn(_, column) => {
            match outer.iter().position(|candidate| candidate == column) {
                Some(at) => Ok(Transformed::yes(Expr::Column(at_hand[at].clone()))),
                None => Ok(Transformed::no(expr)),
            }
        }
        _ => Ok(Transformed::no(expr)),
    });
    replaced.data()
}
