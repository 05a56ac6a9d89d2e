//! True if a second run of a stage's tasks makes its rows in the same order, and whether some
//! operator's answer depends on an order that it may not.
//!
//! `LIMIT`, a row number and the ties of a top-k are the same every time when their rows come in
//! the same order every time. Stages read their inputs in task order, so an order is lost only by
//! operators: one that groups by hash emits as its memory allows, and a sort that spills puts ties
//! anywhere.
//!
//! ```text
//! scan ──▶ Fixed ──filter, projection, join──▶ Fixed ──limit──▶ Fixed: exact
//!            └──partial aggregate──▶ Parts ──final aggregate──▶ Free ──limit──▶ indeterminate
//! ```

use std::sync::Arc;

use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::partitioned_topk::PartitionedTopKExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, InputOrderMode};
use gnist_common::graph::Repeatability;
use gnist_operators::collected::CollectedExec;
use gnist_operators::reader::StageReaderExec;
use gnist_operators::sample::SampleExec;
use gnist_operators::unclaimed::UnclaimedExec;
use gnist_operators::window_rows::WindowRowsExec;

use super::repeatability::rounds;

/// The differences that a second run may make to the rows of some tasks. From the safest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowOrder {
    /// No difference: the same rows in the same order.
    Fixed,
    /// The order of the rows.
    Free,
    /// The rows themselves, as parts of the same whole: the states of a partial aggregate.
    Parts,
}

/// The properties of an operator's rows that a second run may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) order: RowOrder,
    /// The worst effect of places that are not fixed, over the operators so far that look at the
    /// places of their rows.
    pub(crate) repeatability: Repeatability,
}

/// The rows of a stage's plan, whose readers read `inputs`.
pub(crate) fn rows_of(plan: &Arc<dyn ExecutionPlan>, inputs: &[RowOrder]) -> Rows {
    if let Some(reader) = plan.downcast_ref::<StageReaderExec>() {
        let order = inputs[reader.input()];
        return Rows { order, repeatability: Repeatability::Exact };
    }
    let below = plan.children().into_iter().map(|child| rows_of(child, inputs));
    let below: Vec<Rows> = below.collect();
    let order = below.iter().map(|rows| rows.order).max().unwrap_or(RowOrder::Fixed);
    let own = if order == RowOrder::Fixed { Repeatability::Exact } else { by_place(plan) };
    let repeatability = below.iter().map(|rows| rows.repeatability).fold(own, Repeatability::max);
    Rows { order: order_out(plan, order), repeatability }
}

/// The order of the rows out of an operator whose rows come in as `below`.
fn order_out(plan: &Arc<dyn ExecutionPlan>, below: RowOrder) -> RowOrder {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return of_groups(aggregate, below);
    }
    if let Some(keys) = sort_keys(plan) {
        return match below {
            RowOrder::Parts => RowOrder::Parts,
            _ if is_total(keys, plan) => RowOrder::Fixed,
            // A top-k and a merge never spill.
            _ if plan.is::<SortPreservingMergeExec>() || plan.fetch().is_some() => below,
            RowOrder::Fixed | RowOrder::Free => RowOrder::Free,
        };
    }
    if plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() {
        let is_alone = plan.children()[0].output_partitioning().partition_count() == 1;
        return if is_alone { below } else { below.max(RowOrder::Free) };
    }
    let is_leaf = plan.children().is_empty() && !plan.is::<WorkTableExec>();
    if is_leaf || keeps_order(plan) { below } else { below.max(RowOrder::Free) }
}

/// Groups come in the order of their keys, or as the memory allows.
fn of_groups(aggregate: &AggregateExec, below: RowOrder) -> RowOrder {
    if aggregate.group_expr().is_empty() {
        return RowOrder::Fixed;
    }
    let is_partial =
        matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::PartialReduce);
    match aggregate.input_order_mode() {
        InputOrderMode::Sorted if !is_partial || below == RowOrder::Fixed => RowOrder::Fixed,
        _ if is_partial => RowOrder::Parts,
        _ => RowOrder::Free,
    }
}

