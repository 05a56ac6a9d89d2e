//! One subquery as a column of the rows it is asked about.
//!
//! ```text
//! rows ──▶ rows LeftMark q  on outer values   (EXISTS: one column, `mark`)
//! rows ──▶ rows Left values on outer values   (a scalar subquery: one column)
//! ```
//!
//! Rows stay as many as they are: the values hold each combination of outer columns once. A
//! subquery without references is a value of its own, computed once, and adds no join.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, NullEquality, Result, Spans, TableReference};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, Join, JoinConstraint, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
    SubqueryAlias, lit,
};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use super::Rewriter;
use super::domain::{Domain, key_name};
use super::quantified::value_name;
use super::references::{self, Reference};
use super::shape::is_simple;

impl Rewriter {
    /// True if `query` has a row, as an expression over the rows of `input`, which gains columns.
    pub(super) fn exists(&self, query: &LogicalPlan, input: &mut LogicalPlan) -> Result<Expr> {
        let references = references::of_plan(query)?;
        if references.is_empty() {
            return some_row(query.clone());
        }
        let own = own(&references, input);
        let relation = self.relation("exists");
        if own.len() == references.len()
            && is_simple(query)?
            && let Some((right, condition)) = pulled_up(query, &relation)?
        {
            return mark(input, right, Vec::new(), Some(condition), relation);
        }
        let domain = Domain::distinct(input, &own)?;
        let (plan, keys) = self.for_all(query, &domain)?;
        let right = named(plan, &keys, None, &relation)?;
        if own.is_empty() {
            return mark(input, right, Vec::new(), Some(lit(true)), relation);
        }
        mark(input, right, domain.pairs(&key_columns(&relation, keys.len())), None, relation)
    }

    /// The value of `query`, which has one row at most, as an expression over the rows of `input`,
    /// which gains a column.
    pub(super) fn scalar(&self, query: &LogicalPlan, input: &mut LogicalPlan) -> Result<Expr> {
        let own = own(&references::of_plan(query)?, input);
        let value = Column::from(query.schema().qualified_field(0));
        let domain = Domain::distinct(input, &own)?;
        let (plan, keys) = self.for_all(query, &domain)?;
        let relation = self.relation("scalar");
        let right = named(plan, &keys, Some(value), &relation)?;
        let pairs = domain.pairs(&key_columns(&relation, keys.len()));
        let condition = pairs.is_empty().then(|| lit(true));
        *input = join(JoinType::Left, input.clone(), right, pairs, condition)?;
        Ok(Expr::Column(Column::new(Some(relation), value_name())))
    }
}

/// The references that are to these rows; others are to a query further out.
fn own(references: &[Reference], input: &LogicalPlan) -> Vec<Reference> {
    let own = references.iter().filter(|reference| input.schema().has_column(&reference.column));
    own.cloned().collect()
}

/// Returns true if a query without references has a row: a value, computed once.
fn some_row(query: LogicalPlan) -> Result<Expr> {
    let counted = LogicalPlanBuilder::from(query)
        .limit(0, Some(1))?
        .aggregate(Vec::<Expr>::new(), [count(lit(1))])?
        .build()?;
    let rows = Expr::Column(Column::from(counted.schema().qualified_field(0)));
    let plan = LogicalPlanBuilder::from(counted)
        .project([rows.gt(lit(0_i64)).alias("exists")])?
        .build()?;
    Ok(Expr::ScalarSubquery(references::subquery(plan, Spans::new())))
}

/// A simple query without the filters that refer to the outside, and their condition. None when
/// two of its columns would be called the same.
fn pulled_up(
    query: &LogicalPlan,
    relation: &TableReference,
) -> Result<Option<(LogicalPlan, Expr)>> {
    let mut pull_up = PullUpCorrelatedExpr::new().with_exists_sub_query(true);
    let plan = query.clone().rewrite(&mut pull_up).data()?;
    let columns = pull_up.correlated_subquery_cols_map.values().flatten();
    let columns: BTreeSet<&Column> = columns.collect();
    let names: BTreeSet<&str> = plan.schema().fields().iter().map(|f| f.name().as_str()).collect();
    if !pull_up.can_pull_up || names.len() < plan.schema().fields().len() {
        return Ok(None);
    }
    let condition = conjunction(pull_up.join_filters.clone()).unwrap_or_else(|| lit(true));
    let condition = condition.transform(|expr| match expr {
        Expr::Column(column) if columns.contains(&column) => {
            let column = Column::new(Some(relation.clone()), column.name);
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    });
    let plan = SubqueryAlias::try_new(Arc::new(plan), relation.clone())?;
    Ok(Some((LogicalPlan::SubqueryAlias(plan), condition.data()?)))
}

/// The keys of a plan and a value of it, under a name of their own.
fn named(
    plan: LogicalPlan,
    keys: &[Column],
    value: Option<Column>,
    relation: &TableReference,
) -> Result<LogicalPlan> {
    let own = |expr: Expr, name: String| expr.alias_qualified(Some(relation.clone()), name);
    let mut columns: Vec<Expr> = Vec::new();
    columns.extend(value.map(|value| own(Expr::Column(value), value_name())));
    let keys = keys.iter().enumerate();
    columns.extend(keys.map(|(at, key)| own(Expr::Column(key.clone()), key_name(at))));
    if columns.is_empty() {
        columns.push(own(lit(true), value_name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

fn key_columns(relation: &TableReference, keys: usize) -> Vec<Column> {
    (0..keys).map(|at| Column::new(Some(relation.clone()), key_name(at))).collect()
}

/// Adds the mark of a join to the rows of `input`.
fn mark(
    input: &mut LogicalPlan,
    right: LogicalPlan,
    pairs: Vec<(Expr, Expr)>,
    condition: Option<Expr>,
    relation: TableReference,
) -> Result<Expr> {
    *input = join(JoinType::LeftMark, input.clone(), right, pairs, condition)?;
    Ok(Expr::Column(Column::new(Some(relation), "mark")))
}

/// A join whose pairs are equal when both are null.
pub(super) fn join(
    join_type: JoinType,
    left: LogicalPlan,
    right: LogicalPlan,
    pairs: Vec<(Expr, Expr)>,
    condition: Option<Expr>,
) -> Result<LogicalPlan> {
    let null_equality = match pairs.is_empty() {
        true => NullEquality::NullEqualsNothing,
        false => NullEquality::NullEqualsNull,
    };
    let (left, right) = (Arc::new(left), Arc::new(right));
    let on = JoinConstraint::On;
    let join = Join::try_new(left, right, pairs, condition, join_type, on, null_equality, false)?;
    Ok(LogicalPlan::Join(join))
}
