//! Joins that would wait for a partition which nobody asks.
//!
//! A hash join makes a filter for its probe side from its build side, and no partition goes on until
//! every partition was asked for rows once. A join around it whose own build side is empty in one
//! partition is done there, and never asks. DataFusion counts a partition that is dropped as asked,
//! but only of joins whose build side is partitioned: where all partitions share it, the other ones
//! wait for ever (apache/datafusion#21625).
//!
//! ```text
//! HashJoin: Partitioned         empty in partition 1: it is done, its probe side dropped
//! ├─ …
//! └─ HashJoin: CollectLeft      partition 0 waits for partition 1
//!    ├─ …
//!    └─ Aggregate: FinalPartitioned
//! ```
//!
//! Such a join makes no filter. Below an exchange it may: an exchange asks all of its inputs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::replace_children_if_necessary;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

/// The rule. It goes after the one that gives joins their filters.
#[derive(Debug)]
pub(crate) struct JoinsApart;

impl PhysicalOptimizerRule for JoinsApart {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        apart(plan, false)
    }

    fn name(&self) -> &'static str {
        "joins_apart"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The plan whose joins never wait for a partition that is left. `may_be_left`: an operator above
/// may end in one partition without having asked for a row of it.
fn apart(plan: Arc<dyn ExecutionPlan>, may_be_left: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let join = plan.downcast_ref::<HashJoinExec>();
    let is_shared = join.is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
    let may_be_left = may_be_left && !is_exchange(&plan);
    let mut children = Vec::new();
    for (at, child) in plan.children().into_iter().enumerate() {
        let of_child = match join {
            Some(_) if is_shared => may_be_left && at == 1,
            Some(_) => may_be_left || at == 1,
            None => may_be_left,
        };
        children.push(apart(Arc::clone(child), of_child)?);
    }
    let waits = |join: &&HashJoinExec| {
        may_be_left && is_shared && !join.dynamic_expressions_produced().is_empty()
    };
    match join.filter(waits) {
        Some(join) => join.builder().with_new_children(children)?.reset_state().build_exec(),
        None => replace_children_if_necessary(plan, children),
    }
}

fn is_exchange(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
}
