//! Every file of `tests/slt` on every backend, and on plain DataFusion, whose rows are the expected
//! ones. `GNIST_SLT_UPDATE=1` lets the trials on plain DataFusion write what it answers into the
//! files. Those of `tests/slt/field` run on our backends alone: DataFusion answers them wrongly, and
//! their rows are worked out from the standard.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};
use gnist::{Failure, Session, SessionError};
use libtest_mimic::{Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::backends::{BACKENDS, block_on, builder};

/// The engine that Gnist must agree with.
const PLAIN: &str = "plain DataFusion";

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for file in files("tests/slt") {
        for backend in [PLAIN].into_iter().chain(BACKENDS) {
            trials.push(trial(&file, "slt", backend));
        }
    }
    for file in files("tests/slt/field") {
        trials.extend(BACKENDS.map(|backend| trial(&file, "slt::field", backend)));
    }
    trials
}

fn trial(file: &Path, group: &str, backend: &'static str) -> Trial {
    let stem = file.file_stem().expect("a file").to_string_lossy().into_owned();
    let file = file.to_owned();
    Trial::test(format!("{group}::{stem} on {backend}"), move || run(&file, backend))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of SQL tests");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

fn run(file: &Path, backend: &'static str) -> Result<(), Failed> {
    block_on(async {
        let mut runner = Runner::new(|| async { Database::open(backend).await });
        runner.with_column_validator(|_, _| true);
        if backend == PLAIN && std::env::var_os("GNIST_SLT_UPDATE").is_some() {
            return update(&mut runner, file).await;
        }
        runner.run_file_async(file).await?;
        runner.shutdown_async().await;
        Ok(())
    })
}

async fn update<M: sqllogictest::MakeConnection<Conn = Database>>(
    runner: &mut Runner<Database, M>,
    file: &Path,
) -> Result<(), Failed> {
    let written = runner.update_test_file(
        file,
        " ",
        sqllogictest::default_validator,
        sqllogictest::default_normalizer,
        sqllogictest::default_column_validator,
    );
    written.await.map_err(|error| Failed::from(error.to_string()))
}

enum Database {
    Gnist(Box<Session>),
    DataFusion(Box<SessionContext>),
}

impl Database {
    async fn open(backend: &str) -> Result<Self, Failure> {
        if backend == PLAIN {
            let config = SessionConfig::new().with_information_schema(true);
            return Ok(Self::DataFusion(Box::new(SessionContext::new_with_config(config))));
        }
        Ok(Self::Gnist(Box::new(builder(backend).connect().await?)))
    }

    async fn rows(&self, sql: &str) -> Result<(usize, Vec<RecordBatch>), SessionError> {
        Ok(match self {
            Self::Gnist(session) => {
                let mut result = session.sql(sql).await?;
                (result.schema().fields().len(), result.collect().await?)
            }
            Self::DataFusion(context) => {
                let frame = context.sql(sql).await?;
                (frame.schema().fields().len(), frame.collect().await?)
            }
        })
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let (columns, batches) = self.rows(sql).await?;
        if columns == 0 {
            return Ok(DBOutput::StatementComplete(0));
        }
        let rows = batches.iter().flat_map(rows_of).collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows })
    }

    fn engine_name(&self) -> &str {
        match self {
            Self::Gnist(_) => "gnist",
            Self::DataFusion(_) => "datafusion",
        }
    }

    async fn shutdown(&mut self) {
        if let Self::Gnist(session) = self {
            session.close().await;
        }
    }
}

/// The rows of a batch as text: null is `NULL`, empty text `(empty)`.
pub fn rows_of(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("printable"))
        .collect();
    let cell = |column: &ArrayFormatter<'_>, row: usize| {
        let text = column.value(row).to_string();
        if text.is_empty() { "(empty)".to_owned() } else { text }
    };
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| cell(column, row)).collect())
        .collect()
}
