//! The output of `EXPLAIN`: the stages that a query becomes.

use libtest_mimic::{Failed, Trial};

use crate::backends::{block_on, builder};
use crate::slt::rows_of;
use crate::standing::check;

const TABLES: [&str; 2] = [
    "create table t as select value as k, value % 10 as g from generate_series(1, 1000)",
    "create table u as select value as k, value % 7 as v from generate_series(1, 100)",
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("what_the_driver_answers_has_no_stages_on_a_cluster", || {
            for query in
                ["explain show all", "explain verbose show all", "explain analyze show all"]
            {
                let text = rows(CLUSTER, query)?;
                check(text.contains("in the driver -> result"), format!("{query}:\n{text}"))?;
                check(rows("local[2]", query)?.contains("stage 0: "), query.to_owned())?;
            }
            Ok(())
        }),
        trial("one_process_is_one_stage", || {
            insta::assert_snapshot!(
                explain("local[2]", "select g, count(*) from t group by g")?, @r"
                    stage 0: 1 task of 2 slots -> result
                      ProjectionExec: expr=[g@0 as g, count(Int64(1))@1 as count(*)]
                        AggregateExec: mode=FinalPartitioned, gby=[g@0 as g], aggr=[count(Int64(1))]
                          RepartitionExec: partitioning=Hash([g@0], 2), input_partitions=1
                            AggregateExec: mode=Partial, gby=[g@0 as g], aggr=[count(Int64(1))]
                              DataSourceExec: partitions=1, partition_sizes=[1]
                "
            );
            Ok(())
        }),
        trial("an_aggregate_is_cut_at_its_exchange", || {
            insta::assert_snapshot!(
                explain(CLUSTER, "select g, count(*) from t group by g")?, @r"
                    stage 1: 4 tasks -> result, reads stage 0
                      ProjectionExec: expr=[g@0 as g, count(Int64(1))@1 as count(*)]
                        AggregateExec: mode=FinalPartitioned, gby=[g@0 as g], aggr=[count(Int64(1))]
                          StageReaderExec: input=0, mode=Shuffle, partitions=4
                      stage 0: 1 task -> exchange of 4
                        AggregateExec: mode=Partial, gby=[g@0 as g], aggr=[count(Int64(1))]
                          DataSourceExec: partitions=1, partition_sizes=[1]
                "
            );
            Ok(())
        }),
        trial("a_small_build_side_is_broadcast", || {
            insta::assert_snapshot!(
                explain(CLUSTER, "select v, sum(t.k) from t join u on t.k = u.k group by v")?, @r"
                    stage 2: 4 tasks -> result, reads stage 1
                      AggregateExec: mode=FinalPartitioned, gby=[v@0 as v], aggr=[sum(t.k)]
                        StageReaderExec: input=0, mode=Shuffle, partitions=4
                      stage 1: 1 task -> exchange of 4, reads stage 0
                        AggregateExec: mode=Partial, gby=[v@1 as v], aggr=[sum(t.k)]
                          CooperativeExec
                            HashJoinExec: mode=CollectLeft, join_type=Inner, on=[(k@0, k@0)], projection=[k@2, v@1]
                              StageReaderExec: input=0, mode=Gather, partitions=1
                              DataSourceExec: partitions=1, partition_sizes=[1]
                        stage 0: 1 task -> broadcast
                          DataSourceExec: partitions=1, partition_sizes=[1]
                "
            );
            Ok(())
        }),
        trial("a_scalar_subquery_is_a_value", || {
            insta::assert_snapshot!(
                explain(CLUSTER, "select count(*) from t where k > (select avg(k) from u)")?, @r"
                    stage 1: 1 task -> result
                      ProjectionExec: expr=[count(Int64(1))@0 as count(*)]
                        AggregateExec: mode=Single, gby=[], aggr=[count(Int64(1))]
                          FilterExec: CAST(k@0 AS Float64) > normal_float(scalar_subquery(<pending>)), projection=[]
                            DataSourceExec: partitions=1, partition_sizes=[1]
                      stage 0: 1 task -> value 0
                        AggregateExec: mode=Single, gby=[], aggr=[avg(u.k)]
                          DataSourceExec: partitions=1, partition_sizes=[1]
                "
            );
            Ok(())
        }),
        trial("a_sorted_result_goes_one_of_two_ways", || {
            insta::assert_snapshot!(
                explain(CLUSTER, "select g, count(*) from t group by g order by g desc")?, @r"
                    stage 2: 1 task -> result, reads stage 1, if stage 1 makes up to 32.0 MiB
                      SortPreservingMergeExec: [g@0 DESC]
                        StageReaderExec: input=0, mode=Merge, partitions=4
                      stage 1: 4 tasks -> exchange of 1, reads stage 0
                        ProjectionExec: expr=[g@0 as g, count(Int64(1))@1 as count(*)]
                          SortExec: expr=[g@0 DESC], preserve_partitioning=[true]
                            AggregateExec: mode=FinalPartitioned, gby=[g@0 as g], aggr=[count(Int64(1))]
                              StageReaderExec: input=0, mode=Shuffle, partitions=4
                        stage 0: 1 task -> exchange of 4
                          AggregateExec: mode=Partial, gby=[g@0 as g], aggr=[count(Int64(1))]
                            DataSourceExec: partitions=1, partition_sizes=[1]
                    stage 5: 4 tasks -> result, reads stage 4, if stage 1 makes above 32.0 MiB
                      SortPreservingMergeExec: [g@0 DESC]
                        StageReaderExec: input=0, mode=Runs, partitions=4
                      stage 4: 4 tasks -> exchange of 4, reads stage 1, if stage 1 makes above 32.0 MiB
                        StageReaderExec: input=0, mode=Each, partitions=4
                        stage 1: above
                        stage 3: 4 tasks -> sample, reads stage 1, if stage 1 makes above 32.0 MiB
                          ProjectionExec: expr=[g@0 as key_0]
                            SampleExec
                              StageReaderExec: input=0, mode=Each, partitions=4
                          stage 1: above
                "
            );
            Ok(())
        }),
        trial("equal_stages_are_one", || {
            insta::assert_snapshot!(
                explain(
                    CLUSTER,
                    "with c as (select g, count(*) as n from t group by g) \
                     select g, n from c union all select g, -n from c"
                )?, @r"
                    stage 1: 8 tasks -> result, reads stage 0
                      UnionExec
                        ProjectionExec: expr=[g@0 as g, count(Int64(1))@1 as n]
                          AggregateExec: mode=FinalPartitioned, gby=[g@0 as g], aggr=[count(Int64(1))]
                            StageReaderExec: input=0, mode=Shuffle, partitions=4
                        ProjectionExec: expr=[g@0 as g, checked_negate(count(Int64(1))@1) as n]
                          AggregateExec: mode=FinalPartitioned, gby=[g@0 as g], aggr=[count(Int64(1))]
                            StageReaderExec: input=1, mode=Shuffle, partitions=4
                      stage 0: 1 task -> exchange of 4
                        AggregateExec: mode=Partial, gby=[g@0 as g], aggr=[count(Int64(1))]
                          DataSourceExec: partitions=1, partition_sizes=[1]
                "
            );
            Ok(())
        }),
        trial("a_limit_stops_in_every_task", || {
            insta::assert_snapshot!(explain(CLUSTER, "select k from t limit 3")?, @r"
                    stage 0: 1 task -> result
                      DataSourceExec: partitions=1, partition_sizes=[1], fetch=3
                ");
            Ok(())
        }),
        trial("format_tree_draws_each_stage", || {
            for (master, stages) in [("local[2]", 1), (CLUSTER, 2)] {
                let query = "explain format tree select g, count(*) from t where k > 5 group by g";
                let text = rows(master, query)?;
                let count = |part: &str| text.matches(part).count();
                let is_drawn = count("stage ") >= stages
                    && count("\u{2502}         FilterExec        \u{2502}") == 1
                    && count("predicate: k > 5") == 1
                    && count("logical_plan") == 0;
                check(is_drawn, format!("{master}:\n{text}"))?;
            }
            Ok(())
        }),
        trial("verbose_shows_every_step_and_the_stages", || {
            for master in ["local[2]", CLUSTER] {
                let text = rows(master, "explain verbose select count(*) from t where k > 5")?;
                for part in [
                    "initial_logical_plan",
                    "logical_plan after push_down_filter",
                    "initial_physical_plan",
                    "physical_plan after",
                    "stages\nstage ",
                ] {
                    check(text.contains(part), format!("no `{part}` in:\n{text}"))?;
                }
            }
            Ok(())
        }),
        trial("every_format_is_honoured_or_refused", || {
            for master in ["local[2]", CLUSTER] {
                for (query, part) in [
                    ("explain format indent select 1", "logical_plan\nProjection"),
                    ("explain format pgjson select 1", "\"Node Type\": \"Projection\""),
                    ("explain format graphviz select 1", "digraph"),
                    ("explain (format tree) select 1", "\u{2514}"),
                    ("explain analyze verbose select 1", "rows=1"),
                ] {
                    let text = rows(master, query)?;
                    check(text.contains(part), format!("{query}: no `{part}` in:\n{text}"))?;
                }
                for (query, part) in [
                    ("explain (analyze, format pgjson) select 1", "FORMAT pgjson"),
                    ("explain (analyze, level summary) select 1", "LEVEL"),
                    ("explain (analyze, metrics 'rows') select 1", "METRICS"),
                    ("explain format xml select 1", "xml"),
                ] {
                    match rows(master, query) {
                        Err(error) if error.message().is_some_and(|text| text.contains(part)) => {}
                        other => return Err(format!("{query}: {other:?}").into()),
                    }
                }
            }
            Ok(())
        }),
        trial("analyze_measures_every_operator_over_all_tasks", || {
            let query = "explain analyze select g, count(*) from t where k > 500 group by g \
                         union all select v, sum(k) from u group by v order by 1";
            for master in ["local[2]", CLUSTER] {
                let text = rows(master, query)?;
                for (operator, rows) in [
                    ("FilterExec", "rows=500"),
                    ("AggregateExec: mode=Partial, gby=[g@0 as g]", "rows=10"),
                    ("AggregateExec: mode=FinalPartitioned, gby=[g@0 as g]", "rows=10"),
                    ("AggregateExec: mode=Partial, gby=[v@", "rows=7"),
                    ("AggregateExec: mode=FinalPartitioned, gby=[v@", "rows=7"),
                ] {
                    let line = text.lines().find(|line| line.trim().starts_with(operator));
                    let line = line.ok_or_else(|| format!("no `{operator}` in:\n{text}"))?;
                    let measured = line.rsplit_once(" [").map_or("", |(_, measured)| measured);
                    let is_whole = measured.starts_with(&format!("{rows}, time="))
                        && measured.contains(" ms, memory=")
                        && measured.ends_with(']');
                    check(is_whole, format!("{master}: `{line}` in:\n{text}"))?;
                }
                // In one process it is an interleave.
                let union = text.lines().find(|line| line.trim().starts_with("UnionExec"));
                check(union.is_none_or(|line| line.contains("[rows=17, ")), &text)?;
                check(union.is_some() == (master == CLUSTER), &text)?;
                let sort = text.lines().find(|line| line.trim().starts_with("SortExec"));
                check(sort.is_some_and(|line| !line.contains("memory=0 B")), &text)?;
                // What was not needed was not measured.
                let ran = text.split(" [not needed]").next().unwrap_or_default();
                let mut operators = ran.lines().filter(|line| line.contains("Exec"));
                check(operators.all(|line| line.contains("rows=")), &text)?;
            }
            Ok(())
        }),
        trial("files_are_pruned_by_times_that_are_cast_to_the_form_of_the_session", || {
            for (filter, pruned) in [
                ("tm > time '08:00:00'", "tm_max@0 > 28800000000"),
                ("z > timestamptz '2024-07-01 04:00:00Z'", "z_max@0 > 1719806400000000"),
                ("z > timestamp '2024-07-01 00:00:00'", "z_max@0 > 1719806400000000"),
                ("z > date '2024-07-01'", "z_max@0 > 1719806400000000"),
            ] {
                let zone = "set timezone = 'America/New_York'";
                let query =
                    format!("explain select i from 'tests/slt/data/times.parquet' where {filter}");
                let text = rows_after("local[2]", zone, &query)?;
                check(text.contains(pruned), format!("{filter}:\n{text}"))?;
            }
            Ok(())
        }),
        trial("the_sessions_settings_choose_the_form", || {
            for (setting, part, other) in [
                ("logical_plan_only = true", "logical_plan", "stage 0"),
                ("physical_plan_only = true", "stage 0", "logical_plan"),
                ("format = 'tree'", "\u{2514}", "logical_plan"),
                ("show_statistics = true", "statistics=[", "nothing at all"),
                ("show_schema = true", "schema=[", "nothing at all"),
            ] {
                let set = format!("set datafusion.explain.{setting}");
                let text = rows_after(CLUSTER, &set, "explain select count(*) from t")?;
                let is_right = text.contains(part) && !text.contains(other);
                check(is_right, format!("{setting}:\n{text}"))?;
            }
            Ok(())
        }),
    ]
}

