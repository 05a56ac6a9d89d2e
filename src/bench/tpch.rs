//! The 22 TPC-H queries, warm, against plain DataFusion: the two alternate, A B A B, and a
//! query's ratio is of the minima.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use gnist_common::error::ErrorKind;

use super::baseline::Baseline;
use super::compare::{Answer, difference};
use super::generate::{TABLES, parse_scale};
use super::queries::{COUNT, query};
use super::report::{QueryReport, Report};
use super::run::{in_session, timed};
use super::{RunArgs, data};
use crate::cli::{CliError, Engine, Exit, Settings, print_line, statement};

/// Arguments of `gnist bench tpch`.
#[derive(Args)]
pub(super) struct TpchArgs {
    /// Scale factor: 1 is about 1 GB of text.
    #[arg(long, default_value = "1", value_parser = parse_scale)]
    scale: f64,
    /// A folder made by `gnist bench generate` [default: a cache folder]; generated when missing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Counted runs of each query, after one that does not count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only these queries, such as `1,9`.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=22))]
    queries: Vec<u32>,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(args: &TpchArgs) -> Result<Exit, CliError> {
    let bench = |settings, engine| measure(args, settings, engine);
    in_session(&args.run.session, "gnist bench tpch", bench)
}

async fn measure(
    args: &TpchArgs,
    settings: Settings,
    engine: Arc<Engine>,
) -> Result<bool, CliError> {
    let data = data::ensure(args.scale, args.data.clone())?;
    register(&engine, &data).await?;
    let mut baseline = Baseline::start(engine.slots(), Some(&data))?;
    let mut queries = Vec::new();
    print_line(&format!(
        "{:<5}{:>12}{:>14}{:>8}{:>9}  right",
        "query", "ms", "DataFusion ms", "ratio", "rows"
    ))?;
    for number in wanted(&args.queries) {
        let report = one(&engine, &mut baseline, number, args).await;
        print_line(&line(&report))?;
        queries.push(report);
    }
    let mut report = Report::new("tpch", settings.master.to_string(), &engine, queries);
    report.scale = Some(args.scale);
    print_line(&summary(&report))?;
    report.write(args.run.json.as_deref())?;
    Ok(report.is_right())
}

/// Registers the eight tables of a generated folder.
pub(crate) async fn register(engine: &Engine, data: &Path) -> Result<(), CliError> {
    for (table, _) in TABLES {
        let path = data.join(table);
        gnist_storage::register_path(engine.context(), table, &path.to_string_lossy()).await?;
    }
    Ok(())
}

fn wanted(queries: &[u32]) -> Vec<usize> {
    if queries.is_empty() {
        return (1..=COUNT).collect();
    }
    queries.iter().map(|number| *number as usize).collect()
}

/// Measures one query. It never ends the benchmark: what went wrong is in the report.
async fn one(
    engine: &Engine,
    baseline: &mut Baseline,
    number: usize,
    args: &TpchArgs,
) -> QueryReport {
    let mut report = QueryReport { name: format!("q{number}"), ..QueryReport::default() };
    let sql = &query(number, args.scale);
    if let Err(error) = check(engine, baseline, sql, &mut report).await {
        report.error = Some(error.render().trim_end().to_owned());
    }
    let minimum = |best: Option<f64>, ms: f64| Some(best.map_or(ms, |best| best.min(ms)));
    for _ in 0..args.runs {
        // A query that failed once is not tried again; the baseline's time is still wanted.
        if report.rows.is_some() {
            match timed(engine.rows(sql)).await {
                (Ok(_), ms) => report.ms = minimum(report.ms, ms),
                (Err(error), _) => {
                    report.error = Some(error.render().trim_end().to_owned());
                    (report.rows, report.right) = (None, false);
                }
            }
        }
        if let Ok(ms) = baseline.time(sql) {
            report.baseline_ms = minimum(report.baseline_ms, ms);
        }
    }
    report.ratio = report.ms.zip(report.baseline_ms).map(|(ours, theirs)| ours / theirs);
    report
}

/// The run that does not count: both answers, compared.
async fn check(
    engine: &Engine,
    baseline: &mut Baseline,
    sql: &str,
    report: &mut QueryReport,
) -> Result<(), CliError> {
    let shown = |error| {
        CliError::failed(ErrorKind::Internal, format!("can't compare the answers: {error}"))
    };
    let theirs = Answer::of(&baseline.rows(sql)?).map_err(shown)?;
    let ours = Answer::of(&engine.rows(sql).await?).map_err(shown)?;
    report.rows = Some(ours.rows());
    report.error = difference(&ours, &theirs, &statement(sql)?);
    report.right = report.error.is_none();
    Ok(())
}

fn line(report: &QueryReport) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let verdict = match &report.error {
        _ if report.right => "yes".to_owned(),
        Some(error) => format!("NO: {}", error.lines().next().unwrap_or_default()),
        None => "NO".to_owned(),
    };
    format!(
        "{:<5}{:>12}{:>14}{:>8}{:>9}  {verdict}",
        report.name,
        number(report.ms, 1),
        number(report.baseline_ms, 1),
        number(report.ratio, 3),
        report.rows.map_or("-".to_owned(), |rows| rows.to_string()),
    )
}

fn summary(report: &Report) -> String {
    let right = report.queries.iter().filter(|query| query.right).count();
    let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let sum = |value: fn(&QueryReport) -> Option<f64>| -> f64 {
        report.queries.iter().filter_map(value).sum()
    };
    format!(
        "{:<5}{:>12.1}{:>14.1}{:>8}{:>9}  {right} of {} right, geometric mean {}, peak memory {}",
        "total",
        sum(|query| query.ms),
        sum(|query| query.baseline_ms),
        ratio(report.total_ratio),
        "",
        report.queries.len(),
        ratio(report.geomean_ratio),
        gnist_common::bytes::ByteSize(report.peak_rss_bytes.unwrap_or_default()),
    )
}
