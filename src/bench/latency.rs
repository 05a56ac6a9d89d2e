//! The time of a job that does almost nothing, from SQL text to rows in the driver, planned anew
//! each time; the comparison of a plan with its program; and the whole process of `select 1`.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::common::DataFusionError;
use gnist_common::error::ErrorKind;

use super::report::{QueryReport, Report};
use super::run::{finish, in_session, repeated};
use super::{RunArgs, guard};
use crate::cli::{CliError, Engine, Exit, Settings, print_line};

/// Runs that don't count, and runs that do.
const RUNS: (usize, usize) = (20, 200);

const JOBS: [(&str, &str); 2] = [
    ("one_stage_job", "select k from t"),
    ("two_stage_job", "select k, count(*) from t group by k"),
];

pub(super) fn run(args: &RunArgs) -> Result<Exit, CliError> {
    let bench = |settings, engine| measure(args, settings, engine);
    in_session(&args.session, "gnist bench latency", bench)
}

async fn measure(
    args: &RunArgs,
    settings: Settings,
    engine: Arc<Engine>,
) -> Result<bool, CliError> {
    register_one_row(&engine)?;
    let mut queries = Vec::new();
    print_line(&format!("{:<16}{:>12}{:>12}", "job", "median ms", "p99 ms"))?;
    for (name, sql) in JOBS {
        queries.push(repeated(&engine, name, sql, RUNS).await);
    }
    queries.extend(guard::measure().await.map_err(failed)?);
    queries.push(select_1());
    for query in &queries {
        print_line(&line(query))?;
    }
    let report = Report::new("latency", settings.master.to_string(), &engine, queries);
    report.write(args.json.as_deref())?;
    Ok(report.is_right())
}

fn register_one_row(engine: &Engine) -> Result<(), CliError> {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let registered = RecordBatch::try_from_iter([("k", column)])
        .map_err(Into::into)
        .and_then(|batch| engine.context().register_batch("t", batch));
    registered.map(drop).map_err(failed)
}

fn failed(error: DataFusionError) -> CliError {
    CliError::failed(ErrorKind::Internal, format!("can't prepare the benchmark: {error}"))
}

/// `gnist sql -e 'select 1'` from its start to its end.
fn select_1() -> QueryReport {
    let mut report = QueryReport { name: "select_1".to_owned(), ..QueryReport::default() };
    let mut times = Vec::new();
    let (warm, counted) = RUNS;
    for run in 0..warm + counted {
        let start = Instant::now();
        let status = std::env::current_exe().and_then(|program| {
            Command::new(program)
                .args(["sql", "--quiet", "-e", "select 1"])
                .env_remove("GNIST_MASTER")
                .stdout(Stdio::null())
                .status()
        });
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => report.error = Some(status.to_string()),
            Err(error) => report.error = Some(error.to_string()),
        }
        if report.error.is_some() {
            return report;
        }
        if run >= warm {
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    report.rows = Some(1);
    finish(&mut report, times);
    report
}

fn line(query: &QueryReport) -> String {
    match (query.ms, query.p99_ms, &query.error) {
        (Some(ms), Some(p99), None) => format!("{:<16}{ms:>12.3}{p99:>12.3}", query.name),
        (_, _, error) => {
            format!("{:<16}failed: {}", query.name, error.as_deref().unwrap_or("no runs"))
        }
    }
}
