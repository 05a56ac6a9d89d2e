//! `gnist sql`: runs statements in order and prints their results.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::sql::parser::Statement;
use futures::TryStreamExt as _;
use gnist_common::error::ErrorKind;
use gnist_common::master::MasterUrl;
use gnist_driver::{JobObserver, SessionError};
use gnist_storage::io_reason;

use super::engine::Engine;
use super::error::CliError;
use super::exit::Exit;
use super::logs;
use super::output;
use super::progress::{ProgressLine, Shown, counted, elapsed};
use super::script::{Script, has_result, writes};
use super::settings::{Format, Pair, SessionArgs, Settings};
use super::signals::{block_on, interruptible};
use super::sql_error::SqlError;
use super::suggest::Names;

/// Arguments of `gnist sql`.
#[derive(Args)]
pub(super) struct SqlArgs {
    /// Statements to run, separated by `;`. Without `-e` and `-f` they are read from stdin.
    #[arg(short = 'e', long = "execute", value_name = "QUERY", conflicts_with = "file")]
    query: Option<String>,
    /// File of statements to run.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Table over a Parquet, NDJSON or CSV file, a folder of them, or a pattern such as
    /// `logs/*.csv`; may be given many times. In SQL a quoted path stands for a table too:
    /// `select * from 'logs/*.csv'`.
    #[arg(long, value_name = "NAME=PATH")]
    table: Vec<Pair>,
    #[command(flatten)]
    session: SessionArgs,
    /// Form in which results are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print nothing but results and errors.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(args: SqlArgs) -> Result<Exit, CliError> {
    logs::init("warn");
    let settings = Settings::merge(&args.session, MasterUrl::LOCAL_ALL)?;
    let script = script_of(&args)?;
    let statements = script.statements().map_err(CliError::Sql)?;
    check_count(args.format, &statements)?;
    block_on(async {
        let progress = if args.quiet { Shown::Nothing } else { Shown::on_stderr() };
        let progress = Arc::new(ProgressLine::new(progress));
        let observer: Option<Arc<dyn JobObserver>> =
            if args.quiet { None } else { Some(progress.clone()) };
        let engine = interruptible(Engine::connect(&settings, "gnist sql", observer)).await?;
        let run = Run {
            engine: &engine,
            script: &script,
            format: args.format,
            progress: &progress,
            progress_delay: settings.config.progress_delay(),
            counts: !args.quiet && args.format == Format::Table && io::stdout().is_terminal(),
        };
        let work = async {
            tokio::select! {
                result = run.all(&args.table, statements) => result,
                () = output::stdout_closed() => Err(CliError::StdoutClosed),
            }
        };
        let result = interruptible(work).await;
        progress.clear();
        if let Err(error) = &result {
            engine.failed(error);
        }
        engine.close().await;
        result.map(|()| Exit::Success)
    })
}

fn script_of(args: &SqlArgs) -> Result<Script, CliError> {
    match (&args.query, &args.file) {
        (Some(query), _) => Ok(Script::new("query", query)),
        (None, Some(file)) => {
            let name = file.display();
            let text = fs::read_to_string(file).map_err(|error| {
                let message = format!("can't read `{name}`: {}", io_reason(&error));
                CliError::failed(ErrorKind::NotFound, message)
            })?;
            Ok(Script::new(name.to_string(), text))
        }
        (None, None) if io::stdin().is_terminal() => {
            let message = "the interactive shell is not supported yet";
            Err(CliError::usage(message).with_help("give statements with `-e QUERY` or `-f FILE`"))
        }
        (None, None) => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|source| CliError::Io { doing: "reading stdin", source })?;
            Ok(Script::new("stdin", text))
        }
    }
}

fn check_count(format: Format, statements: &[Statement]) -> Result<(), CliError> {
    let results = statements.iter().filter(|statement| has_result(statement)).count();
    if results <= 1 || output::takes_several(format) {
        return Ok(());
    }
    let message = format!("csv and arrow take one result, and these statements have {results}");
    Err(CliError::usage(message).with_help("use `--format json` or run them one by one"))
}

/// Values that all statements of one run share.
struct Run<'a> {
    engine: &'a Engine,
    script: &'a Script,
    format: Format,
    progress: &'a ProgressLine,
    /// Time that a statement runs before its progress is shown.
    progress_delay: Duration,
    /// The number of rows and the time follow each result.
    counts: bool,
}

impl Run<'_> {
    async fn all(&self, tables: &[Pair], statements: Vec<Statement>) -> Result<(), CliError> {
        for Pair { name, value } in tables {
            gnist_storage::register_path(self.engine.context(), name, value).await?;
        }
        for statement in statements {
            Box::pin(self.one(statement)).await?;
        }
        Ok(())
    }

    /// Runs a statement and prints its rows; its progress is shown once it takes long.
    async fn one(&self, statement: Statement) -> Result<(), CliError> {
        self.progress.begin();
        let due = async {
            tokio::time::sleep(self.progress_delay).await;
            self.progress.due();
            std::future::pending().await
        };
        tokio::select! {
            result = self.print(statement) => result,
            () = due => unreachable!("it waits for ever"),
        }
    }

    async fn print(&self, statement: Statement) -> Result<(), CliError> {
        let started = Instant::now();
        let has_rows = has_result(&statement);
        let rows = self.engine.start(statement.clone()).await;
        let mut rows = rows.map_err(|error| self.explained(&statement, error))?;
        if rows.schema().fields().is_empty() && !has_rows {
            return Ok(());
        }
        if writes(&statement) {
            let answer: Vec<_> = rows.try_collect().await?;
            self.progress.clear();
            let counts = answer.iter().flat_map(|rows| rows.column(0).as_primitive::<UInt64Type>());
            let count = counts.flatten().sum();
            if self.counts {
                eprintln!("{} written in {}", counted(count, "row"), elapsed(started.elapsed()));
            }
            return Ok(());
        }
        let options = self.engine.format_options();
        let mut writer = output::writer(self.format, options, output::stdout());
        writer.begin(&rows.schema())?;
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            self.progress.clear();
            writer.batch(&batch)?;
            count += batch.num_rows() as u64;
        }
        self.progress.clear();
        writer.end()?;
        if self.counts {
            eprintln!("{} in {}", counted(count, "row"), elapsed(started.elapsed()));
        }
        Ok(())
    }

    fn explained(&self, statement: &Statement, error: SessionError) -> CliError {
        match error {
            SessionError::Plan(error) => {
                let names = Names::of(self.engine.context());
                let error = SqlError::planning(self.script, statement, &error, &names);
                CliError::Sql(Box::new(error))
            }
            SessionError::Job(failure) => failure.into(),
        }
    }
}
