//! `gnist bench`: the project's own benchmarks, each measured against something in the same run.
//!
//! ```text
//! generate   TPC-H data as folders of Parquet files, events as JSON lines
//! tpch       the 22 queries against plain DataFusion in a process of its own
//! etl        events to partitioned Parquet against plain DataFusion
//! latency    the price of a job that does nothing, and of the guard
//! tasks      the price of a task that does nothing
//! differential   generated statements on every master, plain DataFusion and an oracle
//! ```

mod baseline;
mod compare;
mod data;
mod differential;
mod etl;
mod generate;
mod guard;
mod latency;
mod machine;
mod queries;
mod report;
mod run;
mod tasks;
mod tpch;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{CliError, Exit, SessionArgs};

pub(crate) use baseline::{Baseline, BaselineArgs, serve as baseline};
pub(crate) use compare::{Answer, difference};
pub(crate) use data::ensure as ensure_data;
pub(crate) use queries::query;
pub(crate) use tpch::register as register_tpch;

/// Arguments of `gnist bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Makes benchmark data.
    Generate(generate::GenerateArgs),
    /// The 22 TPC-H queries against plain DataFusion.
    Tpch(tpch::TpchArgs),
    /// Events as JSON lines to partitioned Parquet, against plain DataFusion.
    Etl(etl::EtlArgs),
    /// Median and 99th percentile of jobs that do almost nothing.
    Latency(RunArgs),
    /// Tasks that do nothing, per second.
    Tasks(RunArgs),
    /// Generated statements on every master, plain DataFusion and an oracle.
    Differential(differential::DifferentialArgs),
}

/// Flags of every benchmark that runs jobs.
#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    session: SessionArgs,
    /// Also writes the result to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: BenchArgs) -> Result<Exit, CliError> {
    match args.bench {
        Bench::Generate(args) => generate::run(&args),
        Bench::Tpch(args) => tpch::run(&args),
        Bench::Etl(args) => etl::run(&args),
        Bench::Latency(args) => latency::run(&args),
        Bench::Tasks(args) => tasks::run(&args),
        Bench::Differential(args) => differential::run(args),
    }
}
