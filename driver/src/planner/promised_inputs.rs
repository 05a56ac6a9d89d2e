//! Inputs that do not promise what their operator requires.
//!
//! DataFusion refuses a plan of its own in two cases:
//!
//! - It sorts the arms of a union apart and takes the union for sorted. Where an arm has one column twice
//!   among the keys, the second key is dropped from what that arm promises, and the union no longer
//!   promises it. Here it is sorted again.
//! - With one slot it places no rows by their keys, and a table of several partitions under a window
//!   whose keys a filter made constant stays in several. Here they are gathered.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ChildSatisfactionOptions, ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};

use super::order::sorted_where_required;

/// DataFusion's rule that refuses such plans.
const CHECK: &str = "SanityCheckPlan";

/// Adds the rule that mends such inputs to a session's: before the one that refuses them.
pub(crate) fn with_promised_inputs(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let optimizer = builder.physical_optimizers().get_or_insert_default();
    let check = optimizer.rules.iter().position(|rule| rule.name() == CHECK);
    let place = check.unwrap_or(optimizer.rules.len());
    optimizer.rules.insert(place, Arc::new(PromisedInputs));
    builder
}

#[derive(Debug)]
struct PromisedInputs;

impl PhysicalOptimizerRule for PromisedInputs {
    fn name(&self) -> &'static str {
        "promised_inputs"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        sorted_where_required(plan.transform_up(gathered_where_required).data()?)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The operator over inputs of one partition, if the rows of one are not where it requires them.
fn gathered_where_required(
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let requirements = plan.input_distribution_requirements();
    let options = || ChildSatisfactionOptions::new().with_allow_subset(true);
    let mut are_placed = true;
    for (at, child) in plan.children().into_iter().enumerate() {
        let satisfaction = requirements.child_satisfaction(at, child.as_ref(), options())?;
        are_placed &= satisfaction.is_satisfied();
    }
    if are_placed {
        return Ok(Transformed::no(plan));
    }
    let children = plan.children().into_iter().map(gathered).collect();
    Ok(Transformed::yes(replace_children_if_necessary(plan, children)?))
}

fn gathered(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let plan = Arc::clone(plan);
    match plan.output_ordering().cloned() {
        _ if plan.output_partitioning().partition_count() == 1 => plan,
        Some(ordering) => Arc::new(SortPreservingMergeExec::new(ordering, plan)),
        None => Arc::new(CoalescePartitionsExec::new(plan)),
    }
}
