//! Assumptions of DataFusion about one process that drives all partitions of one plan: a test per
//! assumption, on a cluster, where it does not hold.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::CsvOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::datasource::MemTable;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{DataFrame, SessionContext, col};
use gnist::{ErrorKind, Failure, JobObserver, Session};
use gnist_common::bytes::ByteSize;
use gnist_common::protocol::ManagerToDriver;
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::cluster::ENDLESS;
use crate::slt::rows_of;

const CLUSTER: &str = "local-cluster[2,1,1GiB]";
const SECONDS_MAX: u64 = 300;

type Outcome = Result<(), Failed>;
type Rows = Vec<Vec<String>>;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("file_stream_work_stealing_is_off_where_scans_are_tasks", work_stealing),
        trial("dynamic_filters_of_joins_wait_for_one_task_only", dynamic_filters),
        trial("build_preserving_joins_emit_unmatched_rows_once", build_preserving_joins),
        trial("not_in_sees_every_null", not_in),
        trial("a_scalar_subquery_is_a_stage_with_a_bound_value", scalar_subquery),
        trial("ctes_over_tables_of_one_schema_stay_apart", ctes),
        trial("order_by_holds_over_many_partitions", order_by),
        trial("every_repartition_is_a_cut", repartition),
        trial("a_union_task_runs_one_branch", union),
        trial("writes_are_commits_or_refused_before_anything_runs", writes),
        trial("frames_run_as_jobs", frames),
        trial("explain_analyze_merges_all_tasks", explain_analyze),
        trial("two_tasks_on_one_executor_share_no_state", two_attempts),
        trial("a_recursive_query_is_one_task", recursive),
        trial("a_plan_500_operators_deep", deep_plan),
        trial("a_value_of_100_mib_crosses_an_exchange", value_of_100_mib),
        trial("a_plan_of_100_mib_reaches_the_executors", plan_of_100_mib),
        trial("the_driver_lists_files_and_tasks_get_their_share", listings),
        trial("a_function_no_executor_knows_is_an_error", unknown_function),
        trial("now_is_one_moment_and_random_is_not_one_number", now_and_random),
        trial("partition_counts_come_from_the_slots", partition_counts),
        trial("a_dropped_join_of_many_matches_gives_its_slots_back", dropped_join),
        trial("a_join_that_ends_early_leaves_no_partition_waiting", join_that_ends_early),
        trial("filters_of_joins_stay_off_columns_of_the_same_name", namesakes),
        trial("min_and_max_leave_the_rows_of_other_aggregates", min_and_max),
        trial("values_of_footers_are_nullable_where_columns_are", footer_values),
        trial("a_declared_type_drops_no_digit", declared_types),
    ]
}

fn trial<F: Future<Output = Outcome>>(
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::test(format!("traps::{name}"), move || {
        let limit = Duration::from_secs(SECONDS_MAX);
        block_on(async { tokio::time::timeout(limit, test()).await })
            .map_err(|_| format!("no answer in {SECONDS_MAX} s"))?
    })
}

async fn work_stealing() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..12 {
        let lines: String = (0..100).map(|line| format!("{}\n", file * 100 + line)).collect();
        std::fs::write(folder.path().join(format!("{file}.csv")), format!("k\n{lines}"))?;
    }
    let stealing = "datafusion.execution.enable_file_stream_work_stealing";
    let session = open(CLUSTER).await?;
    is(&session, &format!("show {stealing}"), &[&[stealing, "false"]]).await?;
    external(&session, "t", "csv", folder.path()).await?;
    let count = "select count(*), count(distinct k), sum(k) from t";
    is(&session, count, &[&["1200", "1200", "719400"]]).await?;
    // It does nothing, so it can't be set.
    let refused = rows(&session, &format!("set {stealing} = true")).await;
    refused.expect_err("a setting that does nothing");
    // Whoever switches it on all the same gets the same rows: a task has no other task's files.
    let state = session.context().state_ref();
    state.write().config_mut().options_mut().execution.enable_file_stream_work_stealing = true;
    is(&session, count, &[&["1200", "1200", "719400"]]).await
}

