//! Aggregates whose limit DataFusion would refuse to run, without it.
//!
//! The rules that run after the one that sets the limit may bring an order to the aggregate's input,
//! see [`gnist_operators::soft_limit`].

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use gnist_operators::soft_limit::without_refused_limit;

/// The rule. It goes last.
#[derive(Debug)]
pub(crate) struct SoftLimits;

impl PhysicalOptimizerRule for SoftLimits {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match without_refused_limit(&plan) {
                Some(aggregate) => Transformed::yes(aggregate),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "soft_limits"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
