//! Paths in place of tables.

use std::path::Path;

use libtest_mimic::Failed;

use super::{Test, sql};
use crate::backends::{block_on, builder};
use crate::process::{Running, command};
use crate::slt::rows_of;

pub(super) const TESTS: &[(&str, Test)] = &[
    ("a_path_stands_for_a_table", a_path_stands_for_a_table),
    ("every_format_and_pattern_is_read", every_format_and_pattern_is_read),
    ("relative_paths_begin_at_the_working_folder", relative_paths_begin_at_the_working_folder),
    ("the_library_reads_paths_too", the_library_reads_paths_too),
    ("a_file_that_was_added_is_seen", a_file_that_was_added_is_seen),
    ("a_missing_file_is_named_and_underlined", a_missing_file_is_named_and_underlined),
    ("what_cant_be_read_says_why", what_cant_be_read_says_why),
    ("a_quoted_name_that_is_no_path_is_a_table", a_quoted_name_that_is_no_path_is_a_table),
];

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,256MiB]"];

fn write(folder: &Path, files: &[(&str, &str)]) -> Result<(), Failed> {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("it has a parent"))?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

const ORDERS: [(&str, &str); 2] = [
    ("orders.csv", "id,item\n1,nut\n2,bolt\n3,nut\n"),
    ("items.ndjson", "{\"item\":\"nut\",\"price\":2}\n"),
];

fn a_path_stands_for_a_table() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &ORDERS)?;
    let root = folder.path().display();
    for (query, rows) in [
        (format!("select count(*) as n from '{root}/orders.csv'"), "n\n3\n"),
        (
            format!(
                "select o.id from \"{root}/orders.csv\" as o join '{root}/items.ndjson' i on o.item = i.item order by 1"
            ),
            "id\n1\n3\n",
        ),
        (
            format!(
                "select id from '{root}/orders.csv' where item in (select item from '{root}/items.ndjson') order by id desc"
            ),
            "id\n3\n1\n",
        ),
        (
            format!(
                "with t as (select * from '{root}/orders.csv') select max(t.id) as m from t, t u"
            ),
            "m\n3\n",
        ),
        (
            format!(
                "create table t as select * from '{root}/orders.csv'; select sum(id) as s from t"
            ),
            "s\n6\n",
        ),
        (
            format!(
                "create view v as select * from '{root}/orders.csv'; select min(id) as s from v"
            ),
            "s\n1\n",
        ),
        (
            format!("describe '{root}/orders.csv'"),
            "column_name,data_type,is_nullable\nid,Int64,YES\nitem,Utf8,YES\n",
        ),
        (
            format!(
                "set datafusion.catalog.has_header = false; select count(*) as n from '{root}/orders.csv'"
            ),
            "n\n4\n",
        ),
    ] {
        for master in MASTERS {
            let ended = sql(&query, &["--format", "csv", "--master", master])?;
            ended.expect(0, rows, &[]).map_err(|error| format!("{query}: {error}"))?;
        }
    }
    Ok(())
}

fn every_format_and_pattern_is_read() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(
        folder.path(),
        &[
            ("a/1.csv", "x\n1\n"),
            ("a/b/2.csv", "x\n2\n"),
            ("a/_note.csv", "x\n9\n"),
            ("j/1.json", "{\"x\":1}\n"),
            ("j/2.json", "{\"x\":2}\n"),
            ("l.jsonl", "{\"x\":3}\n"),
            ("odd [*] %41.csv", "x\n3\n"),
        ],
    )?;
    let root = folder.path().display();
    for (path, sum) in [
        ("a", 3),
        ("a/*.csv", 1),
        ("a/**/*.csv", 3),
        ("j/?.json", 3),
        ("l.jsonl", 3),
        ("odd [*] %41.csv", 3),
    ] {
        for master in MASTERS {
            let query = format!("select sum(x) as s from '{root}/{path}'");
            let ended = sql(&query, &["--format", "csv", "--master", master])?;
            ended
                .expect(0, &format!("s\n{sum}\n"), &[])
                .map_err(|error| format!("{path}: {error}"))?;
        }
    }
    Ok(())
}

fn relative_paths_begin_at_the_working_folder() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &ORDERS)?;
    write(folder.path(), &[("in/x.csv", "a\n7\n")])?;
    for path in ["in/x.csv", "./in", "in/*.csv", "x.csv"] {
        let query = format!("select a from '{path}'");
        let mut command = command(&["sql", "--quiet", "--format", "csv", "-e", &query]);
        let within =
            if path == "x.csv" { folder.path().join("in") } else { folder.path().to_owned() };
        let ended = Running::spawn(command.current_dir(within)).end()?;
        ended.expect(0, "a\n7\n", &[]).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn the_library_reads_paths_too() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &ORDERS)?;
    let root = folder.path().display();
    block_on(async {
        for master in MASTERS {
            let session = builder(master).connect().await?;
            let query = format!("select count(*) from '{root}/orders.csv'");
            let rows =
                session.sql(&query).await.map_err(|error| error.failure())?.collect().await?;
            let read = session.read_csv(&format!("{root}/orders.csv")).await;
            let read = read.map_err(|error| error.failure())?.count().await?;
            let refused = session.read_csv(&format!("{root}/items.ndjson")).await;
            let refused = refused.expect_err("not CSV").failure().to_string();
            if read != 3 || !refused.contains("items.ndjson` is JSON, not CSV") {
                return Err(format!("{read} {refused}").into());
            }
            let missing = session.read_parquet("no/such.parquet").await;
            let missing = missing.expect_err("missing").failure().to_string();
            if !missing.starts_with("no such file or folder: `no/such.parquet`") {
                return Err(missing.into());
            }
            let frame = session.table(format!("\"{root}/orders.csv\"").as_str()).await;
            let frame = frame.map_err(|error| error.failure())?;
            let counted = frame.count().await?;
            if rows.iter().flat_map(rows_of).collect::<Vec<_>>() != [["3"]] || counted != 3 {
                return Err(format!("{rows:?} {counted}").into());
            }
        }
        Ok(())
    })
}

