//! Files that statements write: the right rows, all of them or none, whoever dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

use crate::process::{Ended, Running};

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,256MiB]"];

pub fn trials() -> Vec<Trial> {
    type Test = fn() -> Result<(), Failed>;
    let tests: [(&str, Test); 15] = [
        ("each_format_is_read_back_as_it_was", each_format_is_read_back_as_it_was),
        ("modes_answer_to_data_that_is_there", modes_answer_to_data_that_is_there),
        ("partitions_are_folders", partitions_are_folders),
        ("names_are_read_as_sql_reads_them", names_are_read_as_sql_reads_them),
        ("tables_are_inserted_into", tables_are_inserted_into),
        ("one_file_is_whole", one_file_is_whole),
        ("sorted_rows_are_sorted_in_the_order_of_names", sorted_in_the_order_of_names),
        ("rows_of_one_value_come_together", rows_of_one_value_come_together),
        ("what_can_not_be_written_says_why", what_can_not_be_written_says_why),
        ("a_write_that_fails_leaves_what_was_there", a_write_that_fails_leaves_what_was_there),
        ("a_table_is_replaced_by_a_query_over_itself", replaced_by_a_query_over_itself),
        ("an_old_listing_replaces_nothing_that_came_later", an_old_listing_replaces_nothing),
        ("tables_are_written_as_they_are_declared", tables_are_written_as_they_are_declared),
        ("a_killed_driver_leaves_old_or_new", a_killed_driver_leaves_old_or_new),
        ("a_killed_worker_changes_no_file", a_killed_worker_changes_no_file),
    ];
    let trial = |(name, test)| Trial::test(format!("written::{name}"), test);
    tests.into_iter().map(trial).collect()
}

fn run(master: &str, query: &str) -> Result<Ended, String> {
    Running::start(&["sql", "--quiet", "--master", master, "--format", "csv", "-e", query]).end()
}

fn expect(master: &str, query: &str, rows: &str) -> Result<(), Failed> {
    let ended = run(master, query)?.expect(0, rows, &[]);
    Ok(ended.map_err(|error| format!("{query} on {master}: {error}"))?)
}

fn refused(query: &str, messages: &[&str]) -> Result<(), Failed> {
    let ended = run("local[2]", query)?.expect(1, "", messages);
    Ok(ended.map_err(|error| format!("{query}: {error}"))?)
}

/// The files below a folder, by their paths, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn data(folder: &Path) -> Vec<PathBuf> {
    let is_data = |path: &PathBuf| {
        let below = path.strip_prefix(folder).expect("it is below");
        !below.iter().any(|name| name.to_string_lossy().starts_with(['_', '.']))
    };
    files(folder).into_iter().filter(is_data).collect()
}

/// Rows with values of many types, nulls among them.
const ROWS: &str = "select i, i % 3 = 0 as even, case when i % 5 > 0 then i * 1.5e0 end as f, \
     arrow_cast(i * 10.25, 'Decimal128(12, 2)') as d, concat('text \"', i, '\", ') as t, \
     date '2024-02-28' + cast(i as int) as day, \
     cast('2024-02-28T23:59:59.25' as timestamp) + interval '1 hour' * i as at \
     from generate_series(1, 1000) s(i)";

const SUMMARY: &str = "count(*), count(f), sum(i), round(sum(f)), sum(d), sum(length(t)), min(day), max(day), \
     min(at), max(at), sum(case when even then 1 else 0 end)";

