//! Programs depend on nothing but the query.

use std::collections::HashMap;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use gnist_common::graph::ContentHash;
use gnist_operators::contexts::Contexts;
use gnist_operators::functions::register_functions;
use gnist_operators::guard::Guard;

use super::plan_job;
use crate::content::content_hash;

/// Set in the process that only says which programs it made.
const CHILD: &str = "GNIST_TEST_SAYS_PROGRAMS";

/// Queries, some of which fill dynamic filters: joins, the first rows of an order, extremes.
const QUERIES: [&str; 8] = [
    "select t.k, u.s from t join u on t.k = u.k where u.s > 'a'",
    "select * from t order by s, k limit 7",
    "select s, max(k), min(k) from t group by s",
    "select a.k from t a join u b on a.k = b.k join t c on b.s = c.s and c.k > 3",
    "select k, sum(k) over (partition by s order by k) from t union all select k, 1 from u",
    "select case when k > 1 then 'x' when s like 'a%' then 'y' else s end from t",
    "select k from t where k > (select avg(k) from u) and s not in (select s from u)",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 9) \
     select n, s from r join u on n = k",
];

async fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(3);
    config.options_mut().optimizer.enable_round_robin_repartition = false;
    config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
    let mut context = SessionContext::new_with_config(config);
    register_functions(&mut context).unwrap();
    for name in ["t", "u"] {
        let keys = |prefix: &str| -> HashMap<String, String> {
            (0..9).map(|n| (format!("{prefix}{n}"), format!("value {n}"))).collect()
        };
        let fields = vec![
            Field::new("k", DataType::Int64, true).with_metadata(keys("of k ")),
            Field::new("s", DataType::Utf8, true).with_metadata(keys("of s ")),
        ];
        let schema = Arc::new(Schema::new_with_metadata(fields, keys("of the table ")));
        let batch = |n: i64| {
            let k = Arc::new(Int64Array::from_iter_values(n..n + 4));
            let s = Arc::new(StringArray::from(vec!["a", "ab", "b", "c"]));
            RecordBatch::try_new(Arc::clone(&schema), vec![k, s]).unwrap()
        };
        let partitions = vec![vec![batch(0)], vec![batch(4)], vec![batch(8)]];
        let table = MemTable::try_new(Arc::clone(&schema), partitions).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
    context
}

async fn programs() -> Vec<ContentHash> {
    let context = session().await;
    let executors = Contexts::of_executors(context.runtime_env()).of(&[]).unwrap();
    let guard = Guard::default();
    let mut hashes = Vec::new();
    for query in QUERIES {
        let plan = context.sql(query).await.unwrap().create_physical_plan().await.unwrap();
        let job = plan_job(plan, &executors, &guard);
        let job = job.unwrap_or_else(|error| panic!("{query}: {error}"));
        hashes.extend(job.drafts.iter().map(|draft| content_hash(&draft.program)));
    }
    hashes
}

#[tokio::test]
async fn the_same_query_is_the_same_programs_every_time() {
    let first = programs().await;
    for _ in 0..5 {
        assert_eq!(programs().await, first);
    }
}

#[tokio::test]
async fn the_same_query_is_the_same_programs_in_another_process() {
    let mine = programs().await;
    if std::env::var_os(CHILD).is_some() {
        for hash in mine {
            writeln!(std::io::stdout(), "program {hash}").unwrap();
        }
        return;
    }
    let this = "planner::tests::the_same_query_is_the_same_programs_in_another_process";
    for _ in 0..2 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8(child.stdout).unwrap();
        let theirs = said.lines().filter_map(|line| line.split("program ").nth(1));
        let mine = mine.iter().map(ToString::to_string);
        assert_eq!(theirs.map(str::to_owned).collect::<Vec<_>>(), mine.collect::<Vec<_>>());
    }
}
