//! Joins that let go of their thread.
//!
//! DataFusion's operators are stopped between two waits for input. A join of few rows with many
//! matches makes output for minutes without waiting once, so its task would keep its slot long
//! after its job was cancelled. Here every operator that can make more rows than it reads counts
//! as one that waits.
//!
//! Tokio lets a task make 128 steps before it has to wait, and DataFusion counts a step for each such
//! operator that is asked, one inside the other: in a chain of more joins the last one would never be
//! asked, and the task would wait for ever. So in long chains some joins stay bare.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;

/// Operators on one path that count as waiting: with scans and exchanges, fewer than the steps of a task.
const COUNTED_MAX: usize = 64;

/// Wraps every operator that multiplies rows. It goes last: other rules look for bare joins.
#[derive(Debug)]
pub(crate) struct CooperativeJoins;

impl PhysicalOptimizerRule for CooperativeJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (longest, mut heights) = heights(&plan);
        let every = longest.div_ceil(COUNTED_MAX).max(1);
        // The heights are in the order of this walk.
        let wrapped = plan.transform_up(|plan| {
            let height = heights.pop_front().unwrap_or(0);
            if multiplies_rows(&plan) && height % every == 0 {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as _));
            }
            Ok(Transformed::no(plan))
        });
        wrapped.map(|plan| plan.data)
    }

    fn name(&self) -> &'static str {
        "cooperative_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Operators on the longest path that multiply rows, and for each operator those on the longest path
/// below it and itself, in postorder.
fn heights(plan: &Arc<dyn ExecutionPlan>) -> (usize, VecDeque<usize>) {
    fn visit(plan: &Arc<dyn ExecutionPlan>, found: &mut VecDeque<usize>) -> usize {
        let below = plan.children().into_iter().map(|child| visit(child, found)).max();
        let height = below.unwrap_or(0) + usize::from(multiplies_rows(plan));
        found.push_back(height);
        height
    }
    let mut found = VecDeque::new();
    (visit(plan, &mut found), found)
}

fn multiplies_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<UnnestExec>()
}
