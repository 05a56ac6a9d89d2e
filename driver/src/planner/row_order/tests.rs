use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::executor::block_on;
use gnist_operators::contexts::Contexts;
use gnist_operators::functions::register_functions;
use gnist_operators::guard::Guard;

use super::*;
use crate::planner::plan_job;

/// The worst of the stages of a query over the table `t` of the columns `k`, `v` and `f`.
fn worst_of(query: &str) -> Repeatability {
    let plan = block_on(async {
        let mut config = SessionConfig::new().with_target_partitions(4);
        config.options_mut().optimizer.enable_round_robin_repartition = false;
        config.options_mut().optimizer.prefer_existing_union = true;
        let mut context = SessionContext::new_with_config(config);
        register_functions(&mut context)?;
        let column = || Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("k", column()), ("v", column())])?;
        let partitions = vec![vec![batch.clone()], vec![batch.clone()], vec![batch.clone()]];
        let table = MemTable::try_new(batch.schema(), partitions)?;
        context.register_table("t", Arc::new(table))?;
        context.sql(query).await?.create_physical_plan().await
    });
    let state = SessionContext::new();
    let executors = Contexts::of_executors(state.runtime_env()).of(&[]).expect("a context");
    let job = plan_job(plan.expect("a plan"), &executors, &Guard::default()).expect("stages");
    job.drafts.iter().map(|draft| draft.repeatability).max().expect("a stage")
}

#[test]
fn what_is_chosen_from_rows_in_a_fixed_order_is_exact() {
    for query in [
        "select * from t limit 2",
        "select * from t where v > 1 limit 2 offset 1",
        "select k from t order by v limit 2",
        "select a.v from t a join t b on a.k = b.k limit 2",
        "select k, v from t order by k, v",
        "select k, rank() over (order by v) from t",
        "select k, count(*) over (partition by k), sum(v) over (order by k) from t",
        // The window is given rows of their own.
        "select k, v, count(*) over (partition by k, v) from t limit 2",
    ] {
        assert_eq!(worst_of(query), Repeatability::Exact, "{query}");
    }
}

#[test]
fn what_is_chosen_from_groups_is_indeterminate() {
    for query in [
        "select k, count(*) from t group by k limit 2",
        "select k, count(*) as n from t group by k order by n limit 2",
        "select distinct k from t limit 2",
        "select k, row_number() over () from (select k, count(*) from t group by k)",
        "with x as (select k, count(*) as n from t group by k limit 2) \
         select * from x join x y on x.k = y.k",
    ] {
        assert_eq!(worst_of(query), Repeatability::Indeterminate, "{query}");
    }
}

#[test]
fn what_tells_ties_of_a_sort_apart_is_indeterminate() {
    for query in [
        "select k, v, row_number() over (order by k) from t",
        "select k, v, lag(k) over (order by v) from t",
        "select k, sum(v) over (order by k rows between 1 preceding and current row) from t",
        "select k, first_value(v) over (order by k) from t",
    ] {
        assert_eq!(worst_of(query), Repeatability::Indeterminate, "{query}");
    }
}

#[test]
fn keys_that_leave_no_ties_are_enough() {
    for query in [
        "select k, count(*) as n from t group by k order by n, k limit 2",
        "select k, v, row_number() over (order by k, v) from t",
    ] {
        assert!(worst_of(query) < Repeatability::Indeterminate, "{query}");
    }
}
