//! Set operations on multisets: null is the same as null.

use std::cmp::Ordering;

use crate::tree::SetOperation;
use crate::value::{Row, compare_rows};

/// The rows once each, in some order.
pub(crate) fn distinct(rows: &[Row]) -> Vec<Row> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|left, right| compare_rows(left, right));
    sorted.dedup_by(|left, right| compare_rows(left, right).is_eq());
    sorted
}

/// Both arms combined. With ALL, a row that stands m times left and n times right stands m + n
/// times in the union, min(m, n) times in the intersection, and max(m - n, 0) times in the
/// difference.
pub(crate) fn combine(operation: SetOperation, all: bool, left: &[Row], right: &[Row]) -> Vec<Row> {
    if operation == SetOperation::Union {
        let both = [left, right].concat();
        return if all { both } else { distinct(&both) };
    }
    let sorted = |rows: &[Row]| {
        let mut rows = if all { rows.to_vec() } else { distinct(rows) };
        rows.sort_by(|left, right| compare_rows(left, right));
        rows
    };
    let (left, right) = (sorted(left), sorted(right));
    let mut kept = Vec::new();
    let mut right = right.iter().peekable();
    for row in left {
        while right.next_if(|other| compare_rows(other, &row) == Ordering::Less).is_some() {}
        let is_paired = right.next_if(|other| compare_rows(other, &row).is_eq()).is_some();
        if is_paired == (operation == SetOperation::Intersect) {
            kept.push(row);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn rows(numbers: &[i128]) -> Vec<Row> {
        let value = |number: &i128| if *number < 0 { Value::Null } else { Value::Int(*number) };
        numbers.iter().map(|number| vec![value(number)]).collect()
    }

    fn combined(operation: SetOperation, all: bool) -> Vec<String> {
        let (left, right) = (rows(&[1, 1, 1, 2, 2, 3, -1, -1]), rows(&[1, 2, 2, 4, -1]));
        let rows = combine(operation, all, &left, &right);
        rows.iter().map(|row| row[0].plain()).collect()
    }

    #[test]
    fn copies_are_counted() {
        assert_eq!(combined(SetOperation::Except, true), ["1", "1", "3", "NULL"]);
        assert_eq!(combined(SetOperation::Intersect, true), ["1", "2", "2", "NULL"]);
        assert_eq!(combined(SetOperation::Except, false), ["3"]);
        assert_eq!(combined(SetOperation::Intersect, false), ["1", "2", "NULL"]);
        assert_eq!(combined(SetOperation::Union, false), ["1", "2", "3", "4", "NULL"]);
    }
}
