//! The oracle on cases with a known answer, worked out from the SQL standard.

use crate::table::{Column, Storage, Table, TableSet};
use crate::tree::{
    Aggregate, Bound, ColumnId, Direction, Errors, Expr, Frame, FrameUnit, From, JoinKind, JoinOn,
    Query, Select, Statement, Window,
};
use crate::types::Type;
use crate::value::Value;
use crate::{Outcome, Row, answer, sql};

const UP: Direction = Direction { descending: false, nulls_first: None };

/// Integers, with `None` for null.
fn table(name: &str, columns: usize, rows: &[&[Option<i128>]]) -> Table {
    let value = |number: &Option<i128>| number.map_or(Value::Null, Value::Int);
    Table {
        name: name.to_owned(),
        columns: vec![Column { of: Type::I64, nullable: true }; columns],
        rows: rows.iter().map(|row| row.iter().map(value).collect()).collect(),
        storage: Storage::Memory(vec![vec![rows.len()]]),
        sorted_by: Vec::new(),
        is_edge: false,
    }
}

fn from(table: usize, relation: u32) -> From {
    From::Table { table, relation }
}

fn column(relation: u32, column: u32) -> Expr {
    Expr::Column(ColumnId { relation, column, merged: false }, Type::I64)
}

fn answered(query: Query, tables: Vec<Table>) -> Vec<String> {
    let tables = TableSet { tables, zone_minutes: 0 };
    let statement = Statement { query, errors: Errors::Lenient };
    let text = |row: &Row| row.iter().map(Value::plain).collect::<Vec<_>>().join(" ");
    match answer(&statement, &tables) {
        Outcome::Rows(rows) => {
            let mut rows: Vec<String> = rows.iter().map(text).collect();
            rows.sort();
            rows
        }
        other => panic!("{}: {other:?}", sql(&statement.query, &tables)),
    }
}

fn filtered(item: Expr, relation: From, filter: Expr) -> Query {
    let mut select = Select::of(vec![item], Some(relation));
    select.filter = Some(filter);
    select.query()
}

#[test]
fn not_in_under_or_keeps_three_valued_logic() {
    let a = table("a", 1, &[&[Some(1)], &[Some(2)], &[Some(7)]]);
    let b = table("b", 1, &[&[None], &[Some(7)]]);
    let inner = Select::of(vec![column(2, 0)], Some(from(1, 2))).query();
    let not_in = Expr::InQuery(Box::new(column(1, 0)), Box::new(inner), true);
    let larger = Expr::compare(">", column(1, 0), Expr::int(1));
    let filter = Expr::Or(Box::new(larger), Box::new(not_in));
    assert_eq!(answered(filtered(column(1, 0), from(0, 1), filter), vec![a, b]), ["2", "7"]);
}

#[test]
fn exists_of_an_aggregate_is_always_true() {
    let t1 = table("t1", 1, &[&[Some(1)], &[Some(2)]]);
    let t2 = table("t2", 1, &[&[Some(2)]]);
    let count = Aggregate {
        function: "count",
        arguments: Vec::new(),
        distinct: false,
        filter: None,
        order: Vec::new(),
        of: Type::I64,
    };
    let same = Expr::compare("=", column(1, 0), column(2, 0));
    let inner = filtered(Expr::Aggregate(Box::new(count)), from(1, 2), same);
    let exists = Expr::Exists(Box::new(inner), false);
    assert_eq!(answered(filtered(column(1, 0), from(0, 1), exists), vec![t1, t2]), ["1", "2"]);
}

#[test]
fn the_key_of_a_full_join_is_that_of_the_side_with_a_row() {
    let a = table("a", 2, &[&[Some(1), Some(10)], &[Some(2), Some(20)]]);
    let b = table("b", 2, &[&[Some(2), Some(200)], &[Some(4), Some(400)]]);
    let key = |relation| ColumnId { relation, column: 0, merged: false };
    let on = JoinOn::Using(vec![(key(1), key(2), Type::I64)]);
    let (left, right) = (Box::new(from(0, 1)), Box::new(from(1, 2)));
    let join = From::Join { kind: JoinKind::Full, left, right, on };
    let merged = Expr::Column(ColumnId { merged: true, ..key(1) }, Type::I64);
    let items = vec![merged, column(1, 1), column(2, 1)];
    let rows = answered(Select::of(items, Some(join)).query(), vec![a, b]);
    assert_eq!(rows, ["1 10 NULL", "2 20 200", "4 NULL 400"]);
}

fn over_i(function: &'static str, value: Expr, of: Type) -> Window {
    Window {
        function,
        arguments: vec![value],
        is_aggregate: false,
        filter: None,
        ignores_nulls: false,
        partition: Vec::new(),
        order: vec![(column(1, 0), UP)],
        frame: None,
        of,
    }
}

#[test]
fn windows_ignore_nulls_and_filter_rows() {
    let t = table("t", 2, &[&[Some(1), Some(1)], &[Some(2), None], &[Some(3), Some(5)]]);
    let mut last = over_i("last_value", column(1, 1), Type::I64);
    last.ignores_nulls = true;
    let mut sum = over_i("sum", column(1, 1), Type::I64);
    sum.is_aggregate = true;
    sum.filter = Some(Expr::compare(">", column(1, 1), Expr::int(1)));
    let items = vec![column(1, 0), Expr::Window(Box::new(last)), Expr::Window(Box::new(sum))];
    let rows = answered(Select::of(items, Some(from(0, 1))).query(), vec![t]);
    assert_eq!(rows, ["1 1 NULL", "2 1 NULL", "3 5 5"]);
}

#[test]
fn frames_count_rows_values_and_groups() {
    let rows: Vec<[Option<i128>; 1]> = [1, 1, 2, 5].map(|number| [Some(number)]).to_vec();
    let rows: Vec<&[Option<i128>]> = rows.iter().map(<[_; 1]>::as_slice).collect();
    let counted = |unit| {
        let mut count = over_i("count", column(1, 0), Type::I64);
        count.is_aggregate = true;
        count.frame = Some(Frame { unit, start: Bound::Preceding(1), end: Bound::CurrentRow });
        let items = vec![column(1, 0), Expr::Window(Box::new(count))];
        let query = Select::of(items, Some(from(0, 1))).query();
        answered(query, vec![table("t", 1, &rows)])
    };
    assert_eq!(counted(FrameUnit::Rows), ["1 1", "1 2", "2 2", "5 2"]);
    assert_eq!(counted(FrameUnit::Range), ["1 2", "1 2", "2 3", "5 1"]);
    assert_eq!(counted(FrameUnit::Groups), ["1 2", "1 2", "2 3", "5 2"]);
}
