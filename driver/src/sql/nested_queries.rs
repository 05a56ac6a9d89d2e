//! A bound on queries inside the expressions of queries, level by level.
//!
//! DataFusion's check of a plan looks into the queries of a node's expressions twice: as it walks there,
//! and because the expression asks for it. Each level of `x IN (SELECT ... WHERE y IN (...))` so doubles the
//! time of planning, and 30 levels take minutes. The rule is the first of the analyzer, before
//! that check, and a subquery in `FROM` is no level: it costs what it holds.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

use super::subqueries::references::query_of;

/// Queries inside each other's expressions.
pub(super) const LEVELS_MAX: usize = 16;

/// The rule.
#[derive(Debug)]
pub(super) struct NestedQueries;

impl AnalyzerRule for NestedQueries {
    fn name(&self) -> &'static str {
        "nested_queries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        match levels(&plan)? {
            found if found > LEVELS_MAX => Err(DataFusionError::Plan(format!(
                "the statement is too deep: {found} queries stand in expressions of each other, and {LEVELS_MAX} \
                 are the most; join with the inner ones in FROM, or write their rows to a table"
            ))),
            _ => Ok(plan),
        }
    }
}

/// The longest path of queries in expressions. Every node is visited once.
fn levels(plan: &LogicalPlan) -> Result<usize> {
    let mut most = 0;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some(query) = query_of(expr) {
                    most = most.max(1 + levels(&query.subquery)?);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(most)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::logical_expr::{LogicalPlanBuilder, lit, scalar_subquery};

    use super::*;

    fn nested(levels: usize) -> LogicalPlan {
        let one = LogicalPlanBuilder::empty(true).project([lit(1)]).expect("a column");
        let one = one.build().expect("one row");
        (0..levels).fold(one, |plan, _| {
            let outer = LogicalPlanBuilder::empty(true);
            let query = scalar_subquery(Arc::new(plan));
            outer.project([query]).expect("a projection").build().expect("a plan")
        })
    }

    #[test]
    fn every_node_is_looked_at_once() {
        // Two visits a level would be 2^100.
        assert_eq!(levels(&nested(100)).expect("levels"), 100);
    }

    #[test]
    fn the_limit_is_the_last_that_is_planned() {
        let analyze = |levels| NestedQueries.analyze(nested(levels), &ConfigOptions::default());
        assert!(analyze(LEVELS_MAX).is_ok());
        let error = analyze(LEVELS_MAX + 1).expect_err("too deep").to_string();
        assert!(error.contains("17 queries stand in expressions of each other"), "{error}");
    }
}
