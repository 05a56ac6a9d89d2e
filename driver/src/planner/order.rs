//! The order of rows across the cuts of a plan.
//!
//! Inside one process an exchange can merge its sorted inputs as they come. Between stages the rows
//! of several tasks are read one task after the other, so a reader may promise an order only where
//! something restores it:
//!
//! ```text
//! producer                          reader                       promises
//! one task                          Shuffle                      its order
//! many tasks, preserve_order        Ordered: merges their runs   the order it merges by
//! many tasks                        Shuffle, Gather              nothing
//! many tasks, read one by one       Merge, Each, Runs            the order of each task
//! ```
//!
//! A cut may keep less than DataFusion's plan promised: of two declared orders a merge keeps one. So
//! whatever an operator requires is compared with what its rebuilt inputs promise, and is sorted
//! again where they don't.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, LexRequirement};
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use gnist_operators::reader::ReadMode;
use gnist_operators::tree::with_children;

use super::cut::Plan;

/// Returns the way in which the partitions of an exchange are read, and the equivalences of its
/// `producer` that this keeps.
pub(super) fn after_exchange(
    exchange: &RepartitionExec,
    producer: &Plan,
) -> (ReadMode, EquivalenceProperties) {
    let tasks = producer.output_partitioning().partition_count();
    let equivalence = producer.properties().eq_properties.clone();
    if tasks == 1 {
        return (ReadMode::Shuffle, equivalence);
    }
    let mut kept = of_several_tasks(equivalence);
    match order_to_keep(exchange) {
        Some(ordering) => {
            kept.add_ordering(ordering);
            (ReadMode::Ordered { runs: u32::try_from(tasks).expect("tasks are u32") }, kept)
        }
        None => (ReadMode::Shuffle, kept),
    }
}

/// The order that an exchange of several sorted inputs has to keep.
fn order_to_keep(exchange: &RepartitionExec) -> Option<LexOrdering> {
    if exchange.preserve_order() { exchange.input().output_ordering().cloned() } else { None }
}

/// Returns the equivalences that still hold when the rows of several tasks come together: what is
/// equal stays equal.
pub(super) fn of_several_tasks(mut equivalence: EquivalenceProperties) -> EquivalenceProperties {
    equivalence.clear_orderings();
    equivalence.clear_per_partition_constants();
    equivalence
}

/// The plan, each of its partitions sorted by `ordering`.
pub(super) fn sorted_by(plan: Plan, ordering: &LexOrdering) -> Result<Plan> {
    if plan.equivalence_properties().ordering_satisfy(ordering.iter().cloned())? {
        return Ok(plan);
    }
    Ok(Arc::new(SortExec::new(ordering.clone(), plan).with_preserve_partitioning(true)))
}

/// The plan, every input sorted again that does not promise the order its operator requires.
pub(super) fn sorted_where_required(plan: Plan) -> Result<Plan> {
    plan.transform_up(|node| {
        let required = node.required_input_ordering();
        if required.iter().all(Option::is_none) {
            return Ok(Transformed::no(node));
        }
        let mut is_changed = false;
        let mut children = Vec::new();
        for (child, required) in node.children().into_iter().zip(required) {
            let kept = match required {
                Some(required) => sorted_as(child, &required.into_single())?,
                None => Arc::clone(child),
            };
            is_changed |= !Arc::ptr_eq(&kept, child);
            children.push(kept);
        }
        if !is_changed {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(with_children(node, children)?))
    })
    .data()
}

fn sorted_as(child: &Plan, required: &LexRequirement) -> Result<Plan> {
    if child.equivalence_properties().ordering_satisfy_requirement(required.clone())? {
        return Ok(Arc::clone(child));
    }
    let ordering = LexOrdering::from(required.clone());
    Ok(Arc::new(SortExec::new(ordering, Arc::clone(child)).with_preserve_partitioning(true)))
}
