//! Plain DataFusion in a process of its own: the same binary, allocator and files, its default
//! options, as many partitions as the master has slots.
//!
//! Parent and child talk in lines of JSON: a [`Request`] down, a [`Reply`] up.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use clap::Args;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::common::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use gnist_common::error::ErrorKind;
use serde::{Deserialize, Serialize};

use super::generate::TABLES;
use crate::cli::{CliError, Exit, block_on};

/// Arguments of the hidden subcommand.
#[derive(Args)]
pub(crate) struct BaselineArgs {
    /// Its target partitions.
    #[arg(long)]
    slots: usize,
    /// The tables, each a folder below this one; none if absent.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// A query to run.
#[derive(Serialize, Deserialize)]
struct Request {
    sql: String,
    /// The Arrow IPC file that the rows go to.
    result: Option<PathBuf>,
}

/// The outcome of a query.
#[derive(Serialize, Deserialize)]
struct Reply {
    /// Time from the SQL text to the last row, in milliseconds.
    ms: f64,
    error: Option<String>,
}

/// The child: answers every line of stdin with a line of stdout.
pub(crate) fn serve(args: BaselineArgs) -> Result<Exit, CliError> {
    block_on(async {
        let config = SessionConfig::new().with_target_partitions(args.slots);
        let context = SessionContext::new_with_config(config);
        for (data, (table, _)) in
            args.data.iter().flat_map(|data| TABLES.map(|table| (data, table)))
        {
            let path = data.join(table);
            gnist_storage::register_path(&context, table, &path.to_string_lossy()).await?;
        }
        for line in io::stdin().lines() {
            let line = line.map_err(|source| CliError::Io { doing: "reading a query", source })?;
            let request: Request = serde_json::from_str(&line).map_err(bad_line)?;
            let reply =
                serde_json::to_string(&answer(&context, &request).await).map_err(bad_line)?;
            let mut out = io::stdout().lock();
            writeln!(out, "{reply}").and_then(|()| out.flush()).map_err(CliError::writing)?;
        }
        Ok(Exit::Success)
    })
}

fn bad_line(error: serde_json::Error) -> CliError {
    CliError::failed(ErrorKind::Internal, format!("the baseline's conversation broke: {error}"))
}

/// The end of a statement, where a request has several: the time is that of all of them.
pub(super) const STATEMENT_END: &str = ";\n";

async fn answer(context: &SessionContext, request: &Request) -> Reply {
    let start = Instant::now();
    let collected = async {
        let mut rows = Vec::new();
        for statement in request.sql.split(STATEMENT_END) {
            rows = context.sql(statement).await?.collect().await?;
        }
        Ok(rows)
    };
    let collected = collected.await;
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    let kept = collected.and_then(|batches| match &request.result {
        Some(path) => keep(&batches, path),
        None => Ok(()),
    });
    Reply { ms, error: kept.err().map(|error| error.to_string()) }
}

fn keep(batches: &[RecordBatch], path: &Path) -> Result<(), DataFusionError> {
    let mut file = File::create(path)?;
    // No batches, no schema: an empty file stands for no rows.
    let Some(first) = batches.first() else { return Ok(()) };
    let mut writer = FileWriter::try_new(&mut file, &first.schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(())
}

/// The parent's end.
pub(crate) struct Baseline {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    result: PathBuf,
}

impl Baseline {
    /// Starts the process, over the tables of TPC-H in `data` if it is given.
    ///
    /// # Errors
    ///
    /// It can't be started.
    pub(crate) fn start(slots: usize, data: Option<&Path>) -> Result<Self, CliError> {
        let failed = |source| CliError::Io { doing: "starting the baseline", source };
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["__baseline", "--slots", &slots.to_string()])
            .args(data.iter().flat_map(|data| [OsStr::new("--data"), data.as_os_str()]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let gone = || failed(io::ErrorKind::BrokenPipe.into());
        let requests = child.stdin.take().ok_or_else(gone)?;
        let replies = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let name = format!("gnist-baseline-{}-{}.arrow", std::process::id(), child.id());
        let result = std::env::temp_dir().join(name);
        Ok(Self { child, requests: Some(requests), replies, result })
    }

    /// Runs a query for its time in milliseconds alone.
    ///
    /// # Errors
    ///
    /// The query failed there, or the process is gone.
    pub(crate) fn time(&mut self, sql: &str) -> Result<f64, CliError> {
        self.ask(&Request { sql: sql.to_owned(), result: None })
    }

    /// Runs a query for its rows.
    ///
    /// # Errors
    ///
    /// The query failed there, or the process is gone.
    pub(crate) fn rows(&mut self, sql: &str) -> Result<Vec<RecordBatch>, CliError> {
        self.ask(&Request { sql: sql.to_owned(), result: Some(self.result.clone()) })?;
        let broken = |error: &dyn std::fmt::Display| {
            CliError::failed(
                ErrorKind::Internal,
                format!("can't read the baseline's rows: {error}"),
            )
        };
        let file = File::open(&self.result).map_err(|error| broken(&error))?;
        if file.metadata().map_err(|error| broken(&error))?.len() == 0 {
            return Ok(Vec::new());
        }
        let reader = FileReader::try_new(file, None).map_err(|error| broken(&error))?;
        reader.collect::<Result<_, _>>().map_err(|error| broken(&error))
    }

    fn ask(&mut self, request: &Request) -> Result<f64, CliError> {
        let gone = || CliError::failed(ErrorKind::Internal, "the baseline process is gone");
        let line = serde_json::to_string(request).map_err(bad_line)?;
        let requests = self.requests.as_mut().ok_or_else(gone)?;
        writeln!(requests, "{line}").and_then(|()| requests.flush()).map_err(|_| gone())?;
        let mut reply = String::new();
        if self.replies.read_line(&mut reply).map_err(|_| gone())? == 0 {
            return Err(gone());
        }
        let reply: Reply = serde_json::from_str(&reply).map_err(bad_line)?;
        match reply.error {
            None => Ok(reply.ms),
            Some(error) => Err(CliError::failed(ErrorKind::User, format!("baseline: {error}"))),
        }
    }
}

impl Drop for Baseline {
    /// The end of its stdin ends it.
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.result);
    }
}
