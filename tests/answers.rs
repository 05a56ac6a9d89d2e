//! The rows of a statement as cells that compare as they should, and those of plain DataFusion.

use std::cmp::Ordering;
use std::fmt;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use crate::slt::rows_of;

const FLOAT_TOLERANCE: f64 = 1e-9;

/// The rows of plain DataFusion. A frame's own schema is from before types are coerced.
pub async fn plain_answer(plain: &SessionContext, sql: &str) -> Result<Answer, DataFusionError> {
    let stream = plain.sql(sql).await?.execute_stream().await?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(Answer::new(&schema, &batches))
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
