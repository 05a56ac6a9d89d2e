//! Output forms: what goes to stdout, to the last byte, and what goes to stderr.

use libtest_mimic::Failed;

use super::{Test, gnist, sql};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("csv", csv),
    ("json", json),
    ("table", table),
    ("arrow", arrow),
    ("no_rows", no_rows),
    ("several_results_follow_each_other", several_results_follow_each_other),
    ("csv_and_arrow_take_one_result", csv_and_arrow_take_one_result),
    ("statements_stop_at_the_first_error", statements_stop_at_the_first_error),
    ("a_finished_stage_is_a_line_on_stderr", a_finished_stage_is_a_line_on_stderr),
    ("tables_are_read_from_files_and_folders", tables_are_read_from_files_and_folders),
    ("a_file_of_statements_and_stdin", a_file_of_statements_and_stdin),
];

fn csv() -> Result<(), Failed> {
    let query = "select 1 as a, '' as b, null as c, 'x,\"y\"' as d, 'line\nbreak' as \"e,f\", \
         true as g, 1.50::decimal(5,2) as h, timestamp '2026-01-02T03:04:05' as i";
    let rows = "a,b,c,d,\"e,f\",g,h,i\n\
         1,\"\",,\"x,\"\"y\"\"\",\"line\nbreak\",true,1.50,2026-01-02T03:04:05\n";
    Ok(sql(query, &["--format", "csv"])?.expect(0, rows, &[])?)
}

fn json() -> Result<(), Failed> {
    let query = "select 9223372036854775807 as a, 18446744073709551615 as b, null as c, \
         1.10::decimal(5,2) as d, 'x\"y\n' as e, true as f, date '2026-01-02' as g, \
         '12345678901234567890123456789.5'::decimal(38,1) as h, make_array(1, null) as i";
    let rows = "{\"a\":9223372036854775807,\"b\":18446744073709551615,\"c\":null,\"d\":1.10,\
         \"e\":\"x\\\"y\\n\",\"f\":true,\"g\":\"2026-01-02\",\
         \"h\":12345678901234567890123456789.5,\"i\":[1,null]}\n";
    Ok(sql(query, &["--format", "json"])?.expect(0, rows, &[])?)
}

fn table() -> Result<(), Failed> {
    let query = "select * from (values (1, 'one'), (22, null)) t(number, word)";
    let rows = "+--------+------+\n| number | word |\n+--------+------+\n\
                | 1      | one  |\n| 22     | NULL |\n+--------+------+\n";
    sql(query, &[])?.expect(0, rows, &[])?;
    // Every row, not the first thousand.
    let long = sql("select value from generate_series(1, 20000)", &[])?;
    let lines = long.stdout.iter().filter(|byte| **byte == b'\n').count();
    if lines != 20_004 {
        return Err(format!("{lines} lines").into());
    }
    // One that is wider than all that were measured is printed whole.
    let wide = sql(
        "select case when value = 5000 then 'much wider than the others' end as w \
         from generate_series(1, 5000) order by value",
        &[],
    )?;
    let end = "| NULL |\n| much wider than the others |\n+------+\n";
    let text = String::from_utf8_lossy(&wide.stdout).into_owned();
    if text.ends_with(end) { Ok(()) } else { Err(text.into()) }
}

fn arrow() -> Result<(), Failed> {
    let ended = sql("select 1 as a", &["--format", "arrow"])?;
    // A stream begins with the marker of its first message and ends with an empty one.
    let is_stream = ended.stdout.starts_with(&[0xff; 4])
        && ended.stdout.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    if is_stream { Ok(()) } else { Err(format!("{:?} {}", ended.stdout, ended.stderr).into()) }
}

