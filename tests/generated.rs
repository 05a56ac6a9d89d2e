//! Random statements over random tables on every configuration, on plain DataFusion and on the
//! oracle: a short run of `gnist bench differential` each.

use gnist::differential::{CONFIGURATIONS, Options, run};
use libtest_mimic::{Failed, Trial};

use crate::backends::block_on;

const SEED: u64 = 7;
const STATEMENTS: u64 = 240;

pub fn trials() -> Vec<Trial> {
    let trial = |(at, name): (u64, &'static str)| {
        Trial::test(format!("generated::{name}"), move || block_on(compare(at, name)))
    };
    (0..).zip(CONFIGURATIONS.iter().map(|configuration| configuration.name)).map(trial).collect()
}

async fn compare(at: u64, configuration: &str) -> Result<(), Failed> {
    let mut options = Options::new(SEED);
    options.configurations = vec![configuration.to_owned()];
    options.first_round = at * 1000;
    options.statements = STATEMENTS;
    options.folder.push(configuration);
    let report = run(&options).await?;
    if !report.is_right() {
        let shown = report.differences.iter().map(|difference| {
            let test = difference.test.as_deref().unwrap_or_default();
            format!("{}\n{}\n{test}", difference.sql, difference.what)
        });
        let shown = shown.collect::<Vec<_>>().join("\n\n");
        return Err(format!("{} differences\n{shown}", report.different).into());
    }
    // A generator whose statements all fail, or find nothing, would test nothing.
    assert!(report.with_rows * 2 >= report.statements, "{} have rows", report.with_rows);
    Ok(())
}