async fn dynamic_filters() -> Outcome {
    let folder = tempfile::tempdir()?;
    parquet(folder.path(), "fact", "select value as k, value % 1000 as v from range(0, 200000)")
        .await?;
    parquet(folder.path(), "side", "select value * 3 as k from range(0, 100)").await?;
    for threshold in [None, Some(0)] {
        let session = open(CLUSTER).await?;
        if let Some(rows) = threshold {
            partition_joins(&session, rows).await?;
        }
        external(&session, "fact", "parquet", &folder.path().join("fact")).await?;
        external(&session, "side", "parquet", &folder.path().join("side")).await?;
        let joined = "from fact join side on fact.k = side.k where side.k > 30";
        is(&session, &format!("select count(*), sum(v) {joined}"), &[&["89", "14685"]]).await?;
        let top = format!("select fact.k {joined} order by fact.v desc, fact.k limit 2");
        is(&session, &top, &[&["297"], &["294"]]).await?;
        let nothing = "select count(*) from fact join side on fact.k = side.k where side.k < 0";
        is(&session, nothing, &[&["0"]]).await?;
    }
    Ok(())
}

async fn build_preserving_joins() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "few", &[&[1, 2, 3, 900]])?;
    numbers(&session, "many", &[&[1, 5, 6], &[2, 2], &[7, 8], &[1, 9], &[], &[10]])?;
    let on = "on few.k = many.k";
    for (query, want) in [
        (format!("select count(*), count(many.k) from few left join many {on}"), ["6", "4"]),
        (format!("select count(*), count(few.k) from few full join many {on}"), ["12", "6"]),
        (format!("select count(*), sum(k) from few left semi join many {on}"), ["2", "3"]),
        (format!("select count(*), sum(k) from few left anti join many {on}"), ["2", "903"]),
        (
            "select count(*), sum(k) from few where k in (select k from many) or k > 100".into(),
            ["3", "903"],
        ),
        (
            "select count(*), count(many.k) from few left join many on few.k > many.k + 2".into(),
            ["13", "10"],
        ),
        (
            "select count(*), count(few.k) from few full join many on few.k > many.k + 100".into(),
            ["13", "13"],
        ),
    ] {
        is(&session, &query, &[&want]).await?;
    }
    Ok(())
}

async fn not_in() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "few", &[&[1, 2, 3]])?;
    rows(&session, "create table nulls as select nullif(value, 7) as k from range(5, 5000)")
        .await?;
    rows(&session, "create table solid as select value as k from range(3, 5000)").await?;
    numbers(&session, "nothing", &[&[], &[]])?;
    let count = |of: &str| format!("select count(*) from few where k not in (select k from {of})");
    is(&session, &count("nulls"), &[&["0"]]).await?;
    is(&session, &count("solid"), &[&["2"]]).await?;
    is(&session, &count("nothing"), &[&["3"]]).await?;
    let of_null = "select count(*) from nulls where k not in (select k from few)";
    is(&session, of_null, &[&["4994"]]).await
}

async fn scalar_subquery() -> Outcome {
    let session = open(CLUSTER).await?;
    rows(&session, "create table t as select value as k from range(0, 1000)").await?;
    let above = "select count(*) from t where k > (select avg(k) from t)";
    is(&session, above, &[&["500"]]).await?;
    let plan = text_of(&session, &format!("explain {above}")).await?;
    expect(plan.contains("-> value 0"), "the subquery is a stage of its own", &plan)?;
    is(&session, "select (select k from t where k < 0)", &[&["NULL"]]).await?;
    is(&session, "select count(*) from t where k = (select k from t where k < 0)", &[&["0"]])
        .await?;
    for master in BACKENDS {
        let session = open(master).await?;
        let two = "select 1 where 1 = (select value from range(0, 2))";
        failed(&session, two, ErrorKind::User).await?;
    }
    Ok(())
}

