//! The view of a user at a terminal: the command runs in a pseudo terminal that `script` opens.

use std::process::Command;

use libtest_mimic::Failed;

use super::Test;
use crate::process::{Running, command};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("rows_and_time_follow_a_table", rows_and_time_follow_a_table),
    ("nothing_follows_what_is_piped_or_quiet", nothing_follows_what_is_piped_or_quiet),
    ("a_short_query_shows_no_progress", a_short_query_shows_no_progress),
];

/// Runs the command in a terminal, and returns all that it shows there.
fn shown(arguments: &[&str]) -> Result<String, String> {
    let inner = command(arguments);
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let words = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
    let line = words.collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_remove("GNIST_MASTER").env_remove("RUST_LOG").stdin(std::process::Stdio::null());
    script.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let ended = Running::spawn(&mut script).end()?;
    match ended.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&ended.stdout).replace("\r\n", "\n")),
        code => Err(format!("code {code:?}: {}", String::from_utf8_lossy(&ended.stdout))),
    }
}

fn rows_and_time_follow_a_table() -> Result<(), Failed> {
    let rows = "values (1, 'one'), (22, null), (3, '')";
    let text = shown(&["sql", "-e", &format!("select * from ({rows}) t(n, w)")])?;
    let table = "+----+------+\n| n  | w    |\n+----+------+\n| 1  | one  |\n| 22 | NULL |\n\
                 | 3  |      |\n+----+------+\n3 rows in ";
    if !text.starts_with(table) || !text.trim_end().ends_with('s') {
        return Err(text.into());
    }
    let one = shown(&["sql", "-e", "create view v as select 1 as a; select * from v"])?;
    if one.contains("\n1 row in ") { Ok(()) } else { Err(one.into()) }
}

fn nothing_follows_what_is_piped_or_quiet() -> Result<(), Failed> {
    let table = "+---+\n| a |\n+---+\n| 1 |\n+---+\n";
    for arguments in
        [["sql", "--quiet", "-e", "select 1 as a"], ["sql", "--format=csv", "-e", "select 1 as a"]]
    {
        let text = shown(&arguments)?;
        if text != table && text != "a\n1\n" {
            return Err(text.into());
        }
    }
    let piped = Running::start(&["sql", "-e", "select 1 as a"]).end()?;
    piped.expect(0, table, &[])?;
    if piped.stderr.contains(" in ") { Err(piped.stderr.into()) } else { Ok(()) }
}

fn a_short_query_shows_no_progress() -> Result<(), Failed> {
    // However slow the machine, it is shorter than this.
    let short = ["sql", "--conf", "progress.delay=1h", "--format", "csv", "-e", "select 1 as a"];
    let text = shown(&short)?;
    if text != "a\n1\n" {
        return Err(text.into());
    }
    let piped = Running::start(&short).end()?;
    piped.expect(0, "a\n1\n", &[])?;
    if piped.stderr.is_empty() { Ok(()) } else { Err(piped.stderr.into()) }
}
