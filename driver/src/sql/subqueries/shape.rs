//! The shapes of subqueries that DataFusion decorrelates rightly.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Alias, Cast};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, FetchType, Filter, Join, LogicalPlan,
    Operator, Projection,
};

use gnist_operators::widening::keeps_digits;

use super::holds_subquery;
use super::references::{of_expr, of_plan};

/// Aggregates that are null over no rows.
const NULL_OVER_NOTHING: [&str; 4] = ["sum", "avg", "min", "max"];

/// True if all references are in filters below operators that keep or drop single rows: then a
/// semi, anti or mark join on the filters says the same. Not so above a join, for DataFusion's pull-up
/// carries what it found on one side over to a `LIMIT` or an aggregate of the other; nor above a
/// named relation, which it brings no column through; nor where a column of a projection takes the
/// name of one that it brings; nor where it brings two columns of one name, which become one.
pub(super) fn is_simple(plan: &LogicalPlan) -> Result<bool> {
    Ok(keeps_single_rows(plan)? && have_own_names(&pulled_columns(plan)?))
}

fn keeps_single_rows(plan: &LogicalPlan) -> Result<bool> {
    if of_plan(plan)?.is_empty() {
        return Ok(true);
    }
    match plan {
        LogicalPlan::Filter(filter) => {
            let plain = !holds_subquery(&filter.predicate)?;
            let plain = plain || of_expr(&filter.predicate)?.is_empty();
            Ok(plain && keeps_single_rows(&filter.input)?)
        }
        LogicalPlan::Projection(projection) => Ok(has_no_references(&projection.expr)?
            && leaves_names(projection)?
            && keeps_single_rows(&projection.input)?),
        LogicalPlan::Distinct(Distinct::All(input)) => keeps_single_rows(input),
        _ => Ok(false),
    }
}

/// The columns that filters compare with outer ones: the pull-up brings them to the top.
fn pulled_columns(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut pulled = Vec::new();
    plan.apply(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(TreeNodeRecursion::Continue) };
        for conjunct in split_conjunction(&filter.predicate) {
            if !of_expr(conjunct)?.is_empty() {
                pulled.extend(conjunct.column_refs().into_iter().cloned());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(pulled)
}

/// Returns true if no two of the columns differ in their relations alone.
fn have_own_names(columns: &[Column]) -> bool {
    columns.iter().enumerate().all(|(at, column)| {
        columns[..at].iter().all(|other| other.name != column.name || other == column)
    })
}

/// True if a scalar subquery is one aggregate over rows that equal outer values, with nothing on
/// top that turns null into a value: then a left join on the values says the same.
pub(super) fn is_simple_scalar(plan: &LogicalPlan) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(projection) => Ok(projection.expr.iter().all(keeps_null)
            && has_no_references(&projection.expr)?
            && leaves_names(projection)?
            && is_simple_scalar(&projection.input)?),
        LogicalPlan::SubqueryAlias(alias) => is_simple_scalar(&alias.input),
        LogicalPlan::Aggregate(aggregate) => is_simple_aggregate(aggregate),
        _ => Ok(false),
    }
}

/// Returns true if a plan has one row at most, whatever its tables hold. DataFusion's `max_rows`
/// takes a `SELECT` without `FROM` for no row, a full join for the rows of one side, and grouping sets
/// for one.
pub(super) fn has_one_row_at_most(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Projection(projection) => has_one_row_at_most(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row_at_most(&alias.input),
        LogicalPlan::Filter(filter) => has_one_row_at_most(&filter.input),
        LogicalPlan::Window(window) => has_one_row_at_most(&window.input),
        LogicalPlan::Distinct(distinct) => has_one_row_at_most(distinct.input()),
        LogicalPlan::Sort(sort) => sort.fetch == Some(1) || has_one_row_at_most(&sort.input),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
                || has_one_row_at_most(&limit.input)
        }
        LogicalPlan::Aggregate(Aggregate { group_expr, input, .. }) => {
            let is_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
            group_expr.is_empty() || !group_expr.iter().any(is_set) && has_one_row_at_most(input)
        }
        LogicalPlan::Join(join) => has_one_pair_at_most(join),
        _ => false,
    }
}