async fn ctes() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "a", &[&[1, 2], &[3]])?;
    numbers(&session, "b", &[&[10, 20], &[30]])?;
    let both = "with x as (select sum(k) as s from a), y as (select sum(k) as s from b) \
         select s from x union all select s from y union all select s from x order by s";
    is(&session, both, &[&["6"], &["6"], &["60"]]).await?;
    let grouped = "with x as (select k % 2 as g, count(*) as c from a group by 1), \
         y as (select k % 2 as g, count(*) as c from b group by 1) \
         select g, sum(c) from (select * from x union all select * from y) group by g order by g";
    is(&session, grouped, &[&["0", "4"], &["1", "2"]]).await
}

async fn order_by() -> Outcome {
    let session = open(CLUSTER).await?;
    let shuffled = "select value * 7919 % 100003 as k from range(0, 100003)";
    rows(&session, &format!("create table t as {shuffled}")).await?;
    let grouped = "select k, count(*) as c from t group by k order by k desc";
    let got: Vec<String> =
        rows(&session, grouped).await?.into_iter().map(|mut row| row.swap_remove(0)).collect();
    let want: Vec<String> = (0..100_003).rev().map(|k| k.to_string()).collect();
    expect(got == want, "every key once, in order", &got.len().to_string())?;
    is(&session, &format!("{grouped} limit 2 offset 4"), &[&["99998", "1"], &["99997", "1"]])
        .await?;
    large_sort().await
}

/// A result above the threshold is merged by ranges: with ties, nulls and directions as before.
async fn large_sort() -> Outcome {
    let session = builder(CLUSTER).sort_threshold(ByteSize(64 << 10)).connect().await?;
    let table = "create table t as select case when value % 11 = 0 then null else value % 97 end \
         as k, cast(value * 7919 % 1009 as varchar) as s, value as v from range(0, 50000)";
    rows(&session, table).await?;
    rows(
        &session,
        "create table u as select k, s, count(*) as c, max(v) as v from t group by k, s",
    )
    .await?;
    for keys in ["k, s, v", "k desc nulls last, s desc, v", "s, k nulls first, v desc", "v"] {
        let query = format!("select k, s, v, v + 1 as w from u order by {keys}");
        let plan = text_of(&session, &format!("explain analyze {query}")).await?;
        expect(plan.contains("-> sample"), "the result is sampled", &plan)?;
        expect(plan.contains("[not needed]"), "one of two ways is taken", &plan)?;
        let want = open("local[2]").await?;
        rows(&want, table).await?;
        rows(
            &want,
            "create table u as select k, s, count(*) as c, max(v) as v from t group by k, s",
        )
        .await?;
        let (got, want) = (rows(&session, &query).await?, rows(&want, &query).await?);
        expect(got.len() > 10_000 && got == want, "the same rows in the same order", keys)?;
    }
    // Few rows, equal keys, no rows.
    is(&session, "select 1 as k from u where v < 0 order by v", &[]).await?;
    let equal = rows(&session, "select 'x' as k, v from u order by k").await?;
    expect(equal.len() > 10_000, "every row with the same key", &equal.len().to_string())
}

async fn repartition() -> Outcome {
    let session = open(CLUSTER).await?;
    partition_joins(&session, 0).await?;
    rows(&session, "create table t as select value as k from range(0, 1000)").await?;
    let query =
        "select a.k % 10 as g, count(*) from t a join t b on a.k = b.k group by g order by g";
    let plan = text_of(&session, &format!("explain {query}")).await?;
    expect(!plan.contains("RepartitionExec"), "no exchange stays inside a stage", &plan)?;
    expect(plan.contains("mode=Shuffle"), "stages read what others placed", &plan)?;
    let got = rows(&session, query).await?;
    let want: Rows = (0..10).map(|g| vec![g.to_string(), "100".to_owned()]).collect();
    expect(got == want, "the counts", &format!("{got:?}"))
}

