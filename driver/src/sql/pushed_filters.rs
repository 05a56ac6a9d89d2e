//! DataFusion's rule that moves filters, with three of its faults mended.
//!
//! **Filters stay above aggregates that give a row of no rows.** DataFusion moves a predicate without
//! columns, such as `false` or `(select 1) = 2`, below any aggregate. An aggregate without keys, or with an empty grouping set, then gives its row of
//! nothing, though the predicate excludes it. No predicate that has columns could be moved there, so
//! the filter stays where it is.
//!
//! **Constants stand on the right.** The rule keeps one of the comparisons of a column with constants,
//! and takes `x = 1` and `1 = x` for two values that no row has at once, and `1 < x` for weaker than
//! `x >= 1`.
//!
//! **What is drawn anew for each row stays where it is.** The rule moves `random() < 0.5` below groupings
//! and windows, and out of the condition of an outer join, and draws for other rows.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::{conjunction, iter_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Aggregate, Expr, Filter, GroupingSet, Join, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule in DataFusion's place. See the module.
#[derive(Debug, Default)]
pub(super) struct PushedFilters {
    inner: PushDownFilter,
}

impl OptimizerRule for PushedFilters {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if is_over_a_row_of_nothing(&plan) {
            return Ok(Transformed::no(plan));
        }
        let LogicalPlan::Filter(filter) = plan else { return self.pushed(plan, config) };
        let filter = match with_volatile_above(filter)? {
            Volatile::Above(plan) => return Ok(Transformed::yes(plan)),
            Volatile::Alone(filter) => return Ok(Transformed::no(LogicalPlan::Filter(filter))),
            Volatile::Absent(filter) => with_constants_right(filter),
        };
        let is_new = filter.transformed;
        let mut pushed = self.pushed(LogicalPlan::Filter(filter.data), config)?;
        pushed.transformed |= is_new;
        Ok(pushed)
    }
}

impl PushedFilters {
    /// The rule's rewrite, which doesn't see the volatile conditions of the join.
    fn pushed(
        &self,
        mut plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut volatile = Vec::new();
        if has_volatile_join(&plan) {
            in_join(&mut plan, &mut |join| {
                let conditions = join.filter.take().map(split_conjunction_owned);
                let conditions = conditions.unwrap_or_default().into_iter();
                let (drawn, others): (Vec<_>, Vec<_>) = conditions.partition(Expr::is_volatile);
                volatile = drawn;
                join.filter = conjunction(others);
            });
        }
        let mut pushed = self.inner.rewrite(plan, config)?;
        if !volatile.is_empty() {
            in_join(&mut pushed.data, &mut |join| {
                let others = join.filter.take().into_iter();
                join.filter = conjunction(others.chain(std::mem::take(&mut volatile)));
            });
        }
        assert!(volatile.is_empty(), "the rule leaves the join where it is");
        Ok(pushed)
    }
}

/// True for a join with a volatile condition, also below filters.
fn has_volatile_join(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => join.filter.as_ref().is_some_and(Expr::is_volatile),
        LogicalPlan::Filter(filter) => has_volatile_join(&filter.input),
        _ => false,
    }
}

/// Changes the join that a plan is, also below filters.
fn in_join(plan: &mut LogicalPlan, change: &mut dyn FnMut(&mut Join)) {
    match plan {
        LogicalPlan::Join(join) => change(join),
        LogicalPlan::Filter(filter) => in_join(Arc::make_mut(&mut filter.input), change),
        _ => {}
    }
}

/// A filter, by its volatile conditions.
enum Volatile {
    /// The filter has no volatile condition.
    Absent(Filter),
    /// The filter has no other condition.
    Alone(Filter),
    /// The volatile conditions are those of the upper one of two filters.
    Above(LogicalPlan),
}

/// Looks at the conditions of a filter, and at those of a volatile one right below it.
fn with_volatile_above(mut filter: Filter) -> Result<Volatile> {
    let (mut volatile, mut others) = parts(&filter.predicate);
    let mut input = Arc::clone(&filter.input);
    if let LogicalPlan::Filter(below) = filter.input.as_ref()
        && volatile.is_empty()
    {
        let (volatile_below, others_below) = parts(&below.predicate);
        if !volatile_below.is_empty() {
            volatile = volatile_below;
            others.splice(0..0, others_below);
            input = Arc::clone(&below.input);
        }
    }
    Ok(match (conjunction(volatile), conjunction(others)) {
        (None, _) => Volatile::Absent(filter),
        (Some(_), None) => Volatile::Alone(filter),
        (Some(volatile), Some(others)) => {
            (filter.predicate, filter.input) = (others, input);
            let above = Filter::try_new(volatile, Arc::new(LogicalPlan::Filter(filter)))?;
            Volatile::Above(LogicalPlan::Filter(above))
        }
    })
}

/// The conditions of a predicate: those that are volatile, and the others.
fn parts(predicate: &Expr) -> (Vec<Expr>, Vec<Expr>) {
    split_conjunction_owned(predicate.clone()).into_iter().partition(Expr::is_volatile)
}

/// The filter, and those right below it, with every constant on the right of its comparison.
fn with_constants_right(mut filter: Filter) -> Transformed<Filter> {
    let mut is_new = false;
    if iter_conjunction(&filter.predicate).any(has_constant_left) {
        let conditions = split_conjunction_owned(filter.predicate).into_iter().map(turned);
        filter.predicate = conjunction(conditions).expect("a filter has a condition");
        is_new = true;
    }
    if let LogicalPlan::Filter(below) = filter.input.as_ref() {
        let below = with_constants_right(below.clone());
        is_new |= below.transformed;
        if below.transformed {
            filter.input = Arc::new(LogicalPlan::Filter(below.data));
        }
    }
    Transformed::new_transformed(filter, is_new)
}

fn has_constant_left(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(BinaryExpr { left, op, right })
        if op.swap().is_some()
            && matches!(left.as_ref(), Expr::Literal(..))
            && matches!(right.as_ref(), Expr::Column(_)))
}

fn turned(expr: Expr) -> Expr {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(left.as_ref(), Expr::Literal(..))
                && matches!(right.as_ref(), Expr::Column(_))
                && let Some(swapped) = op.swap() =>
        {
            Expr::BinaryExpr(BinaryExpr { left: right, op: swapped, right: left })
        }
        other => other,
    }
}

/// Returns true for a filter over such an aggregate, also with other filters between.
fn is_over_a_row_of_nothing(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    match &*filter.input {
        LogicalPlan::Aggregate(aggregate) => gives_a_row_of_nothing(aggregate),
        input => is_over_a_row_of_nothing(input),
    }
}

fn gives_a_row_of_nothing(aggregate: &Aggregate) -> bool {
    match aggregate.group_expr.as_slice() {
        [] | [Expr::GroupingSet(GroupingSet::Rollup(_) | GroupingSet::Cube(_))] => true,
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets.iter().any(Vec::is_empty),
        _ => false,
    }
}
