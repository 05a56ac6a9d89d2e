//! Every file of `tests/slt` on every backend.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use gnist::{Failure, Session};
use libtest_mimic::{Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::backends::{BACKENDS, block_on, builder};

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for file in files() {
        for master in BACKENDS {
            let stem = file.file_stem().expect("a file").to_string_lossy().into_owned();
            let file = file.clone();
            let name = format!("slt::{stem} on {master}");
            trials.push(Trial::test(name, move || run(&file, master)));
        }
    }
    trials
}

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slt");
    let entries = std::fs::read_dir(folder).expect("the folder of SQL tests");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

fn run(file: &Path, master: &'static str) -> Result<(), Failed> {
    block_on(async {
        let mut runner = Runner::new(|| async { Database::open(master).await });
        runner.with_column_validator(|_, _| true);
        runner.run_file_async(file).await?;
        runner.shutdown_async().await;
        Ok(())
    })
}

struct Database(Session);

impl Database {
    async fn open(master: &str) -> Result<Self, Failure> {
        Ok(Self(builder(master).connect().await?))
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let result = self.0.sql(sql).await?;
        let columns = result.schema().fields().len();
        let batches: Vec<RecordBatch> = result.try_collect().await?;
        if columns == 0 {
            return Ok(DBOutput::StatementComplete(0));
        }
        let rows = batches.iter().flat_map(rows_of).collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows })
    }

    async fn shutdown(&mut self) {
        self.0.close().await;
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