async fn union() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "a", &[&[1], &[2], &[3]])?;
    numbers(&session, "b", &[&[4], &[5, 6]])?;
    let query = "select k from a union all select k + 0 from b union all select 7";
    let mut result = session.sql(&format!("select count(*), sum(k) from ({query})")).await?;
    let batches = result.collect().await?;
    let got: Rows = batches.iter().flat_map(rows_of).collect();
    expect(got == [["7", "28"]], "each row once", &format!("{got:?}"))?;
    let report = result.report().expect("the job has ended");
    let tasks = report.stages.iter().map(|stage| stage.winners.len()).max();
    expect(tasks == Some(6), "a task per partition of a branch", &format!("{tasks:?}"))
}

async fn writes() -> Outcome {
    let folder = tempfile::tempdir()?;
    for master in BACKENDS {
        let session = open(master).await?;
        rows(&session, "create table t as select 1 as k").await?;
        for statement in ["insert into t values (2)", "delete from t", "update t set k = 2"] {
            let failure = failed(&session, statement, ErrorKind::Unsupported).await?;
            let text = failure.to_string();
            expect(text.contains("not supported yet"), "says so", &text)?;
        }
        let path =
            |name: &str| folder.path().join(format!("{master}-{name}")).display().to_string();
        let written = |path: &str| format!("select k from '{path}'");
        rows(&session, &format!("copy t to '{}'", path("a.parquet"))).await?;
        is(&session, &written(&path("a.parquet")), &[&["1"]]).await?;
        let frame = session.context().sql(&format!("copy t to '{}'", path("b.csv"))).await?;
        let count = frame.collect().await?;
        expect(count[0].num_rows() == 1, "one row with the count", "")?;
        is(&session, &written(&path("b.csv")), &[&["1"]]).await?;
        let frame = session.table("t").await.map_err(|error| error.failure())?;
        let options = DataFrameWriteOptions::new;
        frame.clone().write_parquet(&path("c"), options(), None).await?;
        is(&session, &written(&path("c/")), &[&["1"]]).await?;
        frame.clone().write_json(&path("d.json"), options(), None).await?;
        is(&session, &written(&path("d.json")), &[&["1"]]).await?;
        for refused in [
            frame
                .clone()
                .write_csv(&path("e"), options(), Some(CsvOptions::default()))
                .await
                .map(drop),
            frame.clone().write_table("t", options()).await.map(drop),
            frame.clone().cache().await.map(drop),
        ] {
            let text = refused.err().ok_or("a frame was written")?.to_string();
            expect(text.contains("not supported yet"), "says so", &text)?;
        }
        is(&session, "select count(*) from t", &[&["1"]]).await?;
    }
    Ok(())
}

async fn frames() -> Outcome {
    let folder = tempfile::tempdir()?;
    parquet(folder.path(), "t", "select value as k, value % 3 as g from range(0, 1000)").await?;
    let path = folder.path().join("t").display().to_string();
    for master in BACKENDS {
        let seen = Arc::new(Submitted::default());
        let session = builder(master).observer(Some(Arc::clone(&seen) as _)).connect().await?;
        let frame = session.read_parquet(&path).await.map_err(|error| error.failure())?;
        let sums = frame.clone().aggregate(vec![col("g")], vec![sum(col("k")).alias("s")])?;
        let batches = sums.sort(vec![col("g").sort(true, false)])?.collect().await?;
        let got: Rows = batches.iter().flat_map(rows_of).collect();
        let want = [["0", "166833"], ["1", "166167"], ["2", "166500"]];
        expect(got == want, "the sums", &format!("{master}: {got:?}"))?;
        expect(frame.count().await? == 1000, "every row", master)?;
        let jobs = seen.0.load(Ordering::Relaxed);
        expect(jobs == 2, "a job each", &format!("{master}: {jobs}"))?;
    }
    Ok(())
}

/// Counts the ends of jobs.
#[derive(Default)]
struct Submitted(AtomicU32);

