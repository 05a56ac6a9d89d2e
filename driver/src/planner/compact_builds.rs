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

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch, StringViewArray};
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::super::rewrite;
    use super::*;

    async fn session(partitions: usize) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(partitions);
        config.options_mut().optimizer.enable_round_robin_repartition = false;
        config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
        config.options_mut().optimizer.hash_join_single_partition_threshold_rows = 0;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(CompactBuilds));
        let session = SessionContext::new_with_state(state.build());
        for name in ["t", "u", "w"] {
            let k = Arc::new(Int64Array::from_iter_values(0..9)) as _;
            let s =
                Arc::new((0..9).map(|n| Some(format!("text {n}"))).collect::<StringViewArray>());
            let batch = RecordBatch::try_from_iter([("k", k), ("s", s as _)]).unwrap();
            let batches = vec![vec![batch.clone()]; partitions];
            let table = MemTable::try_new(batch.schema(), batches).unwrap();
            session.register_table(name, Arc::new(table)).unwrap();
        }
        session
    }

    async fn plan(session: &SessionContext, query: &str) -> Plan {
        session.sql(query).await.unwrap().create_physical_plan().await.unwrap()
    }

    fn compacted(plan: &Plan) -> usize {
        displayable(plan.as_ref()).indent(false).to_string().matches("CompactExec").count()
    }

    const JOIN: &str = "select t.s, u.k from t join u on t.k = u.k";

    #[tokio::test]
    async fn only_texts_that_come_from_a_join_into_a_join_are_copied() {
        let session = session(1).await;
        let nested = format!("select a.s from ({JOIN}) a join w on a.k = w.k");
        assert_eq!(compacted(&plan(&session, &nested).await), 1);
        assert_eq!(compacted(&plan(&session, JOIN).await), 0);
        let numbers = "select t.k from t join u on t.k = u.k join w on u.k = w.k";
        assert_eq!(compacted(&plan(&session, numbers).await), 0);
    }

    #[tokio::test]
    async fn over_an_exchange_of_a_cluster_nothing_is_copied() {
        let session = session(3).await;
        let nested = "select a.s from (select t.s, u.s as x from t join u on t.k = u.k) a \
                      join u on a.x = u.s";
        let whole = plan(&session, nested).await;
        assert_eq!(compacted(&whole), 1);
        assert_eq!(compacted(&rewrite::for_tasks(whole).unwrap()), 0);
    }
}