fn each_format_is_read_back_as_it_was() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().display();
    let right = run("local[2]", &format!("select {SUMMARY} from ({ROWS})"))?;
    let right = String::from_utf8(right.stdout)?;
    for (at, master) in MASTERS.into_iter().enumerate() {
        for (number, (format, options)) in [
            ("parquet", ""),
            ("parquet", "options ('compression' 'zstd(3)', 'max_row_group_size' '100')"),
            ("csv", ""),
            ("csv", "options ('compression' 'gzip')"),
            ("csv", "options ('compression' 'zstd')"),
            ("json", ""),
            ("json", "options ('compression' 'bzip2')"),
            ("json", "options ('compression' 'xz')"),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("{root}/{at}-{format}-{number}");
            let copy = format!("copy ({ROWS}) to '{name}' stored as {format} {options}");
            expect(master, &copy, "")?;
            // What text files have no type for is cast.
            let read = format!(
                "select {SUMMARY} from (select i, even, f, cast(d as decimal(12, 2)) as d, t, \
                 cast(day as date) as day, cast(at as timestamp) as at from '{name}/')"
            );
            let got = run(master, &read)?;
            let got = String::from_utf8(got.stdout)?;
            let body = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
            if body(&got) != body(&right) {
                return Err(format!("{copy} on {master}: {got}, not {right}").into());
            }
            let written = files(Path::new(&name));
            let has = |end: &str| written.iter().any(|path| path.ends_with(end));
            if !has("_SUCCESS") || has("staged") {
                return Err(format!("{written:?}").into());
            }
        }
    }
    Ok(())
}

fn modes_answer_to_data_that_is_there() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let write = |values: &str, mode: &str| {
        let options =
            if mode.is_empty() { String::new() } else { format!("options (mode '{mode}')") };
        format!("copy (values {values}) to '{}' stored as csv {options}", out.display())
    };
    let there = |rows: &str| {
        let read = format!("select column1 as c from '{}/' order by 1", out.display());
        expect("local[2]", &read, rows)
    };
    for master in MASTERS {
        let _ = fs::remove_dir_all(&out);
        expect(master, &write("(1), (2)", ""), "")?;
        there("c\n1\n2\n")?;
        let ended = run(master, &write("(3)", ""))?;
        ended.expect(1, "", &["there is data in `", "mode 'append'"])?;
        there("c\n1\n2\n")?;
        expect(master, &write("(3)", "ignore"), "")?;
        there("c\n1\n2\n")?;
        expect(master, &write("(3)", "append"), "")?;
        there("c\n1\n2\n3\n")?;
        expect(master, &write("(4)", "overwrite"), "")?;
        there("c\n4\n")?;
        assert_eq!(data(&out).len(), 1);
        // An empty result replaces all, and has the columns.
        let empty = "select column1 from (values (1)) where column1 > 1";
        let copy = format!(
            "copy ({empty}) to '{}' stored as csv options (mode 'overwrite')",
            out.display()
        );
        expect(master, &copy, "")?;
        there("c\n")?;
    }
    Ok(())
}

fn partitions_are_folders() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (at, master) in MASTERS.into_iter().enumerate() {
        let out = folder.path().join(at.to_string());
        let shown = out.display();
        let rows = "select i, i % 4 as k, case when i % 2 = 0 then 'a b' end as t from generate_series(1, 100) s(i)";
        let copy = |mode: &str, rows: &str| {
            format!(
                "copy ({rows}) to '{shown}' stored as parquet partitioned by (k, t) options (mode '{mode}')"
            )
        };
        expect(master, &copy("error", rows), "")?;
        let folders = ["k=0/t=a b", "k=1/t=__HIVE_DEFAULT_PARTITION__", "k=2/t=a b"];
        assert!(folders.iter().all(|folder| out.join(folder).is_dir()), "{:?}", files(&out));
        let table = format!(
            "create external table t (i bigint, k bigint, t varchar) stored as parquet \
             partitioned by (k, t) location '{shown}/';"
        );
        let read = format!(
            "{table} select k, t, count(*) as n, sum(i) as s from t group by k, t order by k"
        );
        expect(master, &read, "k,t,n,s\n0,a b,25,1300\n1,,25,1225\n2,a b,25,1250\n3,,25,1275\n")?;
        // Only the folders of the new rows are replaced.
        let some = "select 7 as i, 2 as k, 'a b' as t";
        expect(master, &copy("overwrite_partitions", some), "")?;
        expect(master, &read, "k,t,n,s\n0,a b,25,1300\n1,,25,1225\n2,a b,1,7\n3,,25,1275\n")?;
        expect(master, &copy("overwrite", some), "")?;
        expect(master, &read, "k,t,n,s\n2,a b,1,7\n")?;
    }
    Ok(())
}

