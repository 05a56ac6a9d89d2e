//! Bad input: a clear error each, and the exit code that says whether the command line alone shows
//! it (2) or what was met later (1).

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;

use super::{Test, gnist, sql};
use crate::process::{Running, command};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("a_missing_path_is_named", a_missing_path_is_named),
    ("an_empty_folder_is_named", an_empty_folder_is_named),
    ("a_corrupt_footer_is_named", a_corrupt_footer_is_named),
    ("the_nearest_column_is_suggested", the_nearest_column_is_suggested),
    ("the_nearest_table_is_suggested", the_nearest_table_is_suggested),
    ("a_type_error_is_underlined", a_type_error_is_underlined),
    ("a_syntax_error_is_underlined", a_syntax_error_is_underlined),
    ("no_such_master", no_such_master),
    ("bad_masters_are_refused", bad_masters_are_refused),
    ("the_nearest_key_is_suggested", the_nearest_key_is_suggested),
    ("bad_values_are_refused", bad_values_are_refused),
    ("only_loopback_is_listened_on", only_loopback_is_listened_on),
    ("a_work_folder_that_cant_be_written", a_work_folder_that_cant_be_written),
    ("too_little_memory_spills_or_says_where", too_little_memory_spills_or_says_where),
    ("a_table_of_a_path_is_not_inserted_into", a_table_of_a_path_is_not_inserted_into),
    ("what_comes_later_says_so", what_comes_later_says_so),
    ("a_foreign_marker_is_refused", a_foreign_marker_is_refused),
];

const MASTERS: [&str; 3] = ["local", "local[2]", "local-cluster[2,1,256MiB]"];

fn table(path: &Path) -> String {
    format!("t={}", path.display())
}

fn a_missing_path_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("missing.parquet");
    let error = format!("error: no such file or folder: `{}`", missing.display());
    let more = ["--table", &table(&missing)];
    Ok(sql("select * from t", &more)?.expect(1, "", &[&error])?)
}

fn an_empty_folder_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("_SUCCESS"), "")?;
    let error = format!("error: the folder `{}` holds no data files", folder.path().display());
    let more = ["--table", &table(folder.path())];
    Ok(sql("select * from t", &more)?.expect(1, "", &[&error, "= help: "])?)
}

fn a_corrupt_footer_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bad.parquet");
    let error = format!("error: can't read `{}` as Parquet: ", file.display());
    let footer = [&[0_u8; 1000][..], &[16, 0, 0, 0], b"PAR1"].concat();
    for bytes in [&b""[..], b"PAR1", &[7; 1000], &footer] {
        std::fs::write(&file, bytes)?;
        let more = ["--table", &table(&file)];
        sql("select * from t", &more)?.expect(1, "", &[&error])?;
    }
    Ok(())
}

fn the_nearest_column_is_suggested() -> Result<(), Failed> {
    let query = "select 1;\nselect l_shipmod from (select 'AIR' as l_shipmode)";
    let error = "error: column 'l_shipmod' not found\n --> query:2:8\n  |\n\
         2 | select l_shipmod from (select 'AIR' as l_shipmode)\n  |        ^^^^^^^^^\n  \
         = help: did you mean `l_shipmode`?\n";
    Ok(sql(query, &["--format", "json"])?.expect(1, "{\"Int64(1)\":1}\n", &[error])?)
}

fn the_nearest_table_is_suggested() -> Result<(), Failed> {
    let query = "create view lineitem as select 1; select * from lineitm";
    let parts = ["error: table 'lineitm' not found", "^^^^^^^", "= help: did you mean `lineitem`?"];
    Ok(sql(query, &[])?.expect(1, "", &parts)?)
}

fn a_type_error_is_underlined() -> Result<(), Failed> {
    let parts = [
        "error: no function matches the given name and argument types 'sum(Utf8)'\n",
        " --> query:1:8\n  |\n1 | select sum(word) from (select 'x' as word)\n  |        ^^^^^^^^",
        "  = help: it takes sum(",
    ];
    sql("select sum(word) from (select 'x' as word)", &[])?.expect(1, "", &parts)?;
    let parts = ["error: expressions have incompatible types", "1 | select number + true", "^"];
    Ok(sql("select number + true from (select 1 as number)", &[])?.expect(1, "", &parts)?)
}

