//! Subqueries in the expressions of one node: what stays with DataFusion, what becomes a column.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema as _, Result, not_impl_err};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::replace_col;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable as _, Filter, JoinType, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, Sort, SortExpr, Subquery, Window, lit,
};

use super::super::reserved::reserved;
use super::domain::called;
use super::exists::join;
use super::quantified::{Quantified, Reading, may_be_null, value_name};
use super::references;
use super::shape::{
    has_one_row_at_least, has_one_row_at_most, is_one_group, is_simple, is_simple_scalar,
};
use super::{Rewriter, holds_subquery};

/// The place where a subquery stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// True in a filter: DataFusion makes joins of `IN` and `EXISTS` there.
    pub(super) is_filter: bool,
    /// True in a filter or projection: DataFusion makes joins of scalar subqueries there.
    pub(super) takes_scalars: bool,
    /// True where false and null are the same: below AND and OR of a filter.
    pub(super) reads_truth: bool,
}

impl Place {
    pub(super) const FILTER: Self =
        Self { is_filter: true, takes_scalars: true, reads_truth: true };
    const PROJECTION: Self = Self { is_filter: false, takes_scalars: true, reads_truth: false };
    pub(super) const OTHER: Self =
        Self { is_filter: false, takes_scalars: false, reads_truth: false };

    /// The place below an operator that tells false from null.
    fn value(self) -> Self {
        Self { reads_truth: false, ..self }
    }
}

impl Rewriter {
    pub(super) fn filter(&self, filter: Filter) -> Result<LogicalPlan> {
        let original = Arc::clone(filter.input.schema());
        let mut input = Arc::unwrap_or_clone(filter.input);
        let mut conjuncts = Vec::new();
        for conjunct in split_conjunction_owned(filter.predicate) {
            conjuncts.push(self.conjunct(conjunct, &mut input)?);
        }
        let predicate = conjunction(conjuncts).expect("a filter has a predicate");
        let grew = input.schema().fields().len() > original.fields().len();
        let filtered = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
        if grew { only(&original, filtered) } else { Ok(filtered) }
    }

    fn conjunct(&self, expr: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        match expr {
            Expr::Not(inner) if matches!(*inner, Expr::InSubquery(_) | Expr::Exists(_)) => {
                self.conjunct(negated(*inner), input)
            }
            Expr::InSubquery(within) if within.negated => self.not_in(within, input),
            other => self.rewritten(other, input, Place::FILTER),
        }
    }

    /// `NOT IN` as a conjunct of a filter. DataFusion's null-aware join is right where the operand
    /// is the only key, and refused elsewhere.
    fn not_in(&self, mut within: InSubquery, input: &mut LogicalPlan) -> Result<Expr> {
        *within.expr = self.operand(*within.expr, input)?;
        let is_one_key = references::of_plan(&within.subquery.subquery)?.is_empty()
            && within.expr.any_column_refs()
            && is_plain(&within.expr)?
            && is_null_by_column(&within.expr, input)?;
        if is_one_key {
            within.subquery = self.with_qualified_value(within.subquery)?;
            return Ok(Expr::InSubquery(within));
        }
        let expr = Quantified::from(within).with_exists(self, input, &Reading::Truth)?;
        self.rewritten(expr, input, Place::FILTER)
    }