/// Names of columns are those of SQL, and a folder may be called as a file is.
fn names_are_read_as_sql_reads_them() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().display();
    let copy = |by: &str, to: &str| {
        format!(
            "copy (select 1 as a, 2 as \"eventType\") to '{root}/{to}' stored as csv partitioned by ({by})"
        )
    };
    for (by, to, name) in
        [("\"eventType\"", "quoted", "eventType=2"), ("A", "plain", "a=1"), ("a", "t.csv/", "a=1")]
    {
        expect("local[2]", &copy(by, to), "")?;
        assert!(folder.path().join(to).join(name).is_dir(), "{:?}", files(&folder.path().join(to)));
    }
    refused(&copy("eventType", "no"), &["eventtype"])
}

fn tables_are_inserted_into() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (at, master) in MASTERS.into_iter().enumerate() {
        for (format, options) in [
            ("parquet", ""),
            ("csv", "options ('format.has_header' 'true', 'format.delimiter' ';')"),
            ("json", "options ('format.compression' 'gzip')"),
        ] {
            let out = folder.path().join(format!("{at}-{format}"));
            let table = format!(
                "create external table t (a int, b varchar, c decimal(5, 1)) stored as {format} \
                 location '{}/' {options};",
                out.display()
            );
            let insert = format!(
                "{table} insert into t values (1, 'x;y', 1.25), (2, null, null); \
                 insert into t (c, a) select 2, 3; select * from t order by a"
            );
            expect(master, &insert, "a,b,c\n1,x;y,1.3\n2,,\n3,,2.0\n")?;
            let overwrite = format!(
                "{table} insert overwrite t select a + 1, b, c from t where a < 3; select * from t order by a"
            );
            expect(master, &overwrite, "a,b,c\n2,x;y,1.3\n3,,\n")?;
        }
    }
    refused(
        "create table t as select 1 as a; insert into t values (2)",
        &["`t`, which is no external table"],
    )
}

fn one_file_is_whole() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().display();
    for master in MASTERS {
        let file = folder.path().join("all.csv");
        let _ = fs::remove_file(&file);
        let copy = format!(
            "copy (select i from generate_series(1, 3) s(i) order by i) to '{root}/all.csv'"
        );
        expect(master, &copy, "")?;
        assert_eq!(fs::read_to_string(&file)?, "i\n1\n2\n3\n");
        assert_eq!(files(folder.path()), std::slice::from_ref(&file), "nothing is left over");
        assert!(!folder.path().join("_gnist").exists());
        let ended = run(master, &copy)?;
        ended.expect(1, "", &["there is data in `"])?;
        let copy = format!("copy (select 7 as i) to '{root}/all.csv' options (mode 'overwrite')");
        expect(master, &copy, "")?;
        assert_eq!(fs::read_to_string(&file)?, "i\n7\n");
        // One that is large enough to be sorted by ranges of keys.
        let sorted = format!(
            "set sort.sample_threshold = '1KiB'; copy (select (i * 7919) % 20011 as k from generate_series(1, 20000) s(i) \
             order by k) to '{root}/all.csv' options (mode 'overwrite')"
        );
        expect(master, &sorted, "")?;
        let text = fs::read_to_string(&file)?;
        let keys: Vec<u32> = text.lines().skip(1).map(str::parse).collect::<Result<_, _>>()?;
        assert!(keys.len() == 20_000 && keys.is_sorted(), "{} on {master}", keys.len());
    }
    refused(
        &format!("copy (select 7 as i) to '{root}/all.csv' options (mode 'append')"),
        &["is one file, which `append` can't change"],
    )
}

