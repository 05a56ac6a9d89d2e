//! The comparison of two answers to a query. They are the same if they have the same rows, each as
//! often, and the ORDER BY keys in the same order. Exact but for floats, which may differ by 1e-9
//! of their size, and for decimals, by one in the last digit: plain DataFusion drops the digits of a
//! quotient that Gnist rounds, and calculates with floats where a number is written beside a decimal.

use std::cmp::Ordering;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{OrderByKind, Statement as SqlStatement};

/// Two floats this close, relative to the larger, are the same.
const TOLERANCE: f64 = 1e-9;

/// The rows of a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug)]
enum Cell {
    Null,
    Exact(String),
    Float(f64),
    /// The value in units of its last digit, and as it is shown.
    Decimal(i128, String),
}

impl Answer {
    /// The rows of these batches.
    ///
    /// # Errors
    ///
    /// A value can't be shown.
    pub(crate) fn of(batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let Some(first) = batches.first() else { return Ok(Self::default()) };
        let columns = first.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut rows = Vec::new();
        for batch in batches {
            let cells: Vec<Vec<Cell>> =
                batch.columns().iter().map(|column| cells(column)).collect::<Result<_, _>>()?;
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| cells.iter().map(|column| column[row].clone()).collect::<Vec<_>>()),
            );
        }
        Ok(Self { columns, rows })
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Every row's values of these columns, in the order of the rows.
    fn project(&self, columns: &[usize]) -> Vec<Vec<Cell>> {
        let cells = |row: &Vec<Cell>| columns.iter().map(|column| row[*column].clone()).collect();
        self.rows.iter().map(cells).collect()
    }

    fn sorted(&self) -> Vec<Vec<Cell>> {
        let mut rows = self.rows.clone();
        rows.sort_by(|a, b| compare_rows(a, b));
        rows
    }
}

fn cells(column: &dyn Array) -> Result<Vec<Cell>, ArrowError> {
    let nulls = column.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let mut cells = Vec::with_capacity(column.len());
    let options = FormatOptions::new().with_display_error(false);
    let formatter = ArrayFormatter::try_new(column, &options)?;
    for row in 0..column.len() {
        cells.push(match column.data_type() {
            _ if is_null(row) => Cell::Null,
            DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
            DataType::Float32 => {
                Cell::Float(f64::from(column.as_primitive::<Float32Type>().value(row)))
            }
            of_type => {
                let text = formatter.value(row).try_to_string()?;
                let units = of_type.is_decimal().then(|| text.replace('.', "").parse().ok());
                match units.flatten() {
                    Some(units) => Cell::Decimal(units, text),
                    None => Cell::Exact(text),
                }
            }
        });
    }
    Ok(cells)
}

/// Returns the difference between two answers to this statement; none when they are the same.
pub(crate) fn difference(ours: &Answer, theirs: &Answer, statement: &Statement) -> Option<String> {
    if ours.rows() != theirs.rows() {
        return Some(format!("{} rows instead of {}", ours.rows(), theirs.rows()));
    }
    if ours.rows() == 0 {
        return None;
    }
    if ours.columns != theirs.columns {
        return Some(format!("columns {:?} instead of {:?}", ours.columns, theirs.columns));
    }
    if let Some((ours, theirs)) = first_difference(&ours.sorted(), &theirs.sorted()) {
        return Some(format!("row {ours} instead of {theirs}"));
    }
    let keys = order_columns(statement, &theirs.columns);
    let keys = first_difference(&ours.project(&keys), &theirs.project(&keys));
    keys.map(|(ours, theirs)| format!("order: {ours} where {theirs} comes"))
}

fn first_difference(ours: &[Vec<Cell>], theirs: &[Vec<Cell>]) -> Option<(String, String)> {
    let pair = ours.iter().zip(theirs).find(|(a, b)| !same_row(a, b))?;
    Some((show(pair.0), show(pair.1)))
}

fn show(row: &[Cell]) -> String {
    let cells: Vec<String> = row
        .iter()
        .map(|cell| match cell {
            Cell::Null => "null".to_owned(),
            Cell::Exact(text) | Cell::Decimal(_, text) => text.clone(),
            Cell::Float(number) => number.to_string(),
        })
        .collect();
    format!("({})", cells.join(", "))
}

fn same_row(a: &[Cell], b: &[Cell]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_cell(a, b))
}

fn same_cell(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::Null, Cell::Null) => true,
        (Cell::Exact(a), Cell::Exact(b)) => a == b,
        (Cell::Decimal(a, _), Cell::Decimal(b, _)) => a.abs_diff(*b) <= 1,
        (Cell::Float(a), Cell::Float(b)) => {
            a.total_cmp(b).is_eq() || a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
        }
        (Cell::Float(float), Cell::Decimal(_, text))
        | (Cell::Decimal(_, text), Cell::Float(float)) => is_rounded(text, *float),
        _ => false,
    }
}