    pub(super) fn projection(&self, projection: Projection) -> Result<LogicalPlan> {
        let mut input = Arc::unwrap_or_clone(projection.input);
        let mut exprs = Vec::with_capacity(projection.expr.len());
        for (expr, (relation, field)) in projection.expr.into_iter().zip(projection.schema.iter()) {
            let expr = self.rewritten(expr, &mut input, Place::PROJECTION)?;
            exprs.push(called(expr, relation, field.name()));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
    }

    pub(super) fn aggregate(&self, aggregate: Aggregate) -> Result<LogicalPlan> {
        let mut input = Arc::unwrap_or_clone(aggregate.input);
        let mut rewrite = |exprs: Vec<Expr>| {
            let exprs = exprs.into_iter().map(|expr| {
                let (relation, name) = expr.qualified_name();
                let expr = self.rewritten(expr, &mut input, Place::OTHER)?;
                Ok(called(expr, relation.as_ref(), &name))
            });
            exprs.collect::<Result<Vec<_>>>()
        };
        let (groups, functions) = (rewrite(aggregate.group_expr)?, rewrite(aggregate.aggr_expr)?);
        Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, functions)?))
    }

    pub(super) fn window(&self, window: Window) -> Result<LogicalPlan> {
        let mut input = Arc::unwrap_or_clone(window.input);
        let mut exprs = Vec::with_capacity(window.window_expr.len());
        for expr in window.window_expr {
            let name = expr.schema_name().to_string();
            exprs.push(called(self.rewritten(expr, &mut input, Place::OTHER)?, None, &name));
        }
        let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?);
        only(&window.schema, plan)
    }

    pub(super) fn sort(&self, sort: Sort) -> Result<LogicalPlan> {
        let original = Arc::clone(sort.input.schema());
        let mut input = with_columns_below(Arc::unwrap_or_clone(sort.input), &sort.expr)?;
        let mut keys: Vec<SortExpr> = Vec::with_capacity(sort.expr.len());
        for key in sort.expr {
            let expr = self.rewritten(key.expr.clone(), &mut input, Place::OTHER)?;
            keys.push(key.with_expr(expr));
        }
        let sort = Sort { expr: keys, input: Arc::new(input), fetch: sort.fetch };
        only(&original, LogicalPlan::Sort(sort))
    }

    /// An expression without the subqueries that DataFusion can't be left with. The rows of `input`
    /// gain the columns that stand for them.
    pub(super) fn rewritten(
        &self,
        expr: Expr,
        input: &mut LogicalPlan,
        place: Place,
    ) -> Result<Expr> {
        if !holds_subquery(&expr)? {
            return Ok(expr);
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => {
                let left = Box::new(self.rewritten(*left, input, place)?);
                let right = Box::new(self.rewritten(*right, input, place)?);
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Exists(exists) => self.exists_expr(exists, input, place),
            Expr::InSubquery(within) => self.in_expr(within, input, place),
            Expr::SetComparison(mut set) => {
                *set.expr = self.operand(*set.expr, input)?;
                self.quantified(Quantified::from(set), input, place)
            }
            Expr::ScalarSubquery(subquery) => self.scalar_expr(subquery, input, place),
            other => {
                let place = place.value();
                let rewritten = other.map_children(|child| {
                    self.rewritten(child, input, place).map(Transformed::yes)
                });
                rewritten.data()
            }
        }
    }

    /// The operand of a comparison with a subquery, its own subqueries rewritten. Columns without a relation, of a query
    /// in `FROM` that has no alias, get one: a condition that is pulled out of the subquery would take its column of
    /// the same name for them.
    fn operand(&self, operand: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        let operand = self.rewritten(operand, input, Place::OTHER)?;
        let columns = operand.column_refs().into_iter();
        let mut bare: Vec<Column> =
            columns.filter(|column| column.relation.is_none()).cloned().collect();
        if bare.is_empty() {
            return Ok(operand);
        }
        bare.sort_unstable();
        let relation = self.relation("operand");
        let name = |at: usize| reserved(format_args!("operand_{at}"));
        let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.extend(bare.iter().enumerate().map(|(at, column)| {
            Expr::Column(column.clone()).alias_qualified(Some(relation.clone()), name(at))
        }));
        let below = Arc::new(std::mem::take(input));
        *input = LogicalPlan::Projection(Projection::try_new(exprs, below)?);
        let named: Vec<Column> =
            (0..bare.len()).map(|at| Column::new(Some(relation.clone()), name(at))).collect();
        replace_col(operand, &bare.iter().zip(&named).collect())
    }

    fn exists_expr(&self, exists: Exists, input: &mut LogicalPlan, place: Place) -> Result<Expr> {
        if place.is_filter && is_joinable(&exists.subquery, input)? {
            return Ok(Expr::Exists(exists));
        }
        let found = self.exists(&exists.subquery.subquery, input)?;
        Ok(if exists.negated { Expr::Not(Box::new(found)) } else { found })
    }

    fn in_expr(
        &self,
        mut within: InSubquery,
        input: &mut LogicalPlan,
        place: Place,
    ) -> Result<Expr> {
        *within.expr = self.operand(*within.expr, input)?;
        let has_two_values = !may_be_null(&within.expr, &within.subquery, input)?
            || (place.reads_truth && !within.negated);
        // What is not read as a condition may become the NOT IN of a conjunct: an OR around it folds, or a NOT
        // is moved inside. DataFusion refuses that with a key beside the operand's.
        let stays_in = place.reads_truth && !within.negated;
        let is_one_key = stays_in || references::of_plan(&within.subquery.subquery)?.is_empty();
        let stays = place.is_filter
            && has_two_values
            && is_one_key
            && is_plain(&within.expr)?
            && !is_read_twice(&within.subquery)?;
        if stays && is_joinable(&within.subquery, input)? {
            within.subquery = self.with_qualified_value(within.subquery)?;
            return Ok(Expr::InSubquery(within));
        }
        self.quantified(Quantified::from(within), input, place)
    }

    /// A subquery of `IN` whose column has a relation, for the reason that [`is_read_twice`] gives.
    /// Columns of a correlated one keep their names, by which its filters are pulled up.
    fn with_qualified_value(&self, subquery: Subquery) -> Result<Subquery> {
        let (relation, field) = subquery.subquery.schema().qualified_field(0);
        if relation.is_some() || !references::of_plan(&subquery.subquery)?.is_empty() {
            return Ok(subquery);
        }
        let value = Expr::Column(Column::from((relation, field)));
        let value = value.alias_qualified(Some(self.relation("in")), value_name());
        let plan = Projection::try_new(vec![value], subquery.subquery)?;
        Ok(references::subquery(LogicalPlan::Projection(plan), subquery.spans))
    }

    fn quantified(
        &self,
        quantified: Quantified,
        input: &mut LogicalPlan,
        place: Place,
    ) -> Result<Expr> {
        let reading = if place.reads_truth { Reading::Truth } else { Reading::Value };
        let expr = quantified.with_exists(self, input, &reading)?;
        self.rewritten(expr, input, place)
    }

    /// A scalar subquery without references is a value of its own.
    fn scalar_expr(
        &self,
        subquery: Subquery,
        input: &mut LogicalPlan,
        place: Place,
    ) -> Result<Expr> {
        let plan = &subquery.subquery;
        if references::of_plan(plan)?.is_empty() {
            return Ok(Expr::ScalarSubquery(or_null(subquery)?));
        }
        let stays =
            place.takes_scalars && refers_only_to(&subquery, input)? && is_simple_scalar(plan)?;
        if stays {
            return Ok(Expr::ScalarSubquery(subquery));
        }
        if !has_one_row_at_most(plan) && !is_one_group(plan)? {
            return not_impl_err!(
                "a subquery that depends on the rows around it and may have several rows is not \
                 supported yet: aggregate its rows, or take one with LIMIT 1"
            );
        }
        self.scalar(plan, input)
    }
}

