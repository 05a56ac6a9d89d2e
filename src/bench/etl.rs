//! Events to partitioned Parquet, against plain DataFusion: JSON lines are inferred, filtered, flattened and written in
//! a folder for each country.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use gnist_common::bytes::ByteSize;
use gnist_common::error::ErrorKind;

use super::RunArgs;
use super::baseline::{Baseline, STATEMENT_END};
use super::data;
use super::generate::{Events, TextCompression};
use super::report::{QueryReport, Report};
use super::run::{in_session, timed};
use crate::cli::{CliError, Engine, Exit, Settings, print_line};

/// Arguments of `gnist bench etl`.
#[derive(Args)]
pub(super) struct EtlArgs {
    /// Bytes of the events, as plain text.
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    /// Counted runs, each of both in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(args: &EtlArgs) -> Result<Exit, CliError> {
    let bench = |settings, engine| measure(args, settings, engine);
    in_session(&args.run.session, "gnist bench etl", bench)
}

async fn measure(
    args: &EtlArgs,
    settings: Settings,
    engine: Arc<Engine>,
) -> Result<bool, CliError> {
    let out = Out::new()?;
    let mut queries = Vec::new();
    print_line(&format!(
        "{:<8}{:>12}{:>15}{:>8}{:>12}  right",
        "events", "ms", "DataFusion ms", "ratio", "rows"
    ))?;
    for (name, compression) in [("plain", TextCompression::None), ("gzip", TextCompression::Gzip)] {
        let events = Events { bytes: args.size.0, seed: 1, compression };
        let events = data::ensure_events(&events)?;
        let report = one(&engine, (name, compression), &events, &out, args.runs).await;
        print_line(&line(&report))?;
        queries.push(report);
    }
    let report = Report::new("etl", settings.master.to_string(), &engine, queries);
    print_line(&format!("peak memory {}", ByteSize(report.peak_rss_bytes.unwrap_or_default())))?;
    report.write(args.run.json.as_deref())?;
    Ok(report.is_right())
}

/// The folder of what is written, deleted at the end.
struct Out(PathBuf);

impl Out {
    fn new() -> Result<Self, CliError> {
        let folder = std::env::temp_dir().join(format!("gnist-bench-etl-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| {
            let message = format!("can't make `{}`: {error}", folder.display());
            CliError::failed(ErrorKind::NotFound, message)
        })?;
        Ok(Self(folder))
    }

    /// A folder in it that is not there.
    fn fresh(&self, name: &str) -> PathBuf {
        let folder = self.0.join(name);
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The work, from the table `source`.
fn copy(source: &str, to: &Path) -> String {
    format!(
        "copy (select event_id, event_time, user_id, event_type, device['os'] as os, amount, country \
         from {source} where event_type <> 'heartbeat') to '{}/' stored as parquet partitioned by (country) \
         options ('compression' 'snappy')",
        to.display()
    )
}

/// The table that plain DataFusion reads: its columns are inferred by this statement.
fn events_table(events: &Path, compression: TextCompression) -> String {
    let options = match compression {
        TextCompression::None => "",
        TextCompression::Gzip => " options ('format.compression' 'gzip')",
    };
    format!("create external table events stored as json location '{}/'{options}", events.display())
}

async fn one(
    engine: &Engine,
    (name, compression): (&str, TextCompression),
    events: &Path,
    out: &Out,
    runs: u32,
) -> QueryReport {
    let mut report = QueryReport { name: name.to_owned(), ..QueryReport::default() };
    match compare(engine, (events, compression), out, runs, &mut report).await {
        Ok(()) => report.right = true,
        Err(error) => report.error = Some(error.render().trim_end().to_owned()),
    }
    report.ratio = report.ms.zip(report.baseline_ms).map(|(ours, theirs)| ours / theirs);
    report
}

async fn compare(
    engine: &Engine,
    (events, compression): (&Path, TextCompression),
    out: &Out,
    runs: u32,
    report: &mut QueryReport,
) -> Result<(), CliError> {
    let (ours, theirs) = (out.fresh("ours"), out.fresh("theirs"));
    let mut baseline = Baseline::start(engine.slots(), None)?;
    let minimum = |best: Option<f64>, ms: f64| Some(best.map_or(ms, |best| best.min(ms)));
    for _ in 0..runs {
        out.fresh("ours");
        let sql = copy(&format!("'{}/'", events.display()), &ours);
        let (rows, ms) = timed(engine.rows(&sql)).await;
        rows?;
        report.ms = minimum(report.ms, ms);
        out.fresh("theirs");
        let statements = [
            events_table(events, compression),
            copy("events", &theirs),
            "drop table events".to_owned(),
        ];
        let ms = baseline.time(&statements.join(STATEMENT_END))?;
        report.baseline_ms = minimum(report.baseline_ms, ms);
    }
    let summary = |folder: &Path| {
        format!(
            "select count(*) as a, count(distinct event_id) as b, sum(user_id) as c, \
             sum(cast(amount as decimal(12, 2))) as d, count(distinct os) as e, count(distinct country) as f \
             from '{}/'",
            folder.display()
        )
    };
    let (one, other) = (engine.rows(&summary(&ours)).await?, engine.rows(&summary(&theirs)).await?);
    if one != other {
        let message = "the files have other rows than those of plain DataFusion";
        return Err(CliError::failed(ErrorKind::Internal, message));
    }
    let counts = one.iter().flat_map(|rows| rows.column(0).as_primitive::<Int64Type>());
    let count: i64 = counts.flatten().sum();
    report.rows = usize::try_from(count).ok();
    Ok(())
}

fn line(report: &QueryReport) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    format!(
        "{:<8}{:>12}{:>15}{:>8}{:>12}  {}",
        report.name,
        number(report.ms, 0),
        number(report.baseline_ms, 0),
        number(report.ratio, 3),
        report.rows.map_or("-".to_owned(), |rows| rows.to_string()),
        report.error.as_deref().unwrap_or("yes"),
    )
}
