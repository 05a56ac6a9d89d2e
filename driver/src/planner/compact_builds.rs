//! Joins that collect the rows of joins, texts copied together first.
//!
//! The rows that a join finds have all text buffers of its build side ([`CompactExec`]). Collected by
//! another join they took a third of TPC-H's query 18.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use gnist_operators::compact::{CompactExec, has_views};
use gnist_operators::tree::with_children;

type Plan = Arc<dyn ExecutionPlan>;

/// Puts a [`CompactExec`] on every side that a join collects, if it has texts and joins.
#[derive(Debug)]
pub(crate) struct CompactBuilds;

impl PhysicalOptimizerRule for CompactBuilds {
    fn optimize(&self, plan: Plan, _: &ConfigOptions) -> Result<Plan> {
        plan.transform_up(|node| {
            if !collects_left(&node) {
                return Ok(Transformed::no(node));
            }
            let sides = node.children();
            let (left, right) = (Arc::clone(sides[0]), Arc::clone(sides[1]));
            let has_texts = left.schema().fields().iter().any(|it| has_views(it.data_type()));
            if !has_texts || !left.exists(|node| Ok(collects_left(node)))? {
                return Ok(Transformed::no(node));
            }
            let left = Arc::new(CompactExec::new(left));
            Ok(Transformed::yes(with_children(node, vec![left, right])?))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "compact_builds"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn collects_left(node: &Plan) -> bool {
    node.is::<HashJoinExec>() || node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>()
}

/// The input of a [`CompactExec`] over an exchange: what comes from another task is compact.
pub(super) fn exchange_below(node: &Plan) -> Option<Plan> {
    let input = node.downcast_ref::<CompactExec>()?.input();
    (input.is::<RepartitionExec>() || input.is::<CoalescePartitionsExec>())
        .then(|| Arc::clone(input))
}