impl JobObserver for Submitted {
    fn event(&self, message: &ManagerToDriver) {
        if let ManagerToDriver::JobEnded { .. } = message {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn explain_analyze() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "t", &[&[1, 2, 3], &[4, 5], &[6], &[7, 8, 9, 10]])?;
    let plan =
        text_of(&session, "explain analyze select k % 3, count(*) from t group by 1").await?;
    expect(plan.contains("4 tasks"), "a task per partition", &plan)?;
    expect(plan.contains("rows=3"), "the rows of all tasks", &plan)
}

async fn two_attempts() -> Outcome {
    let folder = tempfile::tempdir()?;
    parquet(folder.path(), "t", "select value as k, value % 10 as g from range(0, 100000)").await?;
    let session = open("local-cluster[1,2,1GiB]").await?;
    partition_joins(&session, 0).await?;
    external(&session, "t", "parquet", &folder.path().join("t")).await?;
    let query = "select count(*), sum(a.k) from t a left join t b on a.k = b.k and b.g < 5 \
         where a.g in (1, 7)";
    for _ in 0..3 {
        is(&session, query, &[&["20000", "999980000"]]).await?;
    }
    Ok(())
}

async fn recursive() -> Outcome {
    let sum = "with recursive n as (select 1 as k union all select k + 1 from n where k < 50) \
         select count(*), sum(k) from n";
    let cycle = "with recursive n(k) as (select 1 union select k * 3 % 7 from n) \
         select count(*), sum(k) from n";
    let paths = "with recursive reached(node, hops, path) as ( \
         select 0 as node, 0 as hops, '0' as path union all \
         select e.target, r.hops + 1, r.path || '-' || cast(e.target as varchar) \
         from reached r join edges e on e.source = r.node where r.hops < 10) \
         select hops, count(*), sum(node) from reached group by hops order by hops desc limit 2";
    let edges = "create table edges as select value as source, value + 1 as target \
         from range(0, 20) union all select value, value + 2 from range(0, 20)";
    for master in BACKENDS {
        let session = open(master).await?;
        is(&session, sum, &[&["50", "1275"]]).await?;
        is(&session, cycle, &[&["6", "21"]]).await?;
        rows(&session, edges).await?;
        is(&session, paths, &[&["10", "1024", "15360"], &["9", "512", "6912"]]).await?;
    }
    Ok(())
}

async fn deep_plan() -> Outcome {
    const DEPTH: usize = 500;
    let session = open(CLUSTER).await?;
    rows(&session, "create table t as select value % 5 as k, value as v from range(0, 100)")
        .await?;
    let mut frame = session.context().table("t").await?;
    for _ in 0..DEPTH {
        frame = frame
            .aggregate(vec![col("k")], vec![sum(col("v")).alias("w")])?
            .select(vec![col("k"), col("w").alias("v")])?;
    }
    let mut result = session.execute(frame.sort_by(vec![col("k")])?).await?;
    let got: Rows = result.collect().await?.iter().flat_map(rows_of).collect();
    let want: Rows = (0..5).map(|k| vec![k.to_string(), (20 * k + 950).to_string()]).collect();
    expect(got == want, "the sums", &format!("{got:?}"))
}

async fn value_of_100_mib() -> Outcome {
    let session = open(CLUSTER).await?;
    // Another length per row: a constant would be part of the plan.
    let wide = "select value as k, repeat('x', 104857600 + value) as s from range(0, 2)";
    let query = format!("select k, character_length(max(s)) from ({wide}) group by k order by k");
    is(&session, &query, &[&["0", "104857600"], &["1", "104857601"]]).await
}

async fn plan_of_100_mib() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "t", &[&[1, 2], &[3]])?;
    let query = "select count(*) from t where repeat('x', 104857600) <> cast(k as varchar)";
    is(&session, query, &[&["3"]]).await
}

async fn listings() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..8 {
        let lines: String = (0..10).map(|line| format!("{}\n", file * 10 + line)).collect();
        std::fs::write(folder.path().join(format!("{file}.csv")), format!("k\n{lines}"))?;
    }
    let session = open(CLUSTER).await?;
    external(&session, "t", "csv", folder.path()).await?;
    let plan = text_of(&session, "explain select k from t").await?;
    expect(plan.contains("file_groups={4 groups"), "a share of the files per task", &plan)?;
    expect((0..8).all(|file| plan.contains(&format!("/{file}.csv"))), "each file by name", &plan)?;
    is(&session, "select count(*), sum(k) from t", &[&["80", "3160"]]).await?;
    // A file that somebody adds is seen, as is one that somebody replaces.
    std::fs::write(folder.path().join("8.csv"), "k\n80\n")?;
    is(&session, "select count(*), sum(k) from t", &[&["81", "3240"]]).await?;
    std::fs::write(folder.path().join("8.csv"), "k\n81\n82\n")?;
    is(&session, "select count(*), sum(k) from t", &[&["82", "3323"]]).await
}

