//! Differences of two answers: as multisets of rows, and in the order of the keys.

use std::cmp::Ordering;

use crate::tree::OrderColumn;
use crate::value::{Row, Value};

/// Two floats this close, relative to the larger, are the same.
const FLOAT_TOLERANCE: f64 = 1e-9;
/// Rows shown of an answer.
const ROWS_SHOWN_MAX: usize = 12;

/// A description of what differs; none for the same rows, in the same order of these keys.
pub fn difference(got: &[Row], want: &[Row], order: &[OrderColumn]) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} rows instead of {}", got.len(), want.len()));
    }
    let pairs = sorted(got).into_iter().zip(sorted(want));
    for (got, want) in pairs {
        if !same_row(got, want) {
            return Some(format!("row {} instead of {}", shown_row(got), shown_row(want)));
        }
    }
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        if let Some(key) = order.iter().find(|key| !same(&got[key.column], &want[key.column])) {
            let (got, want) = (got[key.column].plain(), want[key.column].plain());
            return Some(format!("order: `{got}` in row {at}, where `{want}` comes"));
        }
    }
    None
}

/// Exact values first: floats that differ in their last bits must not move a row far.
fn sorted(rows: &[Row]) -> Vec<&Row> {
    let is_float = |value: &&Value| matches!(value, Value::Float(_));
    let part = |left: &Row, right: &Row, floats: bool| {
        let pairs = left
            .iter()
            .zip(right)
            .filter(|(left, right)| (is_float(left) || is_float(right)) == floats);
        pairs.map(|(left, right)| left.compare(right)).fold(Ordering::Equal, Ordering::then)
    };
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|left, right| part(left, right, false).then_with(|| part(left, right, true)));
    rows
}

fn same_row(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            let scale = left.abs().max(right.abs());
            left == right
                || (left.is_nan() && right.is_nan())
                || (left - right).abs() <= scale * FLOAT_TOLERANCE && scale.is_finite()
        }
        (Value::List(left), Value::List(right)) => same_row(left, right),
        _ => left.same(right),
    }
}

/// An answer as text, some rows of it.
pub fn shown(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().take(ROWS_SHOWN_MAX).map(|row| shown_row(row)).collect();
    let more = if rows.len() > ROWS_SHOWN_MAX { ", ..." } else { "" };
    format!("{} rows: {}{more}", rows.len(), lines.join(", "))
}

fn shown_row(row: &[Value]) -> String {
    format!("({})", row.iter().map(Value::plain).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Direction;

    fn rows(numbers: &[f64]) -> Vec<Row> {
        let row = |number: &f64| vec![Value::Int(*number as i128), Value::Float(*number)];
        numbers.iter().map(row).collect()
    }

    #[test]
    fn rows_are_a_multiset_and_floats_are_near() {
        let (got, want) = (rows(&[1.0, 2.0, 3.0]), rows(&[3.0 + 1e-12, 1.0, 2.0]));
        assert_eq!(difference(&got, &want, &[]), None);
        let direction = Direction { descending: false, nulls_first: None };
        let order = [OrderColumn { column: 0, direction }];
        assert!(difference(&got, &want, &order).is_some_and(|text| text.starts_with("order")));
        assert!(difference(&rows(&[1.0, 1.0, 3.0]), &want, &[]).is_some());
        assert!(difference(&rows(&[f64::INFINITY]), &rows(&[1.0]), &[]).is_some());
    }
}
