//! The command from outside: output, ends, bad input.

mod ends;
mod exact;
mod external;
mod forms;
mod headers;
mod input;
mod paths;
mod settings;
mod terminal;

use libtest_mimic::{Failed, Trial};

use crate::process::{Ended, Running};

type Test = fn() -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let modules = [
        ("forms", forms::TESTS),
        ("input", input::TESTS),
        ("ends", ends::TESTS),
        ("exact", exact::TESTS),
        ("external", external::TESTS),
        ("headers", headers::TESTS),
        ("paths", paths::TESTS),
        ("settings", settings::TESTS),
        ("terminal", terminal::TESTS),
    ];
    let named = modules.into_iter().flat_map(|(module, tests)| {
        tests.iter().map(move |(name, test)| (format!("command::{module}::{name}"), *test))
    });
    named.map(|(name, test)| Trial::test(name, test)).collect()
}

/// Runs the command to its end.
fn gnist(arguments: &[&str]) -> Result<Ended, String> {
    Running::start(arguments).end()
}

/// Runs a query on the default master.
fn sql(query: &str, more: &[&str]) -> Result<Ended, String> {
    let mut arguments = vec!["sql", "--quiet", "-e", query];
    arguments.extend(more);
    gnist(&arguments)
}
