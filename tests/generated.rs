//! Random statements over random tables: every backend must answer as plain DataFusion does, as a
//! multiset of rows, and in order where the statement gives one; or both must fail.

mod dice;
mod statements;
mod tables;

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use gnist::Session;
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::slt::rows_of;
use dice::Dice;
use statements::{Generator, Statement};

const SEEDS: u64 = 8;
const STATEMENTS_PER_SEED: usize = 130;
const FLOAT_TOLERANCE: f64 = 1e-9;
const STATEMENT_SECONDS_MAX: u64 = 30;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in BACKENDS {
        for seed in 1..=SEEDS {
            let name = format!("generated::seed {seed} on {backend}");
            trials.push(Trial::test(name, move || block_on(run(seed, backend))));
        }
    }
    trials
}

async fn run(seed: u64, backend: &str) -> Result<(), Failed> {
    let mut dice = Dice::new(seed);
    let plain = SessionContext::new();
    let shuffle_partitions = u32::try_from(1 + dice.below(5)).expect("small");
    let session = builder(backend).shuffle_partitions(Some(shuffle_partitions)).connect().await?;
    for (name, table) in tables::tables(&mut dice) {
        plain.register_table(name, table.clone())?;
        session.context().register_table(name, table)?;
    }
    if seed.is_multiple_of(2) {
        partition_every_join(&session).await?;
    }
    let mut generator = Generator::new(&mut dice);
    let mut wrong = Vec::new();
    let mut answered = 0;
    for at in 0..STATEMENTS_PER_SEED {
        let statement = generator.statement();
        match check(&plain, &session, &statement).await {
            Ok(has_rows) => answered += usize::from(has_rows),
            Err(difference) => {
                wrong.push(format!("seed {seed}, statement {at}: {}\n{difference}", statement.sql));
            }
        }
    }
    session.close().await;
    if !wrong.is_empty() {
        return Err(format!("{} statements differ\n{}", wrong.len(), wrong.join("\n\n")).into());
    }
    // A generator whose statements all fail would test nothing.
    assert!(answered * 5 >= STATEMENTS_PER_SEED * 4, "only {answered} statements were answered");
    Ok(())
}

async fn partition_every_join(session: &Session) -> Result<(), Failed> {
    for setting in
        ["hash_join_single_partition_threshold", "hash_join_single_partition_threshold_rows"]
    {
        session.sql(&format!("set datafusion.optimizer.{setting} = 0")).await?;
    }
    Ok(())
}

/// Whether both answered; both failing is agreement too.
async fn check(
    plain: &SessionContext,
    session: &Session,
    statement: &Statement,
) -> Result<bool, String> {
    let want = expected(plain, &statement.sql).await;
    let limit = Duration::from_secs(STATEMENT_SECONDS_MAX);
    let got = tokio::time::timeout(limit, answered(session, &statement.sql)).await;
    let got = got.map_err(|_| format!("no answer in {STATEMENT_SECONDS_MAX} s"))?;
    match (want, got) {
        (Ok(want), Ok(got)) if got.agrees_with(&want, statement.ordered) => Ok(true),
        (Err(_), Err(_)) => Ok(false),
        (want, got) => Err(format!("want {}\ngot {}", shown(want), shown(got))),
    }
}

async fn expected(plain: &SessionContext, sql: &str) -> Result<Answer, String> {
    plain_answer(plain, sql).await.map_err(|error| error.to_string())
}

/// The rows of plain DataFusion. A frame's own schema is from before types are coerced.
pub async fn plain_answer(plain: &SessionContext, sql: &str) -> Result<Answer, DataFusionError> {
    let stream = plain.sql(sql).await?.execute_stream().await?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(Answer::new(&schema, &batches))
}

async fn answered(session: &Session, sql: &str) -> Result<Answer, String> {
    let mut result = session.sql(sql).await.map_err(|error| error.failure().to_string())?;
    let batches = result.collect().await.map_err(|error| error.to_string())?;
    Ok(Answer::new(&result.schema(), &batches))
}

fn shown(answer: Result<Answer, String>) -> String {
    answer.map_or_else(|error| format!("error: {error}"), |answer| answer.to_string())
}

/// A cell that compares as it should.
#[derive(Debug, PartialEq)]
enum Cell {
    Text(String),
    Float(f64),
}

/// The rows of a statement.
pub struct Answer {
    types: Vec<DataType>,
    rows: Vec<Vec<Cell>>,
}

impl Answer {
    pub fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        let types: Vec<DataType> =
            schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let cell = |(text, kind): (String, &DataType)| match text.parse() {
            Ok(float) if kind.is_floating() => Cell::Float(float),
            _ => Cell::Text(text),
        };
        let row = |row: Vec<String>| row.into_iter().zip(&types).map(cell).collect();
        let rows = batches.iter().flat_map(rows_of).map(row).collect();
        Self { types, rows }
    }

    pub fn agrees_with(&self, other: &Self, ordered: bool) -> bool {
        if self.types != other.types || self.rows.len() != other.rows.len() {
            return false;
        }
        let (mut left, mut right): (Vec<_>, Vec<_>) =
            (self.rows.iter().collect(), other.rows.iter().collect());
        if !ordered {
            left.sort_by(|a, b| compare(a, b));
            right.sort_by(|a, b| compare(a, b));
        }
        left.into_iter()
            .zip(right)
            .all(|(left, right)| left.iter().zip(right).all(|(left, right)| agree(left, right)))
    }
}

fn agree(left: &Cell, right: &Cell) -> bool {
    match (left, right) {
        (Cell::Float(left), Cell::Float(right)) => {
            let scale = left.abs().max(right.abs());
            left == right
                || (left.is_nan() && right.is_nan())
                || (left - right).abs() <= scale * FLOAT_TOLERANCE
        }
        _ => left == right,
    }
}

/// Exact cells first: floats that differ in their last bits must not move a row far.
fn compare(left: &[Cell], right: &[Cell]) -> Ordering {
    exact(left).cmp(exact(right)).then_with(|| {
        let pairs = left.iter().zip(right).map(|pair| match pair {
            (Cell::Float(left), Cell::Float(right)) => left.total_cmp(right),
            (Cell::Float(_), Cell::Text(_)) => Ordering::Less,
            (Cell::Text(_), Cell::Float(_)) => Ordering::Greater,
            (Cell::Text(_), Cell::Text(_)) => Ordering::Equal,
        });
        pairs.fold(Ordering::Equal, Ordering::then)
    })
}

fn exact(row: &[Cell]) -> impl Iterator<Item = Option<&String>> {
    row.iter().map(|cell| match cell {
        Cell::Text(text) => Some(text),
        Cell::Float(_) => None,
    })
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ROWS_SHOWN_MAX: usize = 12;
        write!(f, "{} rows of {:?}", self.rows.len(), self.types)?;
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|a, b| compare(a, b));
        rows.iter().take(ROWS_SHOWN_MAX).try_for_each(|row| write!(f, "\n  {row:?}"))
    }
}