fn sorted_in_the_order_of_names() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (at, master) in MASTERS.into_iter().enumerate() {
        let out = folder.path().join(at.to_string());
        let copy = format!(
            "copy (select (i * 7919) % 100003 as k, i from generate_series(1, 100000) s(i) order by k) \
             to '{}' stored as csv options (max_file_rows '7000')",
            out.display()
        );
        let arguments = [
            "sql",
            "--quiet",
            "--master",
            master,
            "--conf",
            "sort.sample_threshold=100KiB",
            "-e",
            &copy,
        ];
        Running::start(&arguments).end()?.expect(0, "", &[])?;
        let files = data(&out);
        assert!(files.len() > 14, "{files:?}");
        let mut keys: Vec<i64> = Vec::new();
        for file in files {
            let text = fs::read_to_string(file)?;
            keys.extend(text.lines().skip(1).map(|line| {
                line.split(',').next().expect("a column").parse::<i64>().expect("a number")
            }));
        }
        assert_eq!(keys.len(), 100_000, "{master}");
        assert!(keys.is_sorted(), "{master}");
    }
    Ok(())
}

fn rows_of_one_value_come_together() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let master = "local-cluster[2,1,256MiB]";
    for (at, (option, least, most)) in
        [("true", 40, 40), ("false", 41, 400)].into_iter().enumerate()
    {
        let out = folder.path().join(at.to_string());
        let copy = format!(
            "copy (select i, i % 40 as k from (select * from generate_series(1, 20000) s(i) order by i % 7)) \
             to '{}' stored as json partitioned by (k) options (group_partitions '{option}')",
            out.display()
        );
        expect(master, &format!("set datafusion.execution.target_partitions = 7; {copy}"), "")?;
        let count = data(&out).len();
        assert!(
            (least..=most).contains(&count) || option == "false",
            "{count} files with {option}"
        );
        let read = format!("select count(*) as n, sum(i) as s from '{}/'", out.display());
        expect(master, &read, "n,s\n20000,200010000\n")?;
    }
    Ok(())
}

fn what_can_not_be_written_says_why() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let to = format!("to '{}'", out.display());
    for (copy, messages) in [
        (
            format!("copy (select 1 as a, 2 as b) {to} stored as csv partitioned by (a, b)"),
            vec!["none is left for the files"],
        ),
        (
            format!("copy (select [1] as a) {to} stored as csv"),
            vec!["CSV has no column of type", "`a`"],
        ),
        (
            format!("copy (select [1] as a, 1 as b) {to} stored as json partitioned by (a)"),
            vec!["`a` is of type", "can't be the name of a folder"],
        ),
        (
            format!("copy (select 1 as a) {to} stored as csv options (delimeter ';')"),
            vec!["CSV has no option `delimeter`", "did you mean `delimiter`?"],
        ),
        (
            format!("copy (select 1 as a) {to} stored as csv options (mode 'update')"),
            vec!["there is no save mode `update`"],
        ),
        (
            format!("copy (select 1 as a) {to} stored as avro"),
            vec!["writing `avro` is not supported yet"],
        ),
        (
            "copy (select 1 as a) to 'https://host/a' stored as csv".to_owned(),
            vec!["`https://host/a` can't be written to", "only read"],
        ),
        (
            format!("copy (select '' as k, 1 as a) {to} stored as csv partitioned by (k)"),
            vec!["an empty text in `k`", "nullif(k, '')"],
        ),
        (
            format!(
                "copy (select 1 as a) {to} stored as csv options (mode 'overwrite_partitions')"
            ),
            vec!["needs columns to partition by"],
        ),
        (format!("copy (select 1 as a) to '{}/x' stored as csv", "/proc"), vec!["can't write"]),
        (
            format!("copy (select interval '1 day' as a) {to} stored as csv"),
            vec!["CSV has no column of type Interval"],
        ),
        (
            format!("copy (select map([1], ['x']) as a) {to} stored as json"),
            vec!["JSON has no column of type Map"],
        ),
        (
            format!("copy (select 1 as a) {to} stored as csv options (header 'true')"),
            vec!["CSV has no option `header`", "it is called `has_header` here"],
        ),
        (
            format!(
                "copy (select 1 as a, 'x' as \".k\") {to} stored as csv partitioned by (\".k\")"
            ),
            vec!["the column `.k` can't be in the name of a folder"],
        ),
        (
            format!(
                "copy (select 1 as a, '__HIVE_DEFAULT_PARTITION__' as k) {to} stored as csv \
                 partitioned by (k)"
            ),
            vec!["__HIVE_DEFAULT_PARTITION__"],
        ),
        (
            format!(
                "create external table t (a int) stored as csv location '{}/' options (sep ';')",
                out.display()
            ),
            vec!["CSV has no option `sep`", "it is called `delimiter` here"],
        ),
        (
            format!(
                "create external table t (a int) stored as csv location '{}/' options (mode 'append')",
                out.display()
            ),
            vec!["`mode` is an option of `COPY`"],
        ),
        (
            format!(
                "create external table t (a int) stored as csv location '{}/' options (max_file_rows 'x')",
                out.display()
            ),
            vec!["`x` is no value of the option `max_file_rows`"],
        ),
    ] {
        refused(&copy, &messages)?;
        assert!(data(&out).is_empty() && !out.join("_gnist").exists(), "{copy}: {:?}", files(&out));
    }
    Ok(())
}

