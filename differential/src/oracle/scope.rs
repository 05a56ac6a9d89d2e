//! The surroundings of an expression: the row at hand, the group, the window, and the scopes
//! around.

use std::cmp::Ordering;

use crate::tree::{ColumnId, Direction};
use crate::value::{Row, Value};

/// The surroundings of an expression.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The columns of the row.
    pub(crate) columns: &'a [ColumnId],
    /// The values of the columns.
    pub(crate) row: &'a [Value],
    /// The group, where aggregates and keys may stand.
    pub(crate) group: Option<&'a GroupRows>,
    /// All rows of the SELECT and the place of this one, where window functions may stand.
    pub(crate) window: Option<(&'a WindowRows<'a>, usize)>,
    /// The scope around: of a subquery, of the left side of a join.
    pub(crate) outer: Option<&'a Scope<'a>>,
}

/// A group of rows.
pub(crate) struct GroupRows {
    /// The value of every key, null where it is not in the grouping set.
    pub(crate) keys: Vec<Value>,
    /// True if every key is in the grouping set.
    pub(crate) present: Vec<bool>,
    /// The columns of its rows.
    pub(crate) columns: Vec<ColumnId>,
    /// The rows of the group.
    pub(crate) rows: Vec<Row>,
}

/// The rows over which window functions of a SELECT are evaluated.
pub(crate) struct WindowRows<'a> {
    pub(crate) columns: &'a [ColumnId],
    pub(crate) rows: Vec<(&'a [Value], Option<&'a GroupRows>)>,
    pub(crate) outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// A row inside other scopes.
    pub(crate) fn of(
        columns: &'a [ColumnId],
        row: &'a [Value],
        outer: Option<&'a Scope<'a>>,
    ) -> Self {
        Self { columns, row, group: None, window: None, outer }
    }

    /// The value of a column here or around.
    pub(crate) fn column(&self, id: ColumnId) -> Option<&'a Value> {
        let here = self.columns.iter().position(|column| *column == id);
        match (here, self.outer) {
            (Some(at), _) => Some(&self.row[at]),
            (None, Some(outer)) => outer.column(id),
            (None, None) => None,
        }
    }
}

impl<'a> WindowRows<'a> {
    /// The scope of a row, without the window.
    pub(crate) fn scope(&self, at: usize) -> Scope<'a> {
        let (row, group) = self.rows[at];
        Scope { columns: self.columns, row, group, window: None, outer: self.outer }
    }
}

/// The order of two values in a direction.
pub(crate) fn directed(left: &Value, right: &Value, direction: Direction) -> Ordering {
    match (left.is_null(), right.is_null()) {
        (false, false) if direction.descending => right.compare(left),
        (false, false) => left.compare(right),
        (left, right) if direction.is_nulls_first() => right.cmp(&left),
        (left, right) => left.cmp(&right),
    }
}
