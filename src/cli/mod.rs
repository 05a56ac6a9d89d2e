//! The command line: one file a subcommand.
//!
//! What was typed becomes validated settings in one function ([`settings`]); data goes to stdout,
//! everything else to stderr; how a command ends is one of [`exit::Exit`].

mod apps;
mod cluster;
mod engine;
mod error;
mod exit;
mod kill;
mod logs;
mod output;
mod progress;
mod quoted;
mod script;
mod settings;
mod signals;
mod sql;
mod sql_error;
mod standing;
mod submit;
mod suggest;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use engine::Engine;
pub(crate) use error::CliError;
pub(crate) use exit::Exit;
pub(crate) use logs::init as init_logs;
pub(crate) use output::print_line;
pub(crate) use progress::{ProgressLine, Shown, recomputed};
pub(crate) use script::statement;
pub(crate) use settings::{SessionArgs, Settings};
pub(crate) use signals::{block_on, interruptible};

/// A distributed dataflow engine: SQL in one process and on clusters.
#[derive(Parser)]
#[command(name = "gnist", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs SQL statements and prints their results.
    Sql(sql::SqlArgs),
    /// Submits an application (not supported yet).
    Submit(submit::SubmitArgs),
    /// Runs a cluster manager until it is told to stop.
    ClusterManager(cluster::ManagerArgs),
    /// Runs a worker until it is told to stop.
    Worker(cluster::WorkerArgs),
    /// Lists the applications of a standing cluster.
    Apps(apps::ListArgs),
    /// Lists the workers of a standing cluster.
    Workers(apps::ListArgs),
    /// Shows one application of a standing cluster.
    Status(apps::StatusArgs),
    /// Prints what an application logged (not supported yet).
    Logs(submit::LogsArgs),
    /// Ends an application of a standing cluster.
    Kill(kill::KillArgs),
    /// The project's own benchmarks, each with ratios measured in the same run.
    #[cfg(feature = "bench")]
    Bench(crate::bench::BenchArgs),
    /// Starts a small cluster, kills a worker in the middle of a job, and checks the answer.
    #[cfg(feature = "bench")]
    Demo(crate::demo::DemoArgs),
    /// Prints the reference page of all config keys, as Markdown.
    ConfigReference,
    /// Plain DataFusion, answering the benchmarks' questions from stdin.
    #[cfg(feature = "bench")]
    #[command(name = "__baseline", hide = true)]
    Baseline(crate::bench::BaselineArgs),
}

/// The whole command: parses the arguments, runs the subcommand, reports its error.
pub fn main() -> ExitCode {
    crate::allocator::configure();
    if let Some(exit) = crate::run::dispatch() {
        return exit;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" too, printed to stdout; a closed pipe is no news.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match run(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => error.report().into(),
    }
}

fn run(command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Sql(args) => sql::run(args),
        Command::Submit(args) => submit::submit(args),
        Command::ClusterManager(args) => cluster::run_manager(args),
        Command::Worker(args) => cluster::run_worker(args),
        Command::Apps(args) => apps::apps(args),
        Command::Workers(args) => apps::workers(args),
        Command::Status(args) => apps::status(args),
        Command::Logs(args) => submit::logs(args),
        Command::Kill(args) => kill::run(args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => crate::bench::run(args),
        #[cfg(feature = "bench")]
        Command::Demo(args) => crate::demo::run(args),
        Command::ConfigReference => output::print(&gnist_common::config::reference()),
        #[cfg(feature = "bench")]
        Command::Baseline(args) => crate::bench::baseline(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
