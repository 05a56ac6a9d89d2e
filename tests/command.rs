//! The command from outside: output, exit codes, bad input.

use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Result<(), Failed>| {
        Trial::test(format!("command::{name}"), test)
    };
    vec![
        trial("a_query_prints_csv", a_query_prints_csv),
        trial("an_unknown_key_suggests_the_nearest", an_unknown_key_suggests_the_nearest),
    ]
}

/// Runs the command.
pub fn gnist(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnist"));
    command.args(arguments).env_remove("GNIST_MASTER").output().expect("the command runs")
}

/// Checks code, stdout and a part of stderr.
pub fn expect(output: &Output, code: i32, stdout: &str, stderr: &str) -> Result<(), Failed> {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(code) && out == stdout && err.contains(stderr) {
        return Ok(());
    }
    Err(format!("{:?}\nstdout: {out}\nstderr: {err}", output.status).into())
}

fn a_query_prints_csv() -> Result<(), Failed> {
    let output = gnist(&["sql", "--format", "csv", "-e", "select 1 as a, '' as b, null as c"]);
    expect(&output, 0, "a,b,c\n1,\"\",\n", "")
}

fn an_unknown_key_suggests_the_nearest() -> Result<(), Failed> {
    let output = gnist(&["sql", "--conf", "shuffle.partition=4", "-e", "select 1"]);
    expect(&output, 2, "", "shuffle.partitions")
}