fn a_write_that_fails_leaves_what_was_there() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (at, master) in MASTERS.into_iter().enumerate() {
        let out = folder.path().join(at.to_string());
        let copy = |rows: &str| {
            format!("copy ({rows}) to '{}' stored as csv options (mode 'overwrite')", out.display())
        };
        expect(master, &copy("select 1 as a"), "")?;
        // What attempts staged that were stopped late is not visible.
        let shown = || {
            let files = files(&out).into_iter();
            let is_shown = |path: &PathBuf| !path.to_string_lossy().contains("/staged/");
            files.filter(is_shown).collect::<Vec<_>>()
        };
        let before = shown();
        // Fails at its last row, with rows staged before it.
        let fails = "select 100000 / (i - 300000) as a from generate_series(1, 300000) s(i)";
        let ended = run(master, &copy(fails))?;
        ended.expect(1, "", &["divide"])?;
        assert_eq!(shown(), before, "{master}");
        expect(master, &format!("select * from '{}/'", out.display()), "a\n1\n")?;
    }
    Ok(())
}

fn replaced_by_a_query_over_itself() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (at, master) in MASTERS.into_iter().enumerate() {
        let out = folder.path().join(at.to_string());
        let shown = out.display();
        let copy = |rows: &str, mode: &str| {
            format!("copy ({rows}) to '{shown}' stored as parquet options (mode '{mode}')")
        };
        expect(master, &copy("select i from generate_series(1, 1000) s(i)", "error"), "")?;
        expect(master, &copy(&format!("select i * 2 as i from '{shown}/'"), "overwrite"), "")?;
        expect(master, &copy(&format!("select i + 1 as i from '{shown}/'"), "append"), "")?;
        expect(
            master,
            &format!("select count(*) as n, sum(i) as s from '{shown}/'"),
            "n,s\n2000,2003000\n",
        )?;
    }
    Ok(())
}