/// Operators whose rows come in the order of their inputs, one after the other.
fn keeps_order(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<UnclaimedExec>()
        || plan.is::<CollectedExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<UnnestExec>()
        || plan.is::<UnionExec>()
        || plan.is::<SampleExec>()
        || plan.is::<WindowRowsExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<WindowAggExec>()
        || plan.is::<BoundedWindowAggExec>()
}

fn sort_keys(plan: &Arc<dyn ExecutionPlan>) -> Option<&LexOrdering> {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return Some(sort.expr());
    }
    if let Some(sort) = plan.downcast_ref::<PartialSortExec>() {
        return Some(sort.expr());
    }
    plan.downcast_ref::<SortPreservingMergeExec>().map(SortPreservingMergeExec::expr)
}

/// Returns true if rows that are equal in their keys are equal in all columns.
fn is_total(keys: &LexOrdering, plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_key = |column: usize| {
        let column_of = |expr: &Arc<dyn PhysicalExpr>| {
            expr.downcast_ref::<Column>().is_some_and(|key| key.index() == column)
        };
        keys.iter().any(|key| column_of(&key.expr))
    };
    (0..plan.schema().fields().len()).all(is_key)
}

/// Returns the repeatability of an operator's answer when its rows come in another order.
fn by_place(plan: &Arc<dyn ExecutionPlan>) -> Repeatability {
    let functions = if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
        window.window_expr()
    } else if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
        window.window_expr()
    } else if chooses_by_place(plan) {
        return Repeatability::Indeterminate;
    } else {
        return Repeatability::Exact;
    };
    let functions = functions.iter().map(|function| of_window(function.as_ref()));
    functions.max().unwrap_or(Repeatability::Exact)
}

/// Returns true if an operator takes the first rows that come.
fn chooses_by_place(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        return limit.fetch().is_some() || limit.skip() > 0;
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return aggregate.limit_options().is_some();
    }
    plan.is::<PartitionedTopKExec>()
        || (plan.fetch().is_some() && sort_keys(plan).is_none_or(|keys| !is_total(keys, plan)))
}

/// Window functions that treat rows alike which are equal in the keys of the order.
const BY_RANK: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

/// Returns the repeatability of a window function's values when rows that are equal in the keys
/// change places.
fn of_window(function: &dyn WindowExpr) -> Repeatability {
    let any = function.as_any();
    if let Some(standard) = any.downcast_ref::<StandardWindowExpr>() {
        let function = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>();
        let is_ranked = function.is_some_and(|ranked| BY_RANK.contains(&ranked.fun().name()));
        return if is_ranked { Repeatability::Exact } else { Repeatability::Indeterminate };
    }
    let aggregate: Option<&AggregateFunctionExpr> = any
        .downcast_ref::<PlainAggregateWindowExpr>()
        .map(PlainAggregateWindowExpr::get_aggregate_expr)
        .or_else(|| {
            let sliding = any.downcast_ref::<SlidingAggregateWindowExpr>();
            sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr)
        });
    match aggregate {
        Some(_) if cuts_between_peers(function.get_window_frame()) => Repeatability::Indeterminate,
        Some(aggregate) if rounds(aggregate) => Repeatability::Rounding,
        Some(_) => Repeatability::Exact,
        None => Repeatability::Indeterminate,
    }
}

/// Returns true if a frame may begin or end between two rows of equal keys.
fn cuts_between_peers(frame: &WindowFrame) -> bool {
    let is_whole = matches!(
        (&frame.start_bound, &frame.end_bound),
        (WindowFrameBound::Preceding(first), WindowFrameBound::Following(last))
            if first.is_null() && last.is_null()
    );
    frame.units == WindowFrameUnits::Rows && !is_whole
}

#[cfg(test)]
#[path = "row_order/tests.rs"]
mod tests;