const CLUSTER: &str = "local-cluster[2,1,1GiB]";

fn trial(name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::test(format!("explain::{name}"), test)
}

/// The stages of a query, of tables with rows in memory.
fn explain(master: &str, query: &str) -> Result<String, Failed> {
    Ok(answer(master, "", &format!("explain {query}"))?.pop().expect("a row of stages").1)
}

/// All that an explanation answers, a kind and its plan after another.
fn rows(master: &str, query: &str) -> Result<String, Failed> {
    rows_after(master, "", query)
}

fn rows_after(master: &str, setting: &str, query: &str) -> Result<String, Failed> {
    let rows = answer(master, setting, query)?.into_iter();
    Ok(rows.map(|(kind, plan)| format!("{kind}\n{plan}\n")).collect())
}

fn answer(master: &str, setting: &str, query: &str) -> Result<Vec<(String, String)>, Failed> {
    block_on(async {
        let session = builder(master).connect().await?;
        let before = TABLES.iter().chain([&setting]).filter(|text| !text.is_empty());
        for statement in before {
            session.sql(statement).await.map_err(|error| error.failure())?.collect().await?;
        }
        let mut answer = session.sql(query).await.map_err(|error| error.failure())?;
        let rows = answer.collect().await?;
        let pair = |row: Vec<String>| (row[0].clone(), row[1].clone());
        Ok(rows.iter().flat_map(rows_of).map(pair).collect())
    })
}
