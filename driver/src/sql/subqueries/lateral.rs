//! Joins whose right side refers to the left, and subqueries in the condition of a join.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection};

use super::domain::{Domain, called, refused};
use super::exists::join as join_on;
use super::node::{Place, only};
use super::references::{self, Reference};
use super::shape::is_simple;
use super::{Rewriter, holds_subquery};

impl Rewriter {
    pub(super) fn join(&mut self, join: Join) -> Result<LogicalPlan> {
        let plan = LogicalPlan::Join(join);
        let plan = if super::mentions_subquery(&plan)? { self.inner_plans(plan)? } else { plan };
        let LogicalPlan::Join(join) = plan else { return Ok(plan) };
        if is_lateral(&join.right) {
            return self.lateral(join);
        }
        match &join.filter {
            Some(filter) if holds_subquery(filter)? => self.condition(join),
            _ => Ok(LogicalPlan::Join(join)),
        }
    }

    fn lateral(&self, join: Join) -> Result<LogicalPlan> {
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return refused("the right side of this kind of join");
        }
        let references = references::of_plan(&join.right)?;
        let own =
            references.iter().filter(|reference| join.left.schema().has_column(&reference.column));
        let own: Vec<Reference> = own.cloned().collect();
        let is_own = own.len() == references.len();
        if self.depth == 0 && is_own && is_plain_lateral(&join.right)? {
            return Ok(LogicalPlan::Join(join));
        }
        if join.join_type == JoinType::Inner && is_row_by_row(&join.right) {
            return self.row_by_row(join);
        }
        let domain = Domain::distinct(&join.left, &own)?;
        let (right, keys) = self.for_all(&join.right, &domain)?;
        let left = Arc::unwrap_or_clone(join.left);
        let joined = join_on(join.join_type, left, right, domain.pairs(&keys), join.filter)?;
        only(&join.schema, joined)
    }

    /// A right side that works on one row of the left at a time, as `unnest` does, is computed in
    /// the left rows themselves: nothing is joined.
    fn row_by_row(&self, join: Join) -> Result<LogicalPlan> {
        let left = join.left.schema();
        let domain = Domain::rows(&join.left, left.columns())?;
        let (plan, keys) = self.for_all(&join.right, &domain)?;
        let left = keys
            .into_iter()
            .zip(left.iter())
            .map(|(key, (relation, field))| called(Expr::Column(key), relation, field.name()));
        let right = join.right.schema().columns().into_iter().map(Expr::Column);
        let columns = left.chain(right).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        match join.filter {
            Some(filter) => Ok(LogicalPlan::Filter(Filter::try_new(filter, Arc::new(plan))?)),
            None => Ok(plan),
        }
    }

    /// Conjuncts with subqueries: of an inner join, they are a filter above it; of another, they
    /// are a column of the side they look at.
    fn condition(&self, mut join: Join) -> Result<LogicalPlan> {
        let original = Arc::clone(&join.schema);
        let filter = join.filter.take().expect("a condition");
        let (with, mut without): (Vec<_>, Vec<_>) = split_conjunction_owned(filter)
            .into_iter()
            .partition(|conjunct| holds_subquery(conjunct).unwrap_or(true));
        if join.join_type == JoinType::Inner {
            join.filter = conjunction(without);
            let above = conjunction(with).expect("a condition with a subquery");
            return self.filter(Filter::try_new(above, Arc::new(LogicalPlan::Join(join)))?);
        }
        let mut left = Arc::unwrap_or_clone(join.left);
        let mut right = Arc::unwrap_or_clone(join.right);
        for conjunct in with {
            let side = if looks_at(&conjunct, &left)? {
                &mut left
            } else if looks_at(&conjunct, &right)? {
                &mut right
            } else {
                return refused("a subquery in the condition of an outer join");
            };
            without.push(self.rewritten(conjunct, side, Place::OTHER)?);
        }
        let joined = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on,
            conjunction(without),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        only(&original, LogicalPlan::Join(joined))
    }
}

/// Returns true if the right side of a join is a query over each row of the left one.
pub(in crate::sql) fn is_lateral(right: &LogicalPlan) -> bool {
    match right {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => matches!(*alias.input, LogicalPlan::Subquery(_)),
        _ => false,
    }
}

fn inside(right: &LogicalPlan) -> &LogicalPlan {
    match right {
        LogicalPlan::Subquery(subquery) => &subquery.subquery,
        LogicalPlan::SubqueryAlias(alias) => inside(&alias.input),
        other => other,
    }
}

/// True if DataFusion's join on the filters of the right side has the same rows. Not so below
/// DISTINCT, which its pull-up makes distinct by the filtered columns too.
fn is_plain_lateral(right: &LogicalPlan) -> Result<bool> {
    let query = inside(right);
    let distinct = query.exists(|node| Ok(matches!(node, LogicalPlan::Distinct(_))))?;
    Ok(!distinct && is_simple(query)?)
}

fn is_row_by_row(right: &LogicalPlan) -> bool {
    match right {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Unnest(_) => right.inputs().into_iter().all(is_row_by_row),
        _ => false,
    }
}

/// Returns true if all that the subqueries of an expression look at is in this plan.
fn looks_at(expr: &Expr, plan: &LogicalPlan) -> Result<bool> {
    let mut all = true;
    expr.apply(|expr| {
        let operand = match expr {
            Expr::InSubquery(within) => Some(&within.expr),
            Expr::SetComparison(set) => Some(&set.expr),
            _ => None,
        };
        let columns = operand.map(|operand| operand.column_refs()).unwrap_or_default();
        all &= columns.into_iter().all(|column| plan.schema().has_column(column));
        let references = references::of_subquery(expr)?;
        all &= references.iter().all(|found| plan.schema().has_column(&found.column));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(all)
}