async fn unknown_function() -> Outcome {
    let session = open(CLUSTER).await?;
    let identity = |arguments: &[ColumnarValue]| Ok(arguments[0].clone());
    let function = create_udf(
        "only_in_the_driver",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(identity),
    );
    session.context().register_udf(function);
    numbers(&session, "t", &[&[1, 2], &[3]])?;
    let failure = match rows(&session, "select only_in_the_driver(k) from t").await {
        Ok(got) => return Err(format!("no executor knows the function: {got:?}").into()),
        Err(failure) => failure.to_string(),
    };
    expect(failure.contains("only_in_the_driver"), "the failure names it", &failure)
}

async fn now_and_random() -> Outcome {
    let session = open(CLUSTER).await?;
    numbers(&session, "t", &[&[1, 2, 3], &[4, 5], &[6, 7], &[8]])?;
    is(&session, "select count(distinct n) from (select now() as n from t)", &[&["1"]]).await?;
    is(&session, "select count(distinct r) from (select random() as r from t)", &[&["8"]]).await?;
    is(&session, "select count(distinct u) from (select uuid() as u from t)", &[&["8"]]).await
}

async fn partition_counts() -> Outcome {
    let setting = "datafusion.execution.target_partitions";
    for (master, want) in [("local[2]", "2"), (CLUSTER, "4"), ("local-cluster[3,1,1GiB]", "6")] {
        is(&open(master).await?, &format!("show {setting}"), &[&[setting, want]]).await?;
    }
    Ok(())
}

// What the tests are made of.

async fn open(master: &str) -> Result<Session, Failure> {
    builder(master).connect().await
}

async fn rows(session: &Session, sql: &str) -> Result<Rows, Failure> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(batches.iter().flat_map(rows_of).collect())
}

async fn is(session: &Session, sql: &str, want: &[&[&str]]) -> Outcome {
    let got = rows(session, sql).await.map_err(|failure| format!("{sql}\n{failure}"))?;
    if got == want { Ok(()) } else { Err(format!("{sql}\nwant {want:?}\ngot {got:?}").into()) }
}

async fn failed(session: &Session, sql: &str, kind: ErrorKind) -> Result<Failure, Failed> {
    match rows(session, sql).await {
        Err(failure) if failure.kind == kind => Ok(failure),
        other => Err(format!("{sql}\nwant {kind:?}\ngot {other:?}").into()),
    }
}

async fn text_of(session: &Session, sql: &str) -> Result<String, Failure> {
    Ok(rows(session, sql).await?.concat().join("\n"))
}

fn expect(holds: bool, what: &str, got: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("{what}: not so\n{got}").into()) }
}

/// A table of one column `k`, with a partition per slice.
fn numbers(session: &Session, name: &str, partitions: &[&[i64]]) -> Outcome {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let batch = |values: &&[i64]| {
        let column = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_new(Arc::clone(&schema), vec![column])
    };
    let batches = partitions.iter().map(|part| Ok(vec![batch(part)?]));
    let batches = batches.collect::<Result<Vec<_>, Failed>>()?;
    let table = MemTable::try_new(Arc::clone(&schema), batches)?;
    session.context().register_table(name, Arc::new(table))?;
    Ok(())
}

async fn partition_joins(session: &Session, rows_max: usize) -> Outcome {
    let setting = "datafusion.optimizer.hash_join_single_partition_threshold";
    rows(session, &format!("set {setting} = {rows_max}")).await?;
    rows(session, &format!("set {setting}_rows = {rows_max}")).await?;
    Ok(())
}

