//! `DISTINCT` over rows that `unnest` copied.
//!
//! DataFusion knows that groups are distinct, and drops a `DISTINCT` over them. It forgets that `unnest`
//! makes several rows of one. Here such a `DISTINCT` is the grouping by all columns that it becomes
//! anyway.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct DistinctUnnested;

impl AnalyzerRule for DistinctUnnested {
    fn name(&self) -> &'static str {
        "distinct_unnested"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let grouped = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::Distinct(Distinct::All(input)) = &node else {
                return Ok(Transformed::no(node));
            };
            if !input.exists(|below| Ok(matches!(below, LogicalPlan::Unnest(_))))? {
                return Ok(Transformed::no(node));
            }
            let columns: Vec<Expr> =
                input.schema().columns().into_iter().map(Expr::Column).collect();
            let groups = Aggregate::try_new(input.clone(), columns, Vec::new())?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(groups)))
        });
        grouped.data()
    }
}
