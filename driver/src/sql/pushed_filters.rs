//! Filters stay above aggregates that give a row of no rows.
//!
//! DataFusion moves a predicate without columns, such as `false` or `(select 1) = 2`, below any
//! aggregate. An aggregate without keys, or with an empty grouping set, then gives its row of
//! nothing, though the predicate excludes it. No predicate that has columns could be moved there, so
//! the filter stays where it is. All the rest is DataFusion's.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan};
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
        self.inner.rewrite(plan, config)
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