async fn external(session: &Session, name: &str, format: &str, path: &Path) -> Outcome {
    let header = if format == "csv" { " options ('format.has_header' 'true')" } else { "" };
    let path = path.display();
    let sql = format!("create external table {name} stored as {format} location '{path}/'{header}");
    rows(session, &sql).await?;
    Ok(())
}

/// Several Parquet files with the rows of a query, by plain DataFusion.
async fn parquet(folder: &Path, name: &str, query: &str) -> Outcome {
    for part in 0..4 {
        let rows = format!(
            "select * from (select *, row_number() over () as n from ({query})) where n % 4 = {part}"
        );
        let file = SessionContext::new().sql(&rows).await?.drop_columns(&["n"])?;
        write_file(&folder.join(name), part, file).await?;
    }
    Ok(())
}

async fn write_file(folder: &Path, part: usize, rows: DataFrame) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{part}.parquet")).display().to_string();
    rows.write_parquet(&path, Default::default(), None).await?;
    Ok(())
}

/// The rows that `min(a)` has no use for are those that `max(b + 1)` is in.
async fn min_and_max() -> Outcome {
    let folder = tempfile::tempdir()?;
    for part in 0..8 {
        let (first, last) = (part * 10, part * 10 + 10);
        let rows = format!("select value a, value b, value * 1.0 f from range({first}, {last})");
        write_file(folder.path(), part, SessionContext::new().sql(&rows).await?).await?;
    }
    for master in BACKENDS {
        let session = open(master).await?;
        external(&session, "t", "parquet", folder.path()).await?;
        for _ in 0..4 {
            is(&session, "select min(a), max(b + 1) from t", &[&["0", "80"]]).await?;
            is(&session, "select min(a), max(f) from t", &[&["0", "79.0"]]).await?;
        }
    }
    Ok(())
}

/// The minimum that footers have is a constant, which is never null; what reads it was planned over a
/// column that may be.
async fn footer_values() -> Outcome {
    let folder = tempfile::tempdir()?;
    for part in 0..2 {
        let rows = format!("select {part} a, 'b' s");
        write_file(folder.path(), part, SessionContext::new().sql(&rows).await?).await?;
    }
    for master in BACKENDS {
        let session = open(master).await?;
        external(&session, "t", "parquet", folder.path()).await?;
        let distinct = "(select distinct min(s) from t)";
        let query = format!("select count(*) from t where s in {distinct} and s < any {distinct}");
        is(&session, &query, &[&["0"]]).await?;
        let query = "select m, count(*) from (select min(s) m from t union all select s from t) \
                     group by rollup(m) order by m";
        is(&session, query, &[&["b", "3"], &["NULL", "3"]]).await?;
        let query = "select x.m, t.a from (select distinct min(s) m, max(a) n from t) x \
                     right join t on x.n = t.a order by t.a";
        is(&session, query, &[&["NULL", "0"], &["b", "1"]]).await?;
    }
    Ok(())
}

