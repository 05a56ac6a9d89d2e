//! Sorts whose limit leaves many rows.
//!
//! DataFusion keeps the first rows of a sort with a limit in memory, which can't be spilled: with a limit or an offset
//! of a million rows a sort failed that does without one. Such a sort sorts all rows, and the limit stands above it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;

/// Rows that a sort may keep: those of some batches.
const KEPT_ROWS_MAX: usize = 65_536;

type Plan = Arc<dyn ExecutionPlan>;

/// The plan with every long limit above its sort.
///
/// # Errors
/// None of its own: those of rebuilding a plan.
pub(super) fn with_long_limits_above(plan: Plan) -> Result<Plan> {
    plan.transform_up(|node| {
        let long = node.downcast_ref::<SortExec>().and_then(|sort| {
            let rows = sort.fetch().filter(|rows| *rows > KEPT_ROWS_MAX)?;
            let all = SortExec::new(sort.expr().clone(), Arc::clone(sort.input()))
                .with_preserve_partitioning(sort.preserve_partitioning());
            Some(LocalLimitExec::new(Arc::new(all), rows))
        });
        Ok(long
            .map_or_else(|| Transformed::no(node), |limit| Transformed::yes(Arc::new(limit) as _)))
    })
    .data()
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn planned(query: &str) -> String {
        let session = SessionContext::new();
        session.sql("create table t(k int) as values (1), (2)").await.unwrap();
        let plan = session.sql(query).await.unwrap().create_physical_plan().await.unwrap();
        displayable(with_long_limits_above(plan).unwrap().as_ref()).indent(false).to_string()
    }

    #[tokio::test]
    async fn a_sort_keeps_the_rows_of_a_short_limit_alone() {
        let short = planned("select k from t order by k limit 10 offset 65526").await;
        assert!(short.contains("SortExec: TopK(fetch=65536)"), "{short}");
        let long = planned("select k from t order by k limit 10 offset 65527").await;
        assert!(long.contains("LocalLimitExec: fetch=65537\n"), "{long}");
        assert!(long.contains("SortExec: expr=[k@0"), "{long}");
    }
}