/// A scalar subquery whose value may be null where it may have no row, whatever its column says: one
/// row, with the subquery's beside it.
fn or_null(subquery: Subquery) -> Result<Subquery> {
    let plan = &subquery.subquery;
    if plan.schema().field(0).is_nullable() || has_one_row_at_least(plan) {
        return Ok(subquery);
    }
    let row = LogicalPlanBuilder::empty(true).build()?;
    let value = Expr::Column(Column::from(plan.schema().qualified_field(0)));
    let always = Some(lit(true));
    let joined = join(JoinType::Left, row, plan.as_ref().clone(), Vec::new(), always)?;
    let plan = Projection::try_new(vec![value], Arc::new(joined))?;
    Ok(references::subquery(LogicalPlan::Projection(plan), subquery.spans))
}

/// A projection under a sort with the columns below it that the sort's subqueries look at.
fn with_columns_below(input: LogicalPlan, keys: &[SortExpr]) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(projection) = &input else { return Ok(input) };
    let mut exprs = projection.expr.clone();
    for key in keys {
        key.expr.apply(|expr| {
            for reference in references::of_subquery(expr)? {
                let column = Expr::Column(reference.column.clone());
                let is_below = projection.input.schema().has_column(&reference.column);
                let is_here = projection.schema.has_column(&reference.column);
                if is_below && !is_here && !exprs.contains(&column) {
                    exprs.push(column);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let plan = Projection::try_new(exprs, Arc::clone(&projection.input))?;
    Ok(LogicalPlan::Projection(plan))
}

/// Returns true if DataFusion's joins are right for a subquery that is asked whether it has a row.
fn is_joinable(subquery: &Subquery, input: &LogicalPlan) -> Result<bool> {
    Ok(refers_only_to(subquery, input)? && is_simple(&subquery.subquery)?)
}

/// Returns true for a correlated subquery of `IN` whose value is made of a column without a relation. DataFusion's
/// mark join takes it for two: the one of the subquery, and the one of the relation that it makes of it.
fn is_read_twice(subquery: &Subquery) -> Result<bool> {
    let plan = &subquery.subquery;
    let reads_bare =
        |value: &Expr| value.column_refs().iter().any(|column| column.relation.is_none());
    let is_bare = match plan.as_ref() {
        LogicalPlan::Projection(projection) => projection.expr.first().is_some_and(reads_bare),
        // The value is a column of the rows below, such as those of a DISTINCT.
        plan => plan.schema().qualified_field(0).0.is_none(),
    };
    Ok(is_bare && !references::of_plan(plan)?.is_empty())
}

fn refers_only_to(subquery: &Subquery, input: &LogicalPlan) -> Result<bool> {
    let references = references::of_plan(&subquery.subquery)?;
    Ok(references.iter().all(|reference| input.schema().has_column(&reference.column)))
}

/// Returns true if an operand is made of columns of its rows alone.
fn is_plain(operand: &Expr) -> Result<bool> {
    Ok(!operand.contains_outer() && !holds_subquery(operand)?)
}

fn negated(expr: Expr) -> Expr {
    match expr {
        Expr::InSubquery(within) => {
            Expr::InSubquery(InSubquery { negated: !within.negated, ..within })
        }
        Expr::Exists(exists) => Expr::Exists(Exists { negated: !exists.negated, ..exists }),
        other => Expr::Not(Box::new(other)),
    }
}

/// The columns of a schema out of a plan that has more.
pub(super) fn only(
    schema: &datafusion::common::DFSchemaRef,
    plan: LogicalPlan,
) -> Result<LogicalPlan> {
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// Returns false for an expression that can be null though none of its columns can: DataFusion asks the
/// columns alone.
fn is_null_by_column(expr: &Expr, input: &LogicalPlan) -> Result<bool> {
    let schema = input.schema();
    let mut columns = expr.column_refs().into_iter();
    Ok(!expr.nullable(schema)?
        || columns
            .any(|column| schema.field_from_column(column).is_ok_and(|field| field.is_nullable())))
}
