//! The record of a run, as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

/// Differences kept with their statements; the others are counted.
const DIFFERENCES_KEPT_MAX: usize = 200;

/// A run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The name of the benchmark, always `differential`.
    pub bench: &'static str,
    /// The seed; with it the run repeats.
    pub seed: u64,
    /// Rounds that ended.
    pub rounds: u64,
    /// The time it took, in seconds.
    pub seconds: f64,
    /// Features that no statement has.
    pub without: Vec<String>,
    /// Statements compared.
    pub statements: u64,
    /// Statements whose answer has rows.
    pub with_rows: u64,
    /// Differences between an engine of Gnist and what was wanted.
    pub different: u64,
    /// Statements by what the oracle said.
    pub oracle: BTreeMap<String, u64>,
    /// Verdicts by configuration.
    pub configurations: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Plain DataFusion against the oracle: agreements, and differences by kind.
    pub plain: BTreeMap<String, u64>,
    /// An example of each kind of difference between plain DataFusion and the oracle.
    pub plain_examples: BTreeMap<String, String>,
    /// Refusals by message.
    pub refusals: BTreeMap<String, u64>,
    /// An example of a statement that is refused with each message.
    pub refusal_examples: BTreeMap<String, String>,
    /// Statements by feature.
    pub features: BTreeMap<String, u64>,
    /// The differences.
    pub differences: Vec<Difference>,
}

/// A difference.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The configuration that differs.
    pub configuration: String,
    /// The round.
    pub round: u64,
    /// The place of the statement in its round.
    pub statement: usize,
    /// The statement.
    pub sql: String,
    /// The difference.
    pub what: String,
    /// The features of the smallest statement that differs still.
    pub features: Vec<String>,
    /// The smallest statement and tables, as a test.
    pub test: Option<String>,
    /// The number of differences that have these features.
    pub count: u64,
}

impl Report {
    /// An empty one.
    pub(super) fn new(seed: u64) -> Self {
        Self { bench: "differential", seed, ..Self::default() }
    }

    /// Returns true if nothing differs.
    pub fn is_right(&self) -> bool {
        self.different == 0
    }

    /// Counts a verdict of a configuration.
    pub(super) fn count(&mut self, configuration: &str, verdict: &'static str) {
        let counts = self.configurations.entry(configuration.to_owned()).or_default();
        *counts.entry(verdict).or_default() += 1;
    }

    /// Adds a difference, or counts it with one like it.
    pub(super) fn add(&mut self, difference: Difference) {
        self.different += 1;
        let like = |kept: &&mut Difference| {
            kept.features == difference.features && kept.test.is_some() == difference.test.is_some()
        };
        let is_full = self.differences.len() >= DIFFERENCES_KEPT_MAX;
        match self.differences.iter_mut().find(like) {
            Some(kept) => kept.count += 1,
            None if is_full => {}
            None => self.differences.push(difference),
        }
    }

    /// Statements a second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.statements as f64 / self.seconds } else { 0.0 }
    }
}