fn no_rows() -> Result<(), Failed> {
    let query = "select 1 as a where false";
    sql(query, &["--format", "csv"])?.expect(0, "a\n", &[])?;
    sql(query, &["--format", "json"])?.expect(0, "", &[])?;
    sql(query, &[])?.expect(0, "+---+\n| a |\n+---+\n+---+\n", &[])?;
    sql("", &[])?.expect(0, "", &[])?;
    // Rows without columns are rows.
    let rows = "select from (values (1), (2)) t(a)";
    sql(rows, &["--format", "json"])?.expect(0, "{}\n{}\n", &[])?;
    sql(rows, &[])?.expect(0, "", &[])?;
    sql("create view v as select 1", &[])?.expect(0, "", &[])?;
    Ok(())
}

fn several_results_follow_each_other() -> Result<(), Failed> {
    let ended = sql(
        "select 1 as a; set datafusion.execution.batch_size = 100; select 2 as b",
        &["--format", "json"],
    )?;
    Ok(ended.expect(0, "{\"a\":1}\n{\"b\":2}\n", &[])?)
}

fn csv_and_arrow_take_one_result() -> Result<(), Failed> {
    for format in ["csv", "arrow"] {
        let error = "error: csv and arrow take one result, and these statements have 2";
        sql("select 1; select 2", &["--format", format])?.expect(2, "", &[error, "= help: "])?;
    }
    let one = sql("create view v as select 1 as a; select * from v", &["--format", "csv"])?;
    Ok(one.expect(0, "a\n1\n", &[])?)
}

fn statements_stop_at_the_first_error() -> Result<(), Failed> {
    let ended = sql("select 1 as a; select 1 / 0; select 3", &["--format", "json"])?;
    Ok(ended.expect(1, "{\"a\":1}\n", &["error: division by zero: `1 / 0`"])?)
}

fn a_finished_stage_is_a_line_on_stderr() -> Result<(), Failed> {
    // Long enough for the delay of a millisecond that the tests run with.
    let long = "select sum(value) as a from generate_series(1, 20000000)";
    let loud = gnist(&["sql", "--format", "csv", "-e", long])?;
    loud.expect(0, "a\n200000010000000\n", &["stage 0 finished: 1 task, 1 row,"])?;
    let quiet = sql("select 1 as a", &["--format", "csv"])?;
    if quiet.stderr.is_empty() { Ok(()) } else { Err(quiet.stderr.into()) }
}

fn tables_are_read_from_files_and_folders() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let rows = folder.path().join("rows");
    std::fs::create_dir(&rows)?;
    std::fs::write(rows.join("1.csv"), "a,b\n1,x\n2,\n")?;
    std::fs::write(rows.join("2.csv"), "a,b\n3,z\n")?;
    std::fs::write(rows.join("_SUCCESS"), "")?;
    let lines = folder.path().join("lines.json");
    std::fs::write(&lines, "{\"a\":3,\"c\":1.5}\n{\"a\":1}\n")?;
    let tables = [format!("t={}", rows.display()), format!("u={}", lines.display())];
    let more = ["--table", &tables[0], "--table", &tables[1], "--format", "csv"];
    let query = "select t.a, b, c from t join u on t.a = u.a order by 1";
    for master in ["local[2]", "local-cluster[2,1,256MiB]"] {
        let more = [&more[..], &["--master", master]].concat();
        sql(query, &more)?.expect(0, "a,b,c\n1,x,\n3,z,1.5\n", &[])?;
    }
    Ok(())
}

fn a_file_of_statements_and_stdin() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("query.sql");
    std::fs::write(&file, "-- a comment\nselect 1 as a;\n")?;
    let file = file.display().to_string();
    gnist(&["sql", "--quiet", "--format", "csv", "-f", &file])?.expect(0, "a\n1\n", &[])?;
    let missing = format!("{file}.missing");
    gnist(&["sql", "-f", &missing])?.expect(1, "", &["error: can't read `", &missing])?;
    std::fs::write(&file, "select 1;\nselect b from (select 1 as a)")?;
    let place = format!(" --> {file}:2:8");
    Ok(gnist(&["sql", "--quiet", "--format", "json", "-f", &file])?.expect(
        1,
        "{\"Int64(1)\":1}\n",
        &["error: column 'b' not found", &place],
    )?)
}