fn a_syntax_error_is_underlined() -> Result<(), Failed> {
    let error = "error: expected: an SQL statement, found: selec\n --> query:1:11\n  |\n\
         1 | select 1; selec 2\n  |           ^\n";
    let ended = sql("select 1; selec 2", &[])?;
    ended.expect(1, "", &[error])?;
    sql("select 'x", &[])?.expect(
        1,
        "",
        &["error: unterminated string literal", "1 | select 'x"],
    )?;
    Ok(())
}

fn no_such_master() -> Result<(), Failed> {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let master = format!("gnist://{free}");
    let error = format!("error: can't reach the cluster manager at `{master}`: connection refused");
    let parts = [error.as_str(), "= help: "];
    for arguments in [
        vec!["sql", "-e", "select 1", "--master", &master],
        vec!["workers", "--master", &master],
        vec!["apps", "--master", &master, "--format", "json"],
        vec!["status", "app-0", "--master", &master],
        vec!["kill", "app-0", "--master", &master],
        vec!["worker", "--master", &master],
    ] {
        let ended = gnist(&arguments)?;
        ended.expect(1, "", &parts)?;
        ended.within(Duration::from_secs(5))?;
    }
    let by_variable =
        Running::spawn(command(&["sql", "-e", "select 1"]).env("GNIST_MASTER", &master));
    Ok(by_variable.end()?.expect(1, "", &parts)?)
}

fn bad_masters_are_refused() -> Result<(), Failed> {
    for (master, reason) in [
        ("local[0]", "`0` is not a number of slots"),
        ("local[x]", "`x` is not a number of slots"),
        ("local-cluster[0,1,1GiB]", "`0` is not a number of workers"),
        ("local-cluster[1,1]", "it needs workers, slots and memory"),
        ("spark://127.0.0.1:7077", "gnist://HOST:PORT"),
        ("gnist://", "bad master URL"),
    ] {
        let ended = sql("select 1", &["--master", master])?;
        ended.expect(2, "", &["error: ", "bad master URL", reason])?;
    }
    let by_variable =
        Running::spawn(command(&["sql", "-e", "select 1"]).env("GNIST_MASTER", "lokal"));
    by_variable.end()?.expect(2, "", &["bad master URL `lokal`", "(from GNIST_MASTER)"])?;
    let ended = gnist(&["workers", "--master", "local[2]"])?;
    Ok(ended.expect(2, "", &["`local[2]` is not a standing cluster", "= help: "])?)
}

fn the_nearest_key_is_suggested() -> Result<(), Failed> {
    let parts = ["unknown config key `shuffle.partition`", "did you mean `shuffle.partitions`?"];
    sql("select 1", &["--conf", "shuffle.partition=4"])?.expect(2, "", &parts)?;
    let mut by_variable = command(&["sql", "-e", "select 1"]);
    by_variable.env("GNIST_CONF_SHUFFLE_PARTITION", "4");
    let parts = ["did you mean"];
    Running::spawn(&mut by_variable).end()?.expect(2, "", &parts)?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("gnist.toml"), "[shuffle]\npartition = 4\n")?;
    let mut by_file = command(&["sql", "-e", "select 1"]);
    by_file.current_dir(folder.path());
    let parts = ["gnist.toml", "did you mean `shuffle.partitions`?"];
    Running::spawn(&mut by_file).end()?.expect(2, "", &parts)?;
    // Other variables of ours are not ours to judge.
    let mut foreign = command(&["sql", "--quiet", "--format", "csv", "-e", "select 1 as a"]);
    foreign.env("GNIST_HOME", "/nowhere");
    Ok(Running::spawn(&mut foreign).end()?.expect(0, "a\n1\n", &[])?)
}

