//! `GROUPING SETS ((), ())`: the one row of all rows, once for each set.
//!
//! Sets without any key have no encoding: DataFusion counts sets by their keys. So the aggregate is
//! computed once and joined with as many rows as there are sets.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::logical_expr::{
    Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::reserved::reserved;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct EmptySets;

impl AnalyzerRule for EmptySets {
    fn name(&self) -> &'static str {
        "empty_sets"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let repeated = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => match empty_sets(&aggregate) {
                Some(sets) => repeated(aggregate, sets).map(Transformed::yes),
                None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            },
            other => Ok(Transformed::no(other)),
        });
        repeated.data()
    }
}

/// The number of sets, where there are several and all are empty.
fn empty_sets(aggregate: &Aggregate) -> Option<usize> {
    match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
            if sets.len() > 1
                && sets.iter().all(Vec::is_empty)
                && !aggregate.aggr_expr.is_empty() =>
        {
            Some(sets.len())
        }
        _ => None,
    }
}

fn repeated(aggregate: Aggregate, sets: usize) -> Result<LogicalPlan> {
    let Aggregate { input, aggr_expr, .. } = aggregate;
    let once = Aggregate::try_new(input, Vec::new(), aggr_expr)?;
    let columns = once.schema.columns().into_iter().map(Expr::Column);
    let columns: Vec<Expr> = columns.collect();
    let once = LogicalPlanBuilder::from(LogicalPlan::Aggregate(once));
    let rows = LogicalPlanBuilder::values(vec![vec![lit(0_i64)]; sets])?
        .alias(reserved("sets"))?
        .build()?;
    once.cross_join(rows)?.project(columns)?.build()
}