async fn declared_types() -> Outcome {
    let folder = tempfile::tempdir()?;
    let values = "(values (1, 1.25), (2, 1.5), (3, 3.1)) v(i, d)";
    let query = format!(
        "select i, cast(d as decimal(10,2)) d, arrow_cast(timestamp '2024-01-01', \
         'Timestamp(Microsecond, None)') ts, arrow_cast(i, 'Int32') n from {values}"
    );
    write_file(folder.path(), 0, SessionContext::new().sql(&query).await?).await?;
    for master in BACKENDS {
        for (columns, column) in [
            ("i bigint, d int", "d"),
            ("i bigint, d decimal(10, 1)", "d"),
            ("i bigint, d double", "d"),
            ("i bigint, ts date", "ts"),
            ("i bigint, n boolean", "n"),
        ] {
            let session = open(master).await?;
            let location = folder.path().display();
            let table = format!("create external table t ({columns}) stored as parquet");
            rows(&session, &format!("{table} location '{location}/'")).await?;
            is(&session, "select count(i) from t", &[&["3"]]).await?;
            let query = format!("select {column} from t where {column} is not null");
            let refused = rows(&session, &query).await.expect_err(columns).to_string();
            if !refused.contains("drops some of its digits") {
                return Err(format!("{master}, {columns}: {refused}").into());
            }
        }
        let session = open(master).await?;
        let location = folder.path().display();
        // No file has it: files may be older than the table.
        let table = "create external table older (i bigint, x bigint) stored as parquet location";
        rows(&session, &format!("{table} '{location}/'")).await?;
        is(&session, "select x from older where i = 1", &[&["NULL"]]).await?;
        let table = "create external table t (\"I\" bigint) stored as parquet location";
        rows(&session, &format!("{table} '{location}/'")).await?;
        let refused = rows(&session, "select \"I\" from t").await.expect_err("I").to_string();
        if !refused.contains("column `I` is declared, and the file has `i`") {
            return Err(format!("{master}: {refused}").into());
        }
        let session = open(master).await?;
        let columns = "i bigint, d decimal(12, 3), ts timestamp, n double";
        let location = folder.path().display();
        let table = format!("create external table t ({columns}) stored as parquet");
        rows(&session, &format!("{table} location '{location}/'")).await?;
        is(&session, "select i from t where d = 1.25 and n = 1", &[&["1"]]).await?;
        // The file's unit has no such moment, which is after all of its moments.
        let later = "select count(*) from t where ts < timestamp '2024-01-01 00:00:00.0000005'";
        is(&session, later, &[&["3"]]).await?;
    }
    Ok(())
}

/// The outer join has no key in one of its partitions, and never asks the inner one there.
async fn join_that_ends_early() -> Outcome {
    let folder = tempfile::tempdir()?;
    parquet(folder.path(), "big", "select value as k, value * 10 as v from range(0, 100)").await?;
    let few = folder.path().join("few");
    std::fs::create_dir(&few)?;
    // No statistics, so the outer join is partitioned.
    for file in 0..2 {
        std::fs::write(few.join(format!("{file}.csv")), "k\n1\n1\n")?;
    }
    for master in BACKENDS.iter().chain(&["local[4]"]) {
        let session = open(master).await?;
        external(&session, "big", "parquet", &folder.path().join("big")).await?;
        external(&session, "few", "csv", &few).await?;
        let keys = "(select distinct few.k from few where k in (select k from big)) b";
        let inner = format!("(select b.k, big.v from big join {keys} on big.k = b.k) c");
        let outer = "(select distinct k from few) a";
        let joined = format!("select a.k, c.v from {outer} left join {inner} on a.k = c.k");
        is(&session, &joined, &[&["1", "10"]]).await?;
    }
    Ok(())
}

/// The outer join's filter is about `few.a`; `big.a` is another column, which no filter is about.
async fn namesakes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let big = "select value + 100000 as a, value as b from range(0, 1000)";
    parquet(folder.path(), "big", big).await?;
    for master in BACKENDS {
        let session = open(master).await?;
        external(&session, "big", "parquet", &folder.path().join("big")).await?;
        rows(&session, "create table s as select 5 as k").await?;
        let few = "select value as a, 1 as c from range(0, 20000)";
        rows(&session, &format!("create table few as {few}")).await?;
        let there = "exists (select 1 from big where big.b = few.a and big.a > few.c)";
        let grouped = format!("select a, max(c) as m from few where {there} group by a");
        let joined = format!("select count(*), max(m) from s join ({grouped}) f on f.a = s.k");
        is(&session, &joined, &[&["1", "1"]]).await?;
    }
    Ok(())
}

async fn dropped_join() -> Outcome {
    for master in BACKENDS {
        let session = open(master).await?;
        let mut endless = session.sql(ENDLESS).await.map_err(|error| error.failure())?;
        let begun = tokio::time::timeout(Duration::from_secs(1), endless.collect()).await;
        if begun.is_ok() {
            return Err("the join is not endless".into());
        }
        drop(endless);
        let after = is(&session, "select sum(value) from range(0, 100)", &[&["4950"]]);
        let limit = Duration::from_secs(5);
        tokio::time::timeout(limit, after).await.map_err(|_| format!("{master}: no slot"))??;
    }
    Ok(())
}