/// Returns true for a decimal that is a float but for the digits that it has not.
fn is_rounded(decimal: &str, float: f64) -> bool {
    let digits = decimal.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let last_digit = 10_f64.powi(-i32::try_from(digits).unwrap_or(i32::MAX));
    let close = |value: f64| (value - float).abs() <= last_digit + TOLERANCE * float.abs();
    decimal.parse().is_ok_and(close)
}

/// Exact columns first, so that rows that differ in a number's last digit still meet.
fn compare_rows(a: &[Cell], b: &[Cell]) -> Ordering {
    let exact = a.iter().zip(b).map(|(a, b)| match (a, b) {
        (Cell::Exact(a), Cell::Exact(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    });
    let numbers = a.iter().zip(b).map(|(a, b)| match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => a.total_cmp(b),
        (Cell::Decimal(a, _), Cell::Decimal(b, _)) => a.cmp(b),
        _ => Ordering::Equal,
    });
    exact.chain(numbers).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn rank(cell: &Cell) -> u8 {
    match cell {
        Cell::Null => 0,
        Cell::Float(_) => 1,
        Cell::Exact(_) => 2,
        Cell::Decimal(..) => 3,
    }
}

/// The result columns that the statement orders by.
fn order_columns(statement: &Statement, columns: &[String]) -> Vec<usize> {
    let Statement::Statement(statement) = statement else { return Vec::new() };
    let SqlStatement::Query(query) = &**statement else { return Vec::new() };
    let Some(order) = &query.order_by else { return Vec::new() };
    let OrderByKind::Expressions(keys) = &order.kind else { return Vec::new() };
    let place = |name: String| columns.iter().position(|column| *column == name);
    keys.iter().filter_map(|key| place(key.expr.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array};
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn answer(keys: &[Option<i64>], values: &[f64]) -> Answer {
        let columns: [(&str, ArrayRef); 2] = [
            ("k", Arc::new(Int64Array::from(keys.to_vec()))),
            ("v", Arc::new(Float64Array::from(values.to_vec()))),
        ];
        let columns = columns.map(|(name, array)| (name, array, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
        Answer::of(&[batch]).expect("shown")
    }

    fn compared(ours: &Answer, theirs: &Answer, sql: &str) -> Option<String> {
        let statement = DFParser::parse_sql(sql).expect("SQL").pop_front().expect("one");
        difference(ours, theirs, &statement)
    }

    #[test]
    fn a_decimal_is_a_float_but_for_the_digits_that_it_has_not() {
        for (decimal, float) in
            [("0.35", 0.345_000_1), ("-2", -2.4), ("16.38077863", 16.380778626395543)]
        {
            assert!(is_rounded(decimal, float), "{decimal} {float}");
        }
        assert!(!is_rounded("0.35", 0.37) && !is_rounded("0.35", f64::NAN));
    }

    #[test]
    fn decimals_may_differ_by_one_in_the_last_digit() {
        let answer = |units: [i128; 2]| {
            let values = Decimal128Array::from(units.to_vec()).with_precision_and_scale(9, 4);
            let column: ArrayRef = Arc::new(values.expect("a decimal"));
            let batch = RecordBatch::try_from_iter([("v", column)]).expect("a batch");
            Answer::of(&[batch]).expect("shown")
        };
        let compared = |ours| compared(&answer(ours), &answer([6666, -5]), "select v from t");
        assert_eq!(compared([-5, 6667]), None);
        assert_eq!(compared([-4, 6665]), None);
        let text = compared([-5, 6668]);
        assert_eq!(text.as_deref(), Some("row (0.6668) instead of (0.6666)"));
    }

    #[test]
    fn rows_are_a_multiset_and_floats_are_near() {
        let unordered = "select k, v from t";
        let ours = answer(&[Some(1), Some(2), None], &[0.1, 0.2, 0.3]);
        let theirs = answer(&[None, Some(2), Some(1)], &[0.3 + 1e-12, 0.2, 0.1]);
        assert_eq!(compared(&ours, &theirs, unordered), None);
        let twice = answer(&[Some(1), Some(1), None], &[0.1, 0.1, 0.3]);
        assert!(compared(&twice, &theirs, unordered).is_some());
        let off = answer(&[Some(1), Some(2), None], &[0.1, 0.2, 0.301]);
        assert!(compared(&off, &theirs, unordered).is_some());
        assert_eq!(
            compared(&ours, &answer(&[], &[]), unordered).as_deref(),
            Some("3 rows instead of 0")
        );
    }

    #[test]
    fn order_counts_for_the_keys_alone() {
        let ordered = "select k, v from t order by k desc";
        let theirs = answer(&[Some(2), Some(2), Some(1)], &[0.1, 0.2, 0.3]);
        let tie = answer(&[Some(2), Some(2), Some(1)], &[0.2, 0.1, 0.3]);
        assert_eq!(compared(&tie, &theirs, ordered), None);
        let wrong = answer(&[Some(1), Some(2), Some(2)], &[0.3, 0.1, 0.2]);
        assert!(compared(&wrong, &theirs, ordered).is_some_and(|text| text.starts_with("order")));
    }
}
