//! `SET`, `RESET` and `SHOW`: what a session takes, and what it refuses.

use libtest_mimic::Failed;

use super::{Test, sql};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("our_own_keys_are_set_shown_and_reset", our_own_keys_are_set_shown_and_reset),
    ("reset_brings_back_what_the_session_was_opened_with", reset_brings_back_the_opening),
    ("a_setting_that_does_nothing_is_refused", a_setting_that_does_nothing_is_refused),
    ("an_unknown_setting_suggests_the_nearest", an_unknown_setting_suggests_the_nearest),
    ("a_bad_value_is_refused", a_bad_value_is_refused),
    ("a_format_setting_changes_what_is_printed", a_format_setting_changes_what_is_printed),
];

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,256MiB]"];

/// The names and values that `SHOW` prints after some statements, one statement a line.
fn show(statements: &str, key: &str, more: &[&str]) -> Result<String, Failed> {
    let ended = sql(&format!("{statements}; show {key}"), &[&["--format", "csv"], more].concat())?;
    let stdout = String::from_utf8(ended.stdout.clone())?;
    let row = stdout.strip_prefix("name,value\n").map(|row| row.trim_end().to_owned());
    row.ok_or_else(|| format!("{stdout}{}", ended.stderr).into())
}

fn our_own_keys_are_set_shown_and_reset() -> Result<(), Failed> {
    for master in MASTERS {
        for (key, value, shown, opened) in [
            ("shuffle.partitions", "7", "7", ""),
            ("broadcast.threshold", "'1KiB'", "1KiB", "10MiB"),
            ("sort.sample_threshold", "'0B'", "0B", "32MiB"),
            ("execution.batch_rows", "100", "100", "8192"),
            ("sql.ansi", "false", "false", "true"),
        ] {
            let more = ["--master", master];
            let set = show(&format!("set {key} = {value}"), key, &more)?;
            let reset = show(&format!("set {key} = {value}; reset {key}"), key, &more)?;
            if set != format!("{key},{shown}") || reset != format!("{key},{opened}") {
                return Err(format!("{key} on {master}: `{set}`, `{reset}`").into());
            }
        }
    }
    // They do what `--conf` does.
    let query = "explain select value % 3, count(*) from generate_series(1, 9) group by 1";
    let more = ["--master", MASTERS[1]];
    let set = sql(&format!("set shuffle.partitions = 7; {query}"), &more)?;
    let stdout = String::from_utf8(set.stdout)?;
    if stdout.contains("exchange of 7") { Ok(()) } else { Err(stdout.into()) }
}

fn reset_brings_back_the_opening() -> Result<(), Failed> {
    let key = "datafusion.execution.batch_size";
    let more = ["--conf", "execution.batch_rows=123"];
    let row = show(&format!("set {key} = 9; reset {key}"), key, &more)?;
    if row != format!("{key},123") {
        return Err(row.into());
    }
    // The default of DataFusion is the number of CPUs, not that of the master.
    let row =
        show(&format!("set {key} = 9; set datafusion.format.null = 'x'; reset all"), key, &more)?;
    if row != format!("{key},123") {
        return Err(row.into());
    }
    let key = "datafusion.execution.target_partitions";
    let row = show(&format!("set {key} = 9; reset {key}"), key, &["--master", "local[3]"])?;
    if row == format!("{key},3") { Ok(()) } else { Err(row.into()) }
}

fn a_setting_that_does_nothing_is_refused() -> Result<(), Failed> {
    for master in MASTERS {
        for (statement, reason) in [
            ("set datafusion.runtime.memory_limit = '1G'", "= help: give `--memory SIZE` at start"),
            ("reset datafusion.runtime.memory_limit", "= help: give `--memory SIZE` at start"),
            ("set datafusion.execution.minimum_parallel_output_files = 2", "writes files"),
            ("set datafusion.execution.max_spill_file_size_bytes = 1000", "a spill file per batch"),
            (
                "set scheduler.lease = '3s'",
                "= help: give it at start: `--conf scheduler.lease=VALUE`",
            ),
            (
                "set datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery = false",
                "would give a wrong answer",
            ),
        ] {
            let parts = ["error: ", reason, &format!("1 | {statement}\n")];
            sql(statement, &["--master", master])?.expect(1, "", &parts)?;
        }
    }
    // A script is parsed before its first statement runs.
    let dialect = "set datafusion.sql_parser.dialect = 'MySQL'";
    sql(dialect, &[])?.expect(1, "", &["error: ", "a script is parsed before it runs"])?;
    let stealing = "set datafusion.execution.enable_file_stream_work_stealing = true";
    sql(stealing, &["--master", MASTERS[0]])?.expect(0, "", &[])?;
    let parts = ["error: ", "a task of a cluster has its own files alone"];
    Ok(sql(stealing, &["--master", MASTERS[1]])?.expect(1, "", &parts)?)
}

fn an_unknown_setting_suggests_the_nearest() -> Result<(), Failed> {
    for (key, nearest) in [
        ("datafusion.execution.batchsize", "datafusion.execution.batch_size"),
        ("batch_size", "datafusion.execution.batch_size"),
        ("shuffle.partition", "shuffle.partitions"),
        ("datafusion.execution.timezone", "datafusion.execution.time_zone"),
    ] {
        let error = format!("error: unknown setting `{key}`\n");
        let help = format!("= help: did you mean `{nearest}`? `SHOW ALL` lists every setting");
        for statement in [format!("set {key} = 1"), format!("reset {key}")] {
            sql(&statement, &[])?.expect(1, "", &[&error, &help])?;
        }
    }
    Ok(())
}

fn a_bad_value_is_refused() -> Result<(), Failed> {
    for (key, value) in [
        ("shuffle.partitions", "0"),
        ("sort.sample_threshold", "'much'"),
        ("execution.batch_rows", "'many'"),
        ("sql.ansi", "'perhaps'"),
        ("datafusion.execution.time_zone", "'Mars/Olympus'"),
        ("datafusion.optimizer.prefer_hash_join", "'perhaps'"),
    ] {
        let error = format!("error: can't set `{key}`: ");
        let ended = sql(&format!("set {key} = {value}"), &[])?;
        ended.expect(1, "", &[&error, "^^^"])?;
    }
    Ok(())
}

fn a_format_setting_changes_what_is_printed() -> Result<(), Failed> {
    let query = "set datafusion.format.null = '-'; set datafusion.format.date_format = '%d.%m.%Y'; \
                 select null as a, date '2026-01-02' as b";
    let rows = "+---+------------+\n| a | b          |\n+---+------------+\n\
                | - | 02.01.2026 |\n+---+------------+\n";
    Ok(sql(query, &[])?.expect(0, rows, &[])?)
}
