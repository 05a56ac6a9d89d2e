//! Generated statements on every kind of master, on plain DataFusion and on the oracle.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gnist_common::config::{Value, ValueKind};
use gnist_common::error::ErrorKind;

use crate::cli::{CliError, Exit, block_on, interruptible, print_line};
use crate::differential::{self, Options, Report};

/// Arguments of `gnist bench differential`.
#[derive(Args)]
pub(super) struct DifferentialArgs {
    /// The seed: with it the run repeats.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long it runs, such as `10m`.
    #[arg(long, default_value = "1m", value_parser = duration)]
    duration: Duration,
    /// Ends after this many statements.
    #[arg(long)]
    statements: Option<u64>,
    /// The round to begin with, to repeat a difference.
    #[arg(long, default_value_t = 0)]
    round: u64,
    /// Configurations beside `local[2]`, in turn.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    configurations: Option<Vec<String>>,
    /// Features that no statement and no table has, as the JSON names them.
    #[arg(long, value_delimiter = ',', value_name = "FEATURE,...")]
    without: Vec<String>,
    /// Makes statements too that are known to be answered wrongly.
    #[arg(long)]
    everything: bool,
    /// Ends at the first difference.
    #[arg(long)]
    first: bool,
    /// Leaves differences as they are, instead of looking for smaller statements that differ too.
    #[arg(long)]
    no_reduce: bool,
    /// Also writes the result to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    match ValueKind::Duration.parse(text) {
        Ok(Value::Duration(duration)) => Ok(duration),
        Ok(_) => Err(format!("`{text}` is not a time")),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn run(args: DifferentialArgs) -> Result<Exit, CliError> {
    crate::cli::init_logs("error");
    let mut options = Options::new(args.seed);
    options.first_round = args.round;
    options.duration = args.duration;
    options.statements = args.statements.unwrap_or(u64::MAX);
    if args.everything {
        options.without.clear();
    }
    options.without.extend(args.without);
    options.ends_at_first = args.first;
    options.reduce = !args.no_reduce;
    if let Some(configurations) = args.configurations {
        options.configurations = configurations;
    }
    let report = block_on(async {
        let run = async { Ok(Box::pin(differential::run(&options)).await?) };
        interruptible(run).await
    })?;
    print(&report)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| {
            CliError::failed(ErrorKind::Internal, format!("can't write JSON: {error}"))
        })?;
        std::fs::write(path, text + "\n").map_err(|error| {
            let message = format!("can't write `{}`: {error}", path.display());
            CliError::failed(ErrorKind::NotFound, message)
        })?;
    }
    Ok(if report.is_right() { Exit::Success } else { Exit::Failed })
}

fn print(report: &Report) -> Result<(), CliError> {
    print_line(&format!(
        "seed {}: {} statements in {:.0} s ({:.1} a second), {} with rows, {} differences",
        report.seed,
        report.statements,
        report.seconds,
        report.per_second(),
        report.with_rows,
        report.different,
    ))?;
    for (title, counts) in [("oracle", &report.oracle), ("plain DataFusion", &report.plain)] {
        for (name, count) in counts {
            print_line(&format!("{title}: {count} {name}"))?;
        }
    }
    for (configuration, verdicts) in &report.configurations {
        let verdicts: Vec<String> =
            verdicts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        print_line(&format!("{configuration}: {}", verdicts.join(", ")))?;
    }
    Ok(())
}