/// A table and a view whose files were listed before another write landed: what they replace would be lost.
fn an_old_listing_replaces_nothing() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (at, (is_view, write)) in
        [(false, "copy"), (true, "copy"), (false, "insert"), (true, "insert")]
            .into_iter()
            .enumerate()
    {
        let out = folder.path().join(at.to_string());
        let shown = out.display();
        let copy = |rows: &str, mode: &str| {
            format!("copy ({rows}) to '{shown}/' stored as parquet options (mode '{mode}')")
        };
        expect("local[2]", &copy("select 1 as a", "error"), "")?;
        let table = format!("seen={shown}/");
        let (flags, view) = match is_view {
            false => (vec!["--table", &table], String::new()),
            true => (Vec::new(), format!("create view seen as select * from '{shown}/';")),
        };
        let overwrite = match write {
            "copy" => copy("select a + 10 as a from seen", "overwrite"),
            _ => format!(
                "create external table t (a bigint) stored as parquet location '{shown}/'; \
                 insert overwrite t select a + 10 from seen"
            ),
        };
        let run = |query: &str| {
            let mut arguments = vec!["sql", "--quiet", "--master", "local[2]", "--format", "csv"];
            arguments.extend(&flags);
            arguments.extend(["-e", query]);
            Running::start(&arguments).end()
        };
        let append = copy("select 2 as a", "append");
        run(&format!("{view} {append}; {overwrite}"))?.expect(1, "", &["another write"])?;
        let read = format!("select * from '{shown}/' order by a");
        expect("local[2]", &read, "a\n1\n2\n")?;
        run(&format!("{view} {overwrite}"))?.expect(0, "", &[])?;
        expect("local[2]", &read, "a\n11\n12\n")?;
    }
    Ok(())
}

fn tables_are_written_as_they_are_declared() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name);
    let table = |name: &str, columns: &str, options: &str| {
        let location = place(name);
        format!(
            "create external table t ({columns}) stored as csv location '{}/' options ({options});",
            location.display()
        )
    };
    // Options of writes: two rows a file, each file sorted.
    let sized = table("sized", "a int", "max_file_rows '2', sort_by 'a desc', has_header 'true'");
    let rows = "insert into t select i from generate_series(1, 5) s(i)";
    let query = format!("set datafusion.execution.target_partitions = 1; {sized} {rows}");
    expect("local[2]", &query, "")?;
    let texts: Vec<String> =
        data(&place("sized")).iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    assert_eq!(texts, ["a\n5\n4\n", "a\n3\n2\n", "a\n1\n"]);

    // No nulls where there are none, and nothing of a write that has one.
    for (at, master) in MASTERS.into_iter().enumerate() {
        let name = format!("strict-{at}");
        let strict = table(&name, "a int not null, b int", "has_header 'true'");
        let insert = "insert into t select nullif(i, 900), i from generate_series(1, 1000) s(i)";
        let ended = run(master, &format!("{strict} {insert}"))?;
        ended.expect(1, "", &["a NULL for the column `a`, which is declared NOT NULL"])?;
        assert!(data(&place(&name)).is_empty(), "{:?}", files(&place(&name)));
        let insert = "insert into t (a) select i from generate_series(1, 10) s(i)";
        expect(master, &format!("{strict} {insert}; select count(*) as n from t"), "n\n10\n")?;
    }

    // Options that only readers, or only writers, follow.
    for option in ["escape '\\'", "comment '#'", "null_value 'NA'", "date_format '%d.%m.%Y'"] {
        let query = format!("{} insert into t values (1)", table("one-way", "a int", option));
        let name = option.split_whitespace().next().unwrap_or_default();
        refused(&query, &[&format!("`INSERT` into a CSV table with the option `{name}`")])?;
    }

    // A folder of one format stays one.
    let copy = |format: &str, mode: &str| {
        format!(
            "copy (select 1 as a) to '{}/' stored as {format} options (mode '{mode}')",
            place("mixed").display()
        )
    };
    expect("local[2]", &copy("parquet", "error"), "")?;
    refused(&copy("csv", "append"), &["holds files such as", "and the write adds `.csv`"])?;
    expect("local[2]", &copy("csv", "overwrite"), "")?;
    expect("local[2]", &copy("csv", "append"), "")?;
    let read = format!("select * from '{}/'", place("mixed").display());
    expect("local[2]", &read, "a\n1\n1\n")
}

