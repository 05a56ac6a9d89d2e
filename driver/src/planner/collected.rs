//! Operators that collect rows, given rows that are made for it ([`CollectedExec`]).
//!
//! Sorts, windows and joins of DataFusion keep batches as they come, with every text buffer that was shared on the way.
//! In a plan of one process that is everywhere below them; in a stage of a cluster it is what this stage itself reads
//! and joins, for blocks of other tasks are compact. A sort with a limit keeps few rows, and copies those itself.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use gnist_operators::collected::{CollectedExec, Collector, has_views};
use gnist_operators::reader::StageReaderExec;
use gnist_operators::tree::with_children;
use gnist_operators::window_rows::WindowRowsExec;

type Plan = Arc<dyn ExecutionPlan>;

/// The plan, or stage of one, with a [`CollectedExec`] below every operator that needs it, and a [`WindowRowsExec`]
/// above every window whose values may be large.
///
/// # Errors
/// When DataFusion refuses an operator over its new input.
pub(super) fn with_collected_rows(plan: Plan) -> Result<Plan> {
    plan.transform_up(|node| {
        let mut inputs: Vec<Plan> = node.children().into_iter().cloned().collect();
        let mut is_new = false;
        for (side, by) in collected(&node) {
            if needs_it(&inputs[side], by) {
                inputs[side] = Arc::new(CollectedExec::new(Arc::clone(&inputs[side]), by));
                is_new = true;
            }
        }
        let is_counted = WindowRowsExec::is_needed_above(node.as_ref());
        if !is_new && !is_counted {
            return Ok(Transformed::no(node));
        }
        let node = with_children(node, inputs)?;
        Ok(Transformed::yes(if is_counted { Arc::new(WindowRowsExec::new(node)) } else { node }))
    })
    .data()
}

/// The inputs that an operator collects.
fn collected(node: &Plan) -> Vec<(usize, Collector)> {
    if node.is::<WindowAggExec>() {
        vec![(0, Collector::Window)]
    } else if is_sort_of_all_rows(node) || node.is::<BoundedWindowAggExec>() {
        vec![(0, Collector::Sort)]
    } else if node.is::<SortMergeJoinExec>() {
        vec![(0, Collector::Join), (1, Collector::Join)]
    } else if is_join(node) {
        vec![(0, Collector::Join)]
    } else {
        vec![]
    }
}

/// Returns true for rows that are to be counted, or have text buffers in common with many others. A join is spared the
/// texts of a scan, which are in few buffers.
fn needs_it(input: &Plan, by: Collector) -> bool {
    let has_texts = || input.schema().fields().iter().any(|field| has_views(field.data_type()));
    match by {
        Collector::Window => true,
        _ if input.is::<StageReaderExec>() || !has_texts() => false,
        Collector::Sort => true,
        Collector::Join => input.exists(|node| Ok(shares_texts(node))).unwrap_or(true),
    }
}

fn shares_texts(node: &Plan) -> bool {
    is_join(node)
        || node.is::<WindowAggExec>()
        || node.is::<BoundedWindowAggExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<SortExec>()
        || node.is::<AggregateExec>()
        || node.is::<UnnestExec>()
}

fn is_sort_of_all_rows(node: &Plan) -> bool {
    node.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none())
}

fn is_join(node: &Plan) -> bool {
    node.is::<HashJoinExec>() || node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch, StringViewArray};
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn collectors(query: &str) -> Vec<String> {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
        config.options_mut().optimizer.hash_join_single_partition_threshold_rows = 0;
        let session = SessionContext::new_with_config(config);
        for (name, rows) in [("t", 9), ("u", 9), ("w", 90)] {
            let k = Arc::new(Int64Array::from_iter_values(0..rows)) as _;
            let s =
                Arc::new((0..rows).map(|n| Some(format!("text {n}"))).collect::<StringViewArray>());
            let batch = RecordBatch::try_from_iter([("k", k), ("s", s as _)]).unwrap();
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            session.register_table(name, Arc::new(table)).unwrap();
        }
        let plan = session.sql(query).await.unwrap().create_physical_plan().await.unwrap();
        let plan = with_collected_rows(plan).unwrap();
        let lines = displayable(plan.as_ref()).indent(false).to_string();
        let lines: Vec<&str> = lines.lines().map(str::trim).collect();
        let above = lines.windows(2).filter(|pair| pair[1].starts_with("CollectedExec"));
        let name = |line: &str| line.split([':', ' ']).next().unwrap().to_owned();
        above.map(|pair| format!("{} {}", name(pair[0]), &pair[1][15..])).collect()
    }

    const JOIN: &str = "select t.s, u.k from t join u on t.k = u.k";

    #[tokio::test]
    async fn a_join_gets_short_texts_of_joins_and_groups() {
        let nested = format!("select a.s from ({JOIN}) a join w on a.k = w.k");
        assert_eq!(collectors(&nested).await, ["HashJoinExec by=Join"]);
        let groups = "select a.s from (select s, max(k) k from t group by s) a join w on a.k = w.k";
        assert_eq!(collectors(groups).await, ["HashJoinExec by=Join"]);
        assert!(collectors(JOIN).await.is_empty());
        let numbers = "select t.k from t join u on t.k = u.k join w on u.k = w.k";
        assert!(collectors(numbers).await.is_empty());
    }

    #[tokio::test]
    async fn a_sort_and_a_window_get_texts_of_their_own() {
        assert_eq!(collectors("select s from t order by k").await, ["SortExec by=Sort"]);
        assert_eq!(collectors("select [s] s from t order by k").await.len(), 1);
        let window = "select s, sum(k) over (partition by k % 2) from t";
        let both = ["WindowAggExec by=Window", "SortExec by=Sort"];
        assert_eq!(collectors(window).await, both);
        assert!(collectors("select s from t order by k limit 3").await.is_empty());
        assert!(collectors("select k from t order by k").await.is_empty());
        let numbers = "select sum(k) over (partition by k % 2) from t";
        assert_eq!(collectors(numbers).await, ["WindowAggExec by=Window"]);
        let running = "select sum(k) over (order by k) from t";
        assert!(collectors(running).await.is_empty());
    }
}
