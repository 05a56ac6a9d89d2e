//! Plans that separate tasks can run.
//!
//! DataFusion lets all probe partitions of a join share one collected build side, and the last of
//! them to finish emits the build rows that found no match. Separate tasks share nothing: each
//! would emit its own unmatched rows. So a build-preserving join is partitioned here, or, where it
//! can't be (`NOT IN` must see every null of the build side; a nested loop has no key), probed by
//! one task. What DataFusion's encoding would lose is rewritten here too.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, PartitionMode,
};
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use gnist_operators::tree::with_children;

use super::nullability;

type Plan = Arc<dyn ExecutionPlan>;

/// Rewrites every join of the plan that separate tasks would answer wrongly.
///
/// # Errors
/// When DataFusion refuses the rewritten join.
pub(super) fn for_tasks(plan: Plan) -> Result<Plan> {
    plan.transform_up(|node| {
        if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            return rewrite_hash_join(join, &node);
        }
        if let Some(made) = nullability::of_input(&node)? {
            return Ok(Transformed::yes(made));
        }
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && emits_unmatched_build_rows(*join.join_type())
            && partition_count(join.right()) > 1
        {
            let left = Arc::clone(join.left());
            let right = gather(join.right());
            return Ok(Transformed::yes(with_children(node, vec![left, right])?));
        }
        if let Some(series) = node.downcast_ref::<LazyMemoryExec>()
            && series.schema().fields().is_empty()
        {
            return Ok(Transformed::yes(series_without_columns(series)?));
        }
        Ok(Transformed::no(node))
    })
    .data()
}

/// A series of which only the number of rows is read: its encoding knows no projection, so the
/// column travels and is dropped there.
fn series_without_columns(series: &LazyMemoryExec) -> Result<Plan> {
    let generators = series.generators().clone();
    let first = match generators.first() {
        Some(generator) => {
            let fresh = generator.read().reset_state();
            fresh.write().generate_next_batch()?
        }
        None => None,
    };
    let Some(first) = first else {
        return Ok(Arc::new(EmptyExec::new(series.schema())));
    };
    let whole = Arc::new(LazyMemoryExec::try_new(first.schema(), generators)?);
    let nothing: Vec<ProjectionExpr> = Vec::new();
    Ok(Arc::new(ProjectionExec::try_new(nothing, whole)?))
}

fn rewrite_hash_join(join: &HashJoinExec, node: &Plan) -> Result<Transformed<Plan>> {
    let partitions = partition_count(join.right());
    let shared = matches!(join.partition_mode(), PartitionMode::CollectLeft)
        && emits_unmatched_build_rows(*join.join_type())
        && partitions > 1;
    if !shared {
        return Ok(Transformed::no(Arc::clone(node)));
    }
    if join.null_aware {
        let left = Arc::clone(join.left());
        let one_probe = with_children(Arc::clone(node), vec![left, gather(join.right())])?;
        return Ok(Transformed::yes(one_probe));
    }
    let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    let left = exchange(&without_gather(join.left()), left_keys, partitions)?;
    let right = exchange(join.right(), right_keys, partitions)?;
    let builder = HashJoinExecBuilder::new(left, right, join.on().to_vec(), *join.join_type());
    let partitioned = builder
        .with_filter(join.filter().cloned())
        .with_projection_ref(join.projection.clone())
        .with_null_equality(join.null_equality())
        .with_partition_mode(PartitionMode::Partitioned)
        .build_exec()?;
    Ok(Transformed::yes(partitioned))
}

/// Join types that emit build rows without a match, or build rows once each.
fn emits_unmatched_build_rows(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Left
        | JoinType::Full
        | JoinType::LeftSemi
        | JoinType::LeftAnti
        | JoinType::LeftMark => true,
        JoinType::Inner
        | JoinType::Right
        | JoinType::RightSemi
        | JoinType::RightAnti
        | JoinType::RightMark => false,
    }
}

fn partition_count(plan: &Plan) -> usize {
    plan.output_partitioning().partition_count()
}

fn gather(plan: &Plan) -> Plan {
    Arc::new(CoalescePartitionsExec::new(Arc::clone(plan)))
}

fn without_gather(plan: &Plan) -> Plan {
    match plan.downcast_ref::<CoalescePartitionsExec>() {
        Some(gather) if gather.fetch().is_none() => Arc::clone(gather.input()),
        _ => Arc::clone(plan),
    }
}

fn exchange(
    plan: &Plan,
    keys: Vec<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    partitions: usize,
) -> Result<Plan> {
    let partitioning = Partitioning::Hash(keys, partitions);
    Ok(Arc::new(RepartitionExec::try_new(Arc::clone(plan), partitioning)?))
}