/// Writes that take some time, with a driver that dies at a random moment of them.
fn a_killed_driver_leaves_old_or_new() -> Result<(), Failed> {
    let seed = 7;
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let mut killed = 0;
    for master in MASTERS {
        for round in 0..12_i64 {
            let out = folder.path().join(format!("{master}-{round}"));
            let shown = out.display();
            let mode = if round % 2 == 0 { "overwrite" } else { "append" };
            let copy = |from: i64, mode: &str| {
                format!(
                    "copy (select i, i % 20 as k from generate_series({from}, {}) s(i)) to '{shown}' \
                     stored as parquet partitioned by (k) options (mode '{mode}')",
                    from + 299_999
                )
            };
            expect(master, &copy(1, "error"), "")?;
            let query = copy(1_000_001, mode);
            let writer = Running::start(&["sql", "--quiet", "--master", master, "-e", &query]);
            std::thread::sleep(Duration::from_millis(random.random_range(5..150)));
            writer.signal(Signal::KILL);
            let ended = writer.end()?;
            killed += u32::from(ended.status.code().is_none());
            let count = format!("select count(*) as n, min(i) as a, max(i) as z from '{shown}/'");
            let read = run("local[2]", &count)?;
            let seen = String::from_utf8(read.stdout)?;
            let old = "n,a,z\n300000,1,300000\n";
            let new = match mode {
                "overwrite" => "n,a,z\n300000,1000001,1300000\n",
                _ => "n,a,z\n600000,1,1300000\n",
            };
            if seen != old && seen != new {
                return Err(
                    format!("seed {seed}, {master}, {round}: {seen} {}", read.stderr).into()
                );
            }
            // The next write finishes it, and leaves no more than its own files.
            expect(master, &copy(5, "overwrite"), "")?;
            expect("local[2]", &count, "n,a,z\n300000,5,300004\n")?;
            let visible = data(&out).len();
            let of_one_write: std::collections::BTreeSet<String> = data(&out)
                .iter()
                .map(|path| path.to_string_lossy().rsplit_once('-').expect("an id").1.to_owned())
                .collect();
            assert_eq!(of_one_write.len(), 1, "{visible} files of {of_one_write:?}");
        }
    }
    assert!(killed > 8, "{killed} of 24 were killed in time");
    Ok(())
}

fn a_killed_worker_changes_no_file() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut random = SmallRng::seed_from_u64(11);
    let mut killed = 0;
    for round in 0..6 {
        let out = folder.path().join(round.to_string());
        let copy = format!(
            "copy (select a.value as i, a.value % 20 as k from generate_series(1, 200000) a \
             join generate_series(1, 200000) b on a.value = b.value) to '{}' stored as parquet \
             partitioned by (k)",
            out.display()
        );
        let master = "local-cluster[3,1,256MiB]";
        let writer = Running::start(&["sql", "--master", master, "-e", &copy]);
        let _ = writer.line("stage 0 finished")?;
        std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
        let workers: Vec<u32> = writer.children();
        if let Some(worker) = workers.last() {
            let id = rustix::process::Pid::from_raw(i32::try_from(*worker)?).expect("not zero");
            killed += u32::from(rustix::process::kill_process(id, Signal::KILL).is_ok());
        }
        let ended = writer.end()?;
        if ended.status.code() != Some(0) {
            // The manager is a child of its own: without it the job fails, and nothing is seen.
            assert!(data(&out).is_empty(), "{:?}", data(&out));
            continue;
        }
        let read = format!(
            "select count(*) as n, sum(i) as s, count(distinct i) as d from '{}/'",
            out.display()
        );
        expect("local[2]", &read, "n,s,d\n200000,20000100000,200000\n")?;
    }
    assert!(killed > 0);
    Ok(())
}
