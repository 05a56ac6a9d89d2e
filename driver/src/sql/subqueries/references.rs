//! References of a subquery to the columns of the query around it.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, Spans};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, Union};
use datafusion::optimizer::analyzer::type_coercion::coerce_union_schema;

use super::lateral::is_lateral;
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
    query_of(expr).map_or_else(|| Ok(Vec::new()), |query| of_plan(&query.subquery))
}

/// The subquery that an expression is.
pub(in crate::sql) fn query_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// A plan as a subquery.
pub(in crate::sql) fn subquery(plan: LogicalPlan, spans: Spans) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans }
}

/// An expression that is a subquery, with another one in its place.
pub(in crate::sql) fn map_subquery(
    expr: Expr,
    mut f: impl FnMut(Subquery) -> Result<Subquery>,
) -> Result<Transformed<Expr>> {
    Ok(Transformed::yes(match expr {
        Expr::Exists(exists) => {
            let subquery = f(exists.subquery)?;
            Expr::Exists(Exists { subquery, ..exists })
        }
        Expr::InSubquery(within) => {
            let subquery = f(within.subquery)?;
            Expr::InSubquery(InSubquery { subquery, ..within })
        }
        Expr::SetComparison(set) => {
            let subquery = f(set.subquery)?;
            Expr::SetComparison(SetComparison { subquery, ..set })
        }
        Expr::ScalarSubquery(query) => Expr::ScalarSubquery(f(query)?),
        other => return Ok(Transformed::no(other)),
    }))
}

/// A subquery's plan whose references to these rows know their types, and whether they may be null. `transformed` is
/// true if one didn't.
pub(in crate::sql) fn refreshed(
    plan: LogicalPlan,
    rows: &DFSchema,
) -> Result<Transformed<LogicalPlan>> {
    if !has_references(&plan)? {
        return Ok(Transformed::no(plan));
    }
    let mut refresh = Refresh { rows, nearer: Vec::new(), is_new: false };
    let plan = refresh.plan(plan)?;
    Ok(Transformed::new_transformed(plan, refresh.is_new))
}

/// A walk through a subquery.
struct Refresh<'a> {
    rows: &'a DFSchema,
    /// The rows of queries between: their columns are meant by references of the same name.
    nearer: Vec<DFSchemaRef>,
    is_new: bool,
}

impl Refresh<'_> {
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = match plan {
            LogicalPlan::Join(mut join) if is_lateral(&join.right) => {
                join.left = Arc::new(self.plan(Arc::unwrap_or_clone(join.left))?);
                let left = Arc::clone(join.left.schema());
                join.right = Arc::new(self.inside(left, Arc::unwrap_or_clone(join.right))?);
                LogicalPlan::Join(join)
            }
            plan => plan.map_children(|input| self.plan(input).map(Transformed::yes))?.data,
        };
        let own = Arc::new(input_schema(&plan)?);
        let refreshed = plan.map_expressions(|expr| {
            expr.transform(|expr| match expr {
                Expr::OuterReferenceColumn(field, column) => Ok(self.reference(field, column)),
                expr => map_subquery(expr, |query| {
                    let plan = self.inside(Arc::clone(&own), Arc::unwrap_or_clone(query.subquery));
                    Ok(subquery(plan?, query.spans))
                }),
            })
        })?;
        if self.is_new { with_own_schema(refreshed.data) } else { Ok(refreshed.data) }
    }

    /// A query over the rows of another one.
    fn inside(&mut self, rows: DFSchemaRef, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.nearer.push(rows);
        let plan = self.plan(plan);
        self.nearer.pop();
        plan
    }

    fn reference(&mut self, field: FieldRef, column: Column) -> Transformed<Expr> {
        let is_nearer = self.nearer.iter().any(|rows| rows.has_column(&column));
        match self.rows.field_from_column(&column) {
            Ok(now) if !is_nearer && *now != field => {
                self.is_new = true;
                Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column))
            }
            _ => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        }
    }
}

/// A plan in which the references of all subqueries are refreshed. `transformed` is true if one is another.
pub(in crate::sql) fn all_refreshed(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !has_references(&plan)? {
        return Ok(Transformed::no(plan));
    }
    let mut is_new = false;
    let refreshed = plan.transform_up(|node| {
        let node = match node {
            LogicalPlan::Join(mut join) if is_lateral(&join.right) => {
                let right = refreshed(Arc::unwrap_or_clone(join.right), join.left.schema())?;
                is_new |= right.transformed;
                join.right = Arc::new(right.data);
                LogicalPlan::Join(join)
            }
            node => node,
        };
        let schema = input_schema(&node)?;
        let mut inner = |query: Subquery| -> Result<Subquery> {
            let plan = refreshed(Arc::unwrap_or_clone(query.subquery), &schema)?;
            let all = all_refreshed(plan.data)?;
            is_new |= plan.transformed || all.transformed;
            Ok(subquery(all.data, query.spans))
        };
        node.map_expressions(|expr| expr.transform(|expr| map_subquery(expr, &mut inner)))
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
        LogicalPlan::Union(union) => of_coerced_types(union).map(LogicalPlan::Union),
        node => node.recompute_schema(),
    }
}

/// A union with the types that its columns have once DataFusion has coerced them: before, it takes the first input's.
pub(in crate::sql) fn of_coerced_types(union: Union) -> Result<Union> {
    let coerced = coerce_union_schema(&union.inputs)?;
    let Union { inputs, schema } = Union::try_new_with_loose_types(union.inputs)?;
    let fields = schema.iter().zip(coerced.fields()).map(|((relation, field), coerced)| {
        let field = field.as_ref().clone().with_data_type(coerced.data_type().clone());
        (relation.cloned(), Arc::new(field))
    });
    let schema =
        DFSchema::new_with_metadata(fields.collect(), DFSchema::metadata(&schema).clone())?;
    Ok(Union { inputs, schema: Arc::new(schema) })
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
