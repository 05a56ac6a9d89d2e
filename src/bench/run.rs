//! The parts that the benchmarks share: a session without progress, and timed runs.

use std::future::Future;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use gnist_common::master::MasterUrl;

use super::report::{QueryReport, quantile};
use crate::cli::{CliError, Engine, Exit, SessionArgs, Settings, block_on, interruptible};

/// Runs a benchmark in a session of its own; wrong answers end it with 1.
pub(super) fn in_session<F>(
    args: &SessionArgs,
    name: &str,
    bench: impl FnOnce(Settings, std::sync::Arc<Engine>) -> F,
) -> Result<Exit, CliError>
where
    F: Future<Output = Result<bool, CliError>>,
{
    crate::cli::init_logs("warn");
    let settings = Settings::merge(args, MasterUrl::LOCAL_ALL)?;
    block_on(async {
        let engine = interruptible(Engine::connect(&settings, name, None)).await?;
        let engine = std::sync::Arc::new(engine);
        let right = interruptible(bench(settings, engine.clone())).await;
        if let Some(engine) = std::sync::Arc::into_inner(engine) {
            engine.close().await;
        }
        Ok(if right? { Exit::Success } else { Exit::Failed })
    })
}

/// The result of a run, and how many milliseconds it took.
pub(super) async fn timed<T>(run: impl Future<Output = T>) -> (T, f64) {
    let start = Instant::now();
    let result = run.await;
    (result, start.elapsed().as_secs_f64() * 1000.0)
}

/// Median and 99th percentile of a query run again and again; the first runs don't count.
pub(super) async fn repeated(
    engine: &Engine,
    name: &str,
    sql: &str,
    (warm, counted): (usize, usize),
) -> QueryReport {
    let mut report = QueryReport { name: name.to_owned(), ..QueryReport::default() };
    let mut times = Vec::with_capacity(counted);
    for run in 0..warm + counted {
        let (rows, ms) = timed(engine.rows(sql)).await;
        match rows {
            Ok(rows) => report.rows = Some(rows.iter().map(RecordBatch::num_rows).sum()),
            Err(error) => {
                report.error = Some(error.render().trim_end().to_owned());
                return report;
            }
        }
        if run >= warm {
            times.push(ms);
        }
    }
    finish(&mut report, times);
    report
}

/// Fills in median and 99th percentile.
pub(super) fn finish(report: &mut QueryReport, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    report.ms = quantile(&times, 0.5);
    report.p99_ms = quantile(&times, 0.99);
    report.right = report.ms.is_some();
}
