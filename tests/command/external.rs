//! `CREATE EXTERNAL TABLE` over folders and files as Spark and Hive leave them.

use std::path::Path;

use libtest_mimic::Failed;

use super::{Test, sql};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("hives_null_partition_is_null", hives_null_partition_is_null),
    ("filters_choose_partitions_null_or_not", filters_choose_partitions_null_or_not),
    ("hidden_files_are_not_data", hidden_files_are_not_data),
    ("a_null_in_a_column_declared_not_null_is_a_row", a_null_declared_not_null_is_a_row),
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

fn expect(query: &str, rows: &str) -> Result<(), Failed> {
    for master in MASTERS {
        let ended = sql(query, &["--format", "csv", "--master", master])?;
        ended.expect(0, rows, &[]).map_err(|error| format!("{query} on {master}: {error}"))?;
    }
    Ok(())
}

/// Three partitions, one of them of nulls, with what a writer leaves beside them.
const PARTITIONS: [(&str, &str); 6] = [
    ("c=1/a.csv", "id\n1\n2\n"),
    ("c=2/a.csv", "id\n3\n"),
    ("c=__HIVE_DEFAULT_PARTITION__/a.csv", "id\n4\n5\n"),
    ("_SUCCESS", ""),
    ("c=1/.a.csv.crc", "crc\n"),
    ("_temporary/0/c=1/a.csv", "id\n9\n"),
];

const CSV: &str = "options ('format.has_header' 'true')";

fn hives_null_partition_is_null() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &PARTITIONS)?;
    let root = folder.path().display();
    for columns in ["", "(id int, c int)", "(id int, c varchar)", "(id int, c double not null)"] {
        let table = format!(
            "create external table t {columns} stored as csv partitioned by (c) location '{root}/' {CSV}"
        );
        for (query, rows) in [
            ("select id from t where c is null order by id", "id\n4\n5\n"),
            ("select count(*) as n from t where c is not null", "n\n3\n"),
            (
                "select cast(c as int) as c, sum(id) as s from t group by c order by 1 nulls last",
                "c,s\n1,3\n2,3\n,9\n",
            ),
            ("select a.id from t a join t b on a.c = b.c and a.id < b.id", "id\n1\n"),
            ("select id from t where cast(c as int) not in (2) order by id", "id\n1\n2\n"),
            (
                "select count(*) as n from t where cast(c as varchar) = '__HIVE_DEFAULT_PARTITION__'",
                "n\n0\n",
            ),
        ] {
            expect(&format!("{table}; {query}"), rows)?;
        }
    }
    Ok(())
}

fn filters_choose_partitions_null_or_not() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), &PARTITIONS)?;
    let root = folder.path().display();
    for (filter, read, left_out) in [
        ("c is null", &["c=__HIVE_DEFAULT_PARTITION__"][..], &["c=1", "c=2"][..]),
        ("c = 2", &["c=2"], &["c=1", "c=__HIVE_DEFAULT_PARTITION__"]),
        ("c is null or c = 1", &["c=1", "c=__HIVE_DEFAULT_PARTITION__"], &["c=2"]),
    ] {
        for master in MASTERS {
            let query = format!(
                "create external table t (id int, c int) stored as csv partitioned by (c) \
                 location '{root}/' {CSV}; explain select id from t where {filter}"
            );
            let plan = String::from_utf8(sql(&query, &["--master", master])?.stdout)?;
            let groups = plan.split("file_groups").nth(1).ok_or_else(|| plan.clone())?;
            let has = |folder: &&&str| groups.contains(&format!("{folder}/a.csv"));
            if !read.iter().all(|folder| has(&folder)) || left_out.iter().any(|folder| has(&folder))
            {
                return Err(format!("{filter} on {master}: {plan}").into());
            }
        }
    }
    Ok(())
}

fn hidden_files_are_not_data() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(
        folder.path(),
        &[
            ("a.csv", "id\n1\n"),
            ("in/b.csv", "id\n2\n"),
            ("_old.csv", "id\n9\n"),
            (".a.csv", "id\n9\n"),
            ("_temporary/0/a.csv", "id\n9\n"),
            (".staged/a.csv", "id\n9\n"),
            ("_SUCCESS", ""),
        ],
    )?;
    let root = folder.path().display();
    for columns in ["", "(id int)"] {
        let table = format!(
            "create external table t {columns} stored as csv location '{root}/' {CSV}; \
             select sum(id) as s from t"
        );
        // Folders below that are no partitions are not read either.
        expect(&table, "s\n1\n")?;
    }
    expect(&format!("select sum(id) as s from '{root}/'"), "s\n3\n")?;
    // One that is asked for by its name is read.
    let table = format!(
        "create external table t stored as csv location '{root}/_old.csv' {CSV}; \
         select sum(id) as s from t"
    );
    expect(&table, "s\n9\n")
}

fn a_null_declared_not_null_is_a_row() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    write(
        folder.path(),
        &[("a.csv", "a,b\n1,x\n2,\n"), ("a.json", "{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n")],
    )?;
    let root = folder.path().display();
    for (format, options) in [("csv", CSV), ("json", "")] {
        let table = format!(
            "create external table t (a int not null, b varchar not null) stored as {format} \
             location '{root}/a.{format}' {options}"
        );
        expect(&format!("{table}; select a from t where b is null"), "a\n2\n")?;
        expect(&format!("{table}; select count(b) as n from t where b is not null"), "n\n1\n")?;
    }
    Ok(())
}
