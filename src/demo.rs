//! `gnist demo`: a cluster on this machine loses a worker in the middle of a job, and the answer
//! is right.
//!
//! ```text
//! 1  TPC-H data is generated, if the cache has none
//! 2  a cluster manager and two worker processes start
//! 3  TPC-H q5 runs: scans and joins of six tables, an aggregate, a sort
//! 4  when two stages have finished, one worker is killed with SIGKILL
//! 5  the lost partitions are recomputed on the other one
//! 6  the rows are compared with plain DataFusion's
//! ```

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use datafusion::arrow::util::pretty::pretty_format_batches;
use gnist_common::error::ErrorKind;
use gnist_common::master::MasterUrl;
use gnist_common::protocol::{JobStats, ManagerToDriver};
use gnist_driver::JobObserver;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Answer, Baseline, difference, ensure_data, query, register_tpch};
use crate::cli::{
    CliError, Engine, Exit, ProgressLine, SessionArgs, Settings, Shown, block_on, interruptible,
    print_line, recomputed, statement,
};

/// Arguments of `gnist demo`.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// TPC-H scale factor of the data.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

const MASTER: &str = "local-cluster[2,1,2GiB]";

/// The number of stages of several tasks that finish before the kill. Both workers had a part in
/// them, so that what the dead one held is missing.
const KILL_AFTER_STAGES: u32 = 2;

/// The number of the TPC-H query that runs.
const QUERY: usize = 5;

pub(crate) fn run(args: DemoArgs) -> Result<Exit, CliError> {
    crate::cli::init_logs("error");
    let data = ensure_data(args.scale, None)?;
    let master: MasterUrl = MASTER
        .parse()
        .map_err(|error| CliError::failed(ErrorKind::Internal, format!("{error}")))?;
    let session = SessionArgs { master: Some(master.clone()), ..SessionArgs::default() };
    let settings = Settings::merge(&session, master)?;
    let killer = Arc::new(Killer::new());
    block_on(async {
        eprintln!("starting {MASTER}");
        let engine = Engine::connect(&settings, "gnist demo", Some(killer.clone()));
        let engine = interruptible(engine).await?;
        let text = query(QUERY, args.scale);
        let shown = interruptible(Box::pin(show(&engine, &killer, &data, &text))).await;
        engine.close().await;
        shown
    })
}

async fn show(
    engine: &Engine,
    killer: &Killer,
    data: &std::path::Path,
    sql: &str,
) -> Result<Exit, CliError> {
    register_tpch(engine, data).await?;
    let victim = engine.processes().iter().find(|process| process.role == "worker");
    let victim = victim.ok_or_else(|| {
        CliError::failed(ErrorKind::Internal, "the cluster started without workers")
    })?;
    killer.arm(victim.id);
    let rows = engine.rows(sql).await?;
    let table = pretty_format_batches(&rows).map_err(|error| {
        CliError::failed(ErrorKind::Internal, format!("can't print the rows: {error}"))
    })?;
    print_line(&table.to_string())?;
    let Some(stats) = killer.outcome() else {
        let message = "the job ended before a worker could be killed";
        return Err(CliError::failed(ErrorKind::Internal, message));
    };
    print_line(&recomputed(&stats))?;

    let theirs = Baseline::start(engine.slots(), Some(data))?.rows(sql)?;
    let shown = |error| CliError::failed(ErrorKind::Internal, format!("can't compare: {error}"));
    let (ours, theirs) = (Answer::of(&rows).map_err(shown)?, Answer::of(&theirs).map_err(shown)?);
    match difference(&ours, &theirs, &statement(sql)?) {
        None => {
            print_line(&format!("right: the same {} rows as plain DataFusion", ours.rows()))?;
            Ok(Exit::Success)
        }
        Some(difference) => {
            print_line(&format!("WRONG: {difference}"))?;
            Ok(Exit::Failed)
        }
    }
}

/// Shows progress, and kills a worker in the middle of the job.
struct Killer {
    progress: ProgressLine,
    /// The worker's process; 0 until armed.
    victim: AtomicU32,
    /// Stages of several tasks that have finished.
    finished: AtomicU32,
    killed: AtomicBool,
    stats: Mutex<Option<JobStats>>,
}

impl Killer {
    fn new() -> Self {
        Self {
            progress: ProgressLine::new(Shown::on_stderr()),
            victim: AtomicU32::new(0),
            finished: AtomicU32::new(0),
            killed: AtomicBool::new(false),
            stats: Mutex::new(None),
        }
    }

    fn arm(&self, process: u32) {
        self.victim.store(process, Ordering::Release);
    }

    /// Returns the counts of the job, if a worker was killed while it ran.
    fn outcome(&self) -> Option<JobStats> {
        let killed = self.killed.load(Ordering::Acquire);
        killed.then(|| *self.stats.lock().unwrap_or_else(PoisonError::into_inner)).flatten()
    }

    fn kill(&self) {
        let victim = self.victim.swap(0, Ordering::AcqRel);
        let Some(pid) = i32::try_from(victim).ok().and_then(Pid::from_raw) else { return };
        self.progress.clear();
        if kill_process(pid, Signal::KILL).is_ok() {
            eprintln!("killed the worker process {victim} with SIGKILL");
            self.killed.store(true, Ordering::Release);
        }
    }
}

impl JobObserver for Killer {
    fn event(&self, message: &ManagerToDriver) {
        self.progress.event(message);
        match message {
            ManagerToDriver::StageFinished(stage)
                if stage.winners.len() >= 2
                    && self.finished.fetch_add(1, Ordering::AcqRel) + 1 == KILL_AFTER_STAGES =>
            {
                self.kill();
            }
            ManagerToDriver::JobEnded { stats, .. } => {
                *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = Some(*stats);
            }
            _ => {}
        }
    }
}