/// Returns true if a plan has one group at most for each row around it: its keys are columns that equal
/// outer values.
pub(super) fn is_one_group(plan: &LogicalPlan) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(projection) => is_one_group(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_group(&alias.input),
        LogicalPlan::Filter(filter) => is_one_group(&filter.input),
        LogicalPlan::Sort(sort) => is_one_group(&sort.input),
        LogicalPlan::Aggregate(Aggregate { group_expr, input, .. }) => {
            let fixed = fixed_columns(input)?;
            Ok(group_expr.iter().all(|key| fixed.contains(key)))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let LogicalPlan::Projection(projection) = input.as_ref() else { return Ok(false) };
            let fixed = fixed_columns(&projection.input)?;
            Ok(projection.expr.iter().all(|item| fixed.contains(item)))
        }
        _ => Ok(false),
    }
}

/// The columns that the filters right on top of a plan compare with outer values for equality.
fn fixed_columns(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut fixed = Vec::new();
    let LogicalPlan::Filter(filter) = plan else { return Ok(fixed) };
    for condition in split_conjunction(&filter.predicate) {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
            continue;
        };
        for (side, value) in [(left, right), (right, left)] {
            let is_outer = value.column_refs().is_empty() && !of_expr(value)?.is_empty();
            let column = uncast(side, filter.input.schema())?;
            if matches!(column, Expr::Column(_)) && is_outer && !value.is_volatile() {
                fixed.push(column.clone());
            }
        }
    }
    fixed.extend(fixed_columns(&filter.input)?);
    Ok(fixed)
}

/// The column below a cast that gives different values for different ones.
fn uncast<'a>(expr: &'a Expr, schema: &DFSchema) -> Result<&'a Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = expr else { return Ok(expr) };
    let from = inner.get_type(schema)?;
    let is_text = from.is_string() && field.data_type().is_string();
    let is_kept = is_text || !from.is_string() && keeps_digits(&from, field.data_type());
    Ok(if is_kept { inner.as_ref() } else { expr })
}

fn has_one_pair_at_most(join: &Join) -> bool {
    let (left, right) = (has_one_row_at_most(&join.left), has_one_row_at_most(&join.right));
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right => left && right,
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        JoinType::Full => false,
    }
}

/// Returns true if a plan has a row, whatever its tables hold.
pub(super) fn has_one_row_at_least(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row_at_least(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row_at_least(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(values) => !values.values.is_empty(),
        _ => false,
    }
}

fn is_simple_aggregate(aggregate: &Aggregate) -> Result<bool> {
    let functions = aggregate.aggr_expr.iter().all(|expr| match expr {
        Expr::AggregateFunction(AggregateFunction { func, .. }) => {
            NULL_OVER_NOTHING.contains(&func.name())
        }
        _ => false,
    });
    Ok(functions
        && aggregate.group_expr.is_empty()
        && has_no_references(&aggregate.aggr_expr)?
        && is_simple(&aggregate.input)?
        && filters_are_equalities(&aggregate.input)?)
}

fn filters_are_equalities(plan: &LogicalPlan) -> Result<bool> {
    if let LogicalPlan::Filter(Filter { predicate, .. }) = plan {
        for conjunct in split_conjunction(predicate) {
            if !of_expr(conjunct)?.is_empty() && !is_equality(conjunct)? {
                return Ok(false);
            }
        }
    }
    for input in plan.inputs() {
        if !filters_are_equalities(input)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True if no other column is called what a column is that a filter below compares with an outer
/// one: the pull-up adds that column to the projection. A cast is called as what it casts.
fn leaves_names(projection: &Projection) -> Result<bool> {
    Ok(pulled_columns(&projection.input)?.iter().all(|pulled| {
        let mut columns = projection.expr.iter().zip(projection.schema.fields());
        columns.all(|(expr, field)| {
            let is_called_so = *field.name() == pulled.name
                || expr.schema_name().to_string() == pulled.flat_name();
            !is_called_so || expr.try_as_col() == Some(pulled)
        })
    }))
}

/// Returns true if this is an outer column that equals an inner one.
fn is_equality(expr: &Expr) -> Result<bool> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = expr else {
        return Ok(false);
    };
    let plain = |expr: &Expr| matches!(expr, Expr::Column(_));
    let outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
    Ok((plain(left) && outer(right)) || (outer(left) && plain(right)))
}

/// Returns true if an expression is null when all of its columns are.
fn keeps_null(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(Alias { expr, .. }) | Expr::Cast(Cast { expr, .. }) => keeps_null(expr),
        Expr::Negative(expr) => keeps_null(expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
            let operands = [left, right];
            op.is_numerical_operators()
                && operands.iter().any(|operand| keeps_null(operand))
                && operands.iter().all(|operand| literal(operand) || keeps_null(operand))
        }
        _ => false,
    }
}

fn has_no_references(exprs: &[Expr]) -> Result<bool> {
    for expr in exprs {
        if !of_expr(expr)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
