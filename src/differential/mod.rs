//! Generated comparison: random statements on Gnist's masters, on plain DataFusion, and on a naive
//! oracle.
//!
//! A run has rounds. Each makes tables from its seed, and then statements over them. Every statement
//! goes to plain DataFusion, to `local[2]`, to one other configuration in turn, and to the oracle
//! (`gnist-differential`). Where the oracle covers the statement, it decides; otherwise plain
//! DataFusion does. A difference is reduced to a smaller statement over fewer rows, as a test.

mod cells;
mod check;
mod configurations;
mod engine;
mod known;
mod reduce;
mod report;
mod round;
mod tables;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gnist_common::error::{ErrorKind, Failure};

pub use configurations::{CONFIGURATIONS, Configuration};
pub use report::{Difference, Report};
use round::Lanes;

/// Statements of a round: enough to make its tables worth their while.
const STATEMENTS_PER_ROUND: usize = 120;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of everything random.
    pub seed: u64,
    /// The round to begin with.
    pub first_round: u64,
    /// Time during which new rounds begin.
    pub duration: Duration,
    /// The most statements to run.
    pub statements: u64,
    /// Names of the configurations that take turns beside `local[2]`.
    pub configurations: Vec<String>,
    /// Features that no statement and no table has.
    pub without: BTreeSet<String>,
    /// The folder in which files of tables are written for a time.
    pub folder: PathBuf,
    /// True if differences are reduced.
    pub reduce: bool,
    /// True if the run ends at the first difference.
    pub ends_at_first: bool,
}

impl Options {
    /// All configurations, without an end, without the statements that are known to be out of reach.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            first_round: 0,
            duration: Duration::MAX,
            statements: u64::MAX,
            configurations: CONFIGURATIONS.iter().map(|found| found.name.to_owned()).collect(),
            without: known::OUT_OF_REACH.iter().map(|(name, _)| (*name).to_owned()).collect(),
            folder: std::env::temp_dir().join(format!("gnist-differential-{}", std::process::id())),
            reduce: true,
            ends_at_first: false,
        }
    }
}

impl Options {
    /// Returns true if nothing more is to be run, but for the time.
    fn is_done(&self, report: &Report) -> bool {
        report.statements >= self.statements || (self.ends_at_first && report.different > 0)
    }
}

/// Runs rounds until the time or the statements are used up.
///
/// # Errors
///
/// An unknown configuration, a folder that can't be written, a master that can't be started.
pub async fn run(options: &Options) -> Result<Report, Failure> {
    let configurations = configurations::named(&options.configurations)?;
    let start = Instant::now();
    let mut report = Report::new(options.seed);
    report.without = options.without.iter().cloned().collect();
    let mut lanes = Lanes::default();
    let mut round = options.first_round;
    while start.elapsed() < options.duration && !options.is_done(&report) {
        let turn = usize::try_from(round).unwrap_or_default() % configurations.len();
        let folder = options.folder.join(format!("round-{round}"));
        std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        let this = round::Round {
            number: round,
            seed: options.seed.wrapping_mul(1_000_003).wrapping_add(round),
            configuration: configurations[turn],
            folder: &folder,
            options,
            begins: start,
            ends: start.checked_add(options.duration),
        };
        let done = Box::pin(this.run(&mut lanes, &mut report, STATEMENTS_PER_ROUND)).await;
        std::fs::remove_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        done?;
        report.seconds = start.elapsed().as_secs_f64();
        round += 1;
    }
    lanes.close().await;
    // Empty by now, unless somebody put something there.
    let _ = std::fs::remove_dir(&options.folder);
    Ok(report)
}

fn unwritable(folder: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("can't write in `{}`: {error}", folder.display()))
}
