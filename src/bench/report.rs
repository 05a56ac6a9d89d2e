//! A benchmark's result: the JSON that every benchmark shares, and the table for people.

use std::path::Path;

use gnist_common::error::ErrorKind;
use serde::Serialize;

use super::machine;
use crate::cli::{CliError, Engine};

/// The measures of one benchmark. A field without meaning is null.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) bench: &'static str,
    pub(super) master: String,
    pub(super) scale: Option<f64>,
    pub(super) machine: String,
    pub(super) queries: Vec<QueryReport>,
    /// Sum of `ms` over the sum of `baseline_ms`.
    pub(super) total_ratio: Option<f64>,
    pub(super) geomean_ratio: Option<f64>,
    /// Sum over our own processes.
    pub(super) peak_rss_bytes: Option<u64>,
    pub(super) processes: Vec<ProcessReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tasks_per_second: Option<f64>,
}

/// One query of a benchmark.
#[derive(Debug, Default, Serialize)]
pub(super) struct QueryReport {
    pub(super) name: String,
    pub(super) ms: Option<f64>,
    pub(super) baseline_ms: Option<f64>,
    pub(super) ratio: Option<f64>,
    pub(super) right: bool,
    pub(super) rows: Option<usize>,
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_ms: Option<f64>,
}

/// One of our processes.
#[derive(Debug, Serialize)]
pub(super) struct ProcessReport {
    pub(super) role: String,
    pub(super) budget_bytes: Option<u64>,
    pub(super) peak_rss_bytes: Option<u64>,
}

impl Report {
    /// A report of these queries, with the peaks of the session's processes now.
    pub(super) fn new(
        bench: &'static str,
        master: String,
        engine: &Engine,
        queries: Vec<QueryReport>,
    ) -> Self {
        let processes: Vec<ProcessReport> = engine
            .processes()
            .iter()
            .map(|process| ProcessReport {
                role: process.role.to_string(),
                budget_bytes: process.budget_bytes,
                peak_rss_bytes: machine::peak_rss_bytes(process.id),
            })
            .collect();
        let measured: Vec<(f64, f64)> =
            queries.iter().filter_map(|query| query.ms.zip(query.baseline_ms)).collect();
        Self {
            bench,
            master,
            scale: None,
            machine: machine::describe(),
            total_ratio: total_ratio(&measured),
            geomean_ratio: geomean_ratio(&measured),
            queries,
            peak_rss_bytes: processes.iter().map(|process| process.peak_rss_bytes).sum(),
            processes,
            tasks_per_second: None,
        }
    }

    /// True if every answer was right.
    pub(super) fn is_right(&self) -> bool {
        self.queries.iter().all(|query| query.right)
    }

    /// Writes the JSON to a file, if one was asked for.
    pub(super) fn write(&self, path: Option<&Path>) -> Result<(), CliError> {
        let Some(path) = path else { return Ok(()) };
        let text = serde_json::to_string_pretty(self).map_err(|error| {
            CliError::failed(ErrorKind::Internal, format!("can't write JSON: {error}"))
        })?;
        std::fs::write(path, text + "\n").map_err(|error| {
            let message = format!("can't write `{}`: {error}", path.display());
            CliError::failed(ErrorKind::NotFound, message)
        })
    }
}

fn total_ratio(measured: &[(f64, f64)]) -> Option<f64> {
    let (ours, theirs) = measured.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    (theirs > 0.0).then(|| ours / theirs)
}

#[expect(clippy::cast_precision_loss, reason = "a number of queries")]
fn geomean_ratio(measured: &[(f64, f64)]) -> Option<f64> {
    let logs: f64 = measured.iter().map(|(ours, theirs)| (ours / theirs).ln()).sum();
    (!measured.is_empty()).then(|| (logs / measured.len() as f64).exp())
}

/// The value below which this share of the values lies; the values come sorted.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of runs"
)]
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_sums_and_of_logs() {
        let measured = [(2.0, 1.0), (2.0, 4.0)];
        assert_eq!(total_ratio(&measured), Some(0.8));
        assert!(geomean_ratio(&measured).is_some_and(|ratio| (ratio - 1.0).abs() < 1e-12));
        assert_eq!((total_ratio(&[]), geomean_ratio(&[])), (None, None));
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(101.0));
        assert_eq!(quantile(&values, 0.99), Some(198.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