fn a_file_that_was_added_is_seen() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &[("1.csv", "x\n1\n")])?;
    block_on(async {
        let session = builder("local[2]").connect().await?;
        let query = format!("select sum(x) from '{}'", folder.path().display());
        let mut sums = Vec::new();
        for added in ["2.csv", "3.csv"] {
            let rows =
                session.sql(&query).await.map_err(|error| error.failure())?.collect().await?;
            sums.extend(rows.iter().flat_map(rows_of).flatten());
            write(folder.path(), &[(added, "x\n10\n")])?;
        }
        if sums == ["1", "11"] { Ok(()) } else { Err(format!("{sums:?}").into()) }
    })
}

fn a_missing_file_is_named_and_underlined() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &ORDERS)?;
    let root = folder.path().display();
    let query = format!("select 1;\nselect * from '{root}/order.csv' o");
    let marks = "^".repeat(format!("'{root}/order.csv'").len());
    let parts = [
        format!("error: no such file or folder: `{root}/order.csv`\n --> query:2:15\n"),
        format!("2 | select * from '{root}/order.csv' o\n  |               {marks}\n"),
        format!("  = help: did you mean `{root}/orders.csv`?\n"),
    ];
    let parts = [parts[0].as_str(), &parts[1], &parts[2]];
    Ok(sql(&query, &["--format", "json"])?.expect(1, "{\"Int64(1)\":1}\n", &parts)?)
}

fn what_cant_be_read_says_why() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(
        folder.path(),
        &[
            ("empty/_SUCCESS", ""),
            ("mixed/a.csv", "x\n1\n"),
            ("mixed/b.json", "{}\n"),
            ("data.txt", "x\n"),
            ("bad.parquet", "this is not parquet at all"),
            ("long.parquet", "PAR1\x7f\x7f\x7f\x7fPAR1"),
            ("bad.json", "not json\n"),
            ("none.csv", ""),
        ],
    )?;
    let root = folder.path().display();
    for (path, reason, help) in [
        ("empty", "holds no data files", "names that begin with `_`"),
        ("mixed", "are not of one format", "such as `folder/*.csv`"),
        ("data.txt", "can't tell the format of `", "files end in .parquet"),
        ("*.parquet.x", "no file matches `", "are not read"),
        ("[", "is no pattern of paths", "`*` stands for any text"),
        ("bad.parquet", "as Parquet: ", "bad.parquet"),
        ("long.parquet", "as Parquet: the file is damaged", "long.parquet"),
        ("bad.json", "as JSON: ", "bad.json"),
        ("none.csv", "as CSV: the file is empty", "none.csv"),
    ] {
        let ended = sql(&format!("select * from '{root}/{path}'"), &[])?;
        assert!(!ended.stderr.contains("panicked"), "{path}: {}", ended.stderr);
        let parts = ["error: ", reason, help, "^^^"];
        ended.expect(1, "", &parts).map_err(|error| format!("{path}: {error}"))?;
        let by_flag = format!("t={root}/{path}");
        sql("select 1", &["--table", &by_flag])?.expect(1, "", &["error: ", reason, help])?;
    }
    let table = format!("create external table t stored as parquet location '{root}/long.parquet'");
    let parts = ["error: can't read `", "long.parquet` as PARQUET: a file is damaged", "^^^"];
    sql(&table, &[])?.expect(1, "", &parts)?;
    let parts = ["error: there is no store for `ftp://`", "^^^"];
    Ok(sql("select * from 'ftp://bucket/a.csv'", &[])?.expect(1, "", &parts)?)
}

fn a_quoted_name_that_is_no_path_is_a_table() -> Result<(), Failed> {
    let query = "create table \"my.csv\" as select 1 as a; select a from \"my.csv\"";
    sql(query, &["--format", "csv"])?.expect(0, "a\n1\n", &[])?;
    let parts =
        ["error: table 'no.csv' not found", "^^^", "= help: a path is quoted: `from 'no.csv'`"];
    sql("select * from no.csv", &[])?.expect(1, "", &parts)?;
    let parts = ["table 'src' not found", "= help: a folder is read by a path: `from './src'`"];
    sql("select * from src", &[])?.expect(1, "", &parts)?;
    let parts = ["error: table 'no.table' not found", "^^^"];
    sql("select * from \"no.table\"", &[])?.expect(1, "", &parts)?;
    // A new schema knows paths too.
    let folder = tempfile::tempdir()?;
    write(folder.path(), &ORDERS)?;
    let query = format!(
        "create schema s; set datafusion.catalog.default_schema = s; \
         create table t as select 1 as a; select count(*) as n from '{}/orders.csv', t; ",
        folder.path().display()
    );
    Ok(sql(&query, &["--format", "csv"])?.expect(0, "n\n3\n", &[])?)
}
