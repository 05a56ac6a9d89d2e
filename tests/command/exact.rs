//! Files that hold what their columns can't: an error that names both, and never another value.

use std::path::Path;

use libtest_mimic::Failed;

use super::{Test, sql};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("a_late_fraction_in_an_integer_column_is_refused", a_late_fraction_is_refused),
    ("numbers_that_fit_are_read_however_they_are_written", numbers_that_fit_are_read),
    ("decimals_are_rounded_as_by_a_cast", decimals_are_rounded_as_by_a_cast),
    ("what_does_not_fit_names_its_file", what_does_not_fit_names_its_file),
];

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,256MiB]"];

fn write(folder: &Path, name: &str, text: &str) -> Result<String, Failed> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Rows of more than types are inferred from, and a last one.
fn late(row: &str, last: &str, between: &str) -> String {
    format!("{}{last}", format!("{row}{between}").repeat(1100))
}

fn a_late_fraction_is_refused() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let lines = late("{\"a\":1,\"s\":{\"n\":[1]}}", "{\"a\":1.5,\"s\":{\"n\":[-2.25]}}", "\n");
    let lines = write(folder.path(), "late.ndjson", &lines)?;
    let array = format!("[{}]", late("{\"a\":1}", "{\"a\":0.25}", ","));
    let array = write(folder.path(), "late.json", &array)?;
    let of_array = format!(
        "create external table t (a int) stored as json location '{array}' \
         options ('format.newline_delimited' 'false'); select max(a) from t"
    );
    for (query, error) in [
        (
            format!("select sum(a) from '{lines}'"),
            format!("error: the column `a` is BIGINT, and `{lines}` holds 1.5 in it\n"),
        ),
        (
            format!("select s from '{lines}'"),
            format!(
                "error: the column `s` is Struct(\"n\": List(Int64)), and `{lines}` holds -2.25 in it\n"
            ),
        ),
        (of_array, format!("error: the column `a` is INT, and `{array}` holds 0.25 in it\n")),
        (
            format!("select a from '{lines}', information_schema.tables where a > 1"),
            format!("error: the column `a` is BIGINT, and `{lines}` holds 1.5 in it\n"),
        ),
    ] {
        for master in MASTERS {
            let help = "= help: declare the columns with CREATE EXTERNAL TABLE, or ";
            let ended = sql(&query, &["--format", "json", "--master", master])?;
            ended.expect(1, "", &[&error, help]).map_err(|error| format!("{query}: {error}"))?;
        }
    }
    let query = format!(
        "create external table t stored as json location '{lines}' \
         options ('format.schema_infer_max_rec' '2000'); select max(a) as a from t"
    );
    Ok(sql(&query, &["--format", "csv"])?.expect(0, "a\n1.5\n", &[])?)
}

fn numbers_that_fit_are_read() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = write(
        folder.path(),
        "a.ndjson",
        "{\"a\":3.0,\"b\":9223372036854775807,\"c\":18446744073709551615,\"l\":[1e2,null],\"d\":1}\n\
         {\"a\":-1.5e1,\"b\":-9223372036854775808.0,\"c\":\"7\",\"l\":[],\"d\":-99.99}\n\
         {\"a\":null,\"c\":-0.0,\"l\":null,\"new\":1.5}\n",
    )?;
    let query = format!(
        "create external table t (a smallint, b bigint, c bigint unsigned, l int[], d decimal(38, 2)) \
         stored as json location '{path}'; select * from t"
    );
    let rows = "a,b,c,l,d\n3,9223372036854775807,18446744073709551615,\"[100, NULL]\",1.00\n\
                -15,-9223372036854775808,7,[],-99.99\n,,0,,\n";
    for master in MASTERS {
        let ended = sql(&query, &["--format", "csv", "--master", master])?;
        ended.expect(0, rows, &[])?;
    }
    Ok(())
}

fn decimals_are_rounded_as_by_a_cast() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json =
        write(folder.path(), "d.ndjson", "{\"d\":1.239}\n{\"d\":-1.235}\n{\"d\":\"2.5\"}\n")?;
    let csv = write(folder.path(), "d.csv", "k;d\n'a';1.239\n'b';-1.235\n'c';2.5\n")?;
    let options =
        "options ('format.has_header' 'true', 'format.delimiter' ';', 'format.quote' '''')";
    for (columns, format, path, options) in [
        ("d decimal(5, 2)", "json", &json, ""),
        ("k varchar, d decimal(5, 2)", "csv", &csv, options),
    ] {
        let query = format!(
            "create external table t ({columns}) stored as {format} location '{path}' {options}; \
             select d, d = cast('-1.235' as decimal(5, 2)) as c from t"
        );
        for master in MASTERS {
            let ended = sql(&query, &["--format", "csv", "--master", master])?;
            ended.expect(0, "d,c\n1.24,false\n-1.24,true\n2.50,false\n", &[])?;
        }
    }
    Ok(())
}

fn what_does_not_fit_names_its_file() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let json =
        write(folder.path(), "t.ndjson", "{\"a\":1,\"b\":\"x\"}\n{\"a\":300,\"b\":\"y\"}\n")?;
    let csv = write(folder.path(), "t.csv", "a\n1\n1.5\n")?;
    for (columns, format, path, error) in [
        (
            "a tinyint",
            "json",
            &json,
            format!("the column `a` is TINYINT, and `{json}` holds 300 in it"),
        ),
        (
            "a int, b int",
            "json",
            &json,
            format!("can't read `{json}` as JSON: whilst decoding field 'b'"),
        ),
        (
            "a int",
            "csv",
            &csv,
            format!("can't read `{csv}` as CSV: Error while parsing value '1.5'"),
        ),
    ] {
        let query = format!(
            "create external table t ({columns}) stored as {format} location '{path}'; \
             select * from t"
        );
        for master in MASTERS {
            let ended = sql(&query, &["--format", "json", "--master", master])?;
            ended.expect(1, "", &["error: ", &error, "= help: declare the columns"])?;
        }
    }
    Ok(())
}