fn bad_values_are_refused() -> Result<(), Failed> {
    let worker = ["worker", "--master", "gnist://127.0.0.1:1", "--slots", "0"];
    let parts = ["error: ", "--slots", "`0` is not a number of slots, 1 or more"];
    gnist(&worker)?.expect(2, "", &parts)?;
    let huge = sql("select 1", &["--master", "local-cluster[1,1,99999999GiB]"])?;
    huge.expect(1, "", &["error: ", "more than the RAM of this machine"])?;
    for (more, part) in [
        (["--conf", "shuffle.partitions=0"], "shuffle.partitions"),
        (["--conf", "scheduler.lease=soon"], "scheduler.lease"),
        (["--conf", "broadcast.threshold=large"], "broadcast.threshold"),
        (["--conf", "shuffle.partitions"], "NAME=VALUE"),
        (["--memory", "0"], "--memory"),
        (["--memory", "much"], "--memory"),
        (["--memory", "1KiB"], "less than the 16.0 MiB of one process"),
        (["--memory", "99999999GiB"], "more than the RAM of this machine"),
        (["--master", "local-cluster[2,1,1KiB]"], "less than the 16.0 MiB of one process"),
        (["--format", "xml"], "--format"),
        (["--table", "t"], "NAME=VALUE"),
    ] {
        sql("select 1", &more)?.expect(2, "", &["error: ", part])?;
    }
    Ok(gnist(&["sqll"])?.expect(2, "", &["error: ", "sql"])?)
}

fn only_loopback_is_listened_on() -> Result<(), Failed> {
    let loopback = "127.0.0.1:0";
    for arguments in [
        ["cluster-manager", "--listen", "0.0.0.0:0", "--ui", loopback],
        ["cluster-manager", "--listen", loopback, "--ui", "0.0.0.0:0"],
        ["worker", "--listen", "0.0.0.0:0", "--master", "gnist://127.0.0.1:1"],
    ] {
        let parts = ["error: ", "`0.0.0.0:0` is not on loopback", "= help: listen on"];
        gnist(&arguments)?.expect(2, "", &parts)?;
    }
    Ok(())
}

fn a_work_folder_that_cant_be_written() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "")?;
    for master in MASTERS {
        let mut query = command(&["sql", "--master", master, "-e", "select 1"]);
        let ended = Running::spawn(query.env("TMPDIR", &file)).end()?;
        ended.expect(1, "", &["error: ", &file.join("gnist").display().to_string()])?;
        ended.within(Duration::from_secs(5))?;
    }
    Ok(())
}

fn too_little_memory_spills_or_says_where() -> Result<(), Failed> {
    // A join needs its build side in memory.
    let join = "select count(*) from generate_series(1, 5000000) a \
         join generate_series(1, 5000000) b on a.value = b.value";
    let more = ["--format", "csv", "--master", "local[2]", "--memory", "64MiB"];
    let parts = ["error: `HashJoin", "of the memory budget of 64.0 MiB", ", peak ", "= help: "];
    sql(join, &more)?.expect(1, "count(*)\n", &parts)?;
    // An aggregate spills.
    let group = "select count(*) as n from (select value % 3000000 as k, array_agg(value) \
         from generate_series(1, 5000000) group by 1)";
    for master in ["local[2]", "local-cluster[2,1,64MiB]"] {
        let more = ["--format", "csv", "--master", master, "--memory", "64MiB", "-e", group];
        let ended = gnist(&[&["sql"][..], &more].concat())?;
        ended.expect(0, "n\n3000000\n", &[" spilled"])?;
    }
    Ok(())
}

fn a_table_of_a_path_is_not_inserted_into() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, "a\n1\n")?;
    for master in MASTERS {
        let more = ["--master", master, "--table", &table(&rows)];
        let ended = sql("insert into t values (2)", &more)?;
        ended.expect(1, "", &["error: `INSERT` into `t`, which is no external table", "COPY"])?;
    }
    let is_untouched = std::fs::read_to_string(&rows)? == "a\n1\n";
    if is_untouched { Ok(()) } else { Err("something was written".into()) }
}

fn what_comes_later_says_so() -> Result<(), Failed> {
    for arguments in [vec!["submit", "job.sql"], vec!["logs", "app-0"]] {
        gnist(&arguments)?.expect(2, "", &["error: `gnist ", "` is not supported yet"])?;
    }
    Ok(())
}

fn a_foreign_marker_is_refused() -> Result<(), Failed> {
    let mut child = command(&["sql", "-e", "select 1"]);
    child.env("GNIST_CHILD", "a child that nobody started");
    Ok(Running::spawn(&mut child).end()?.expect(
        2,
        "",
        &["error: `GNIST_CHILD` is set by Gnist"],
    )?)
}
