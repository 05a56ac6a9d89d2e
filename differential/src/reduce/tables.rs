//! Smaller and plainer tables.

use crate::script::used_columns;
use crate::table::{Storage, Table, TableSet};
use crate::tree::Statement;
use crate::value::Value;

/// Table sets that are one edit plainer for this statement: in memory, without a declared order,
/// a time zone, or floats that are no numbers. Tried first: a plainer table can show no other fault
/// than the one that was found.
pub fn plainer_tables(tables: &TableSet, statement: &Statement) -> Vec<TableSet> {
    let mut found = Vec::new();
    for at in used_columns(&statement.query).into_keys() {
        let table = &tables.tables[at];
        let mut with = |table: Table| found.push(with_table(tables, at, table));
        let is_special = |value: &Value| match value {
            Value::Float(number) => {
                !number.is_finite() || number.is_sign_negative() && *number == 0.0
            }
            _ => false,
        };
        if table.rows.iter().flatten().any(is_special) {
            let mut plain = table.clone();
            for value in plain.rows.iter_mut().flatten().filter(|value| is_special(value)) {
                *value = Value::Float(1.0);
            }
            with(plain);
        }
        if !matches!(table.storage, Storage::Memory(_)) {
            let storage = Storage::Memory(vec![vec![table.rows.len()]]);
            with(Table { storage, ..table.clone() });
        }
        if let Some((_, others)) = table.sorted_by.split_last() {
            with(Table { sorted_by: others.to_vec(), ..table.clone() });
        }
    }
    if tables.zone_minutes != 0 {
        found.push(TableSet { zone_minutes: 0, ..tables.clone() });
    }
    found
}

/// Table sets with fewer rows, for this statement.
pub fn smaller_tables(tables: &TableSet, statement: &Statement) -> Vec<TableSet> {
    let mut found = Vec::new();
    for at in used_columns(&statement.query).into_keys() {
        let table = &tables.tables[at];
        let rows = table.rows.len();
        let mut size = rows;
        while size > 0 {
            for start in (0..rows).step_by(size) {
                let mut kept = table.rows.clone();
                kept.drain(start..(start + size).min(rows));
                found.push(with_table(tables, at, of_rows(table, kept)));
            }
            size /= 2;
        }
    }
    found
}

fn with_table(tables: &TableSet, at: usize, table: Table) -> TableSet {
    let mut changed = tables.clone();
    changed.tables[at] = table;
    changed
}

/// The table with these rows, in one partition or file more or less as before.
fn of_rows(table: &Table, rows: Vec<Vec<Value>>) -> Table {
    let count = rows.len();
    let deal = |files: &[usize]| {
        let mut left = count;
        let mut files: Vec<usize> = files
            .iter()
            .map(|rows| {
                let here = left.min(*rows);
                left -= here;
                here
            })
            .collect();
        if let Some(last) = files.last_mut() {
            *last += left;
        }
        files
    };
    let mut storage = table.storage.clone();
    match &mut storage {
        Storage::Memory(partitions) => {
            let mut left = count;
            for batch in partitions.iter_mut().flatten() {
                *batch = left.min(*batch);
                left -= *batch;
            }
        }
        Storage::Csv { files, .. }
        | Storage::Json { files, .. }
        | Storage::Parquet { files, .. } => {
            *files = deal(files);
        }
    }
    Table { rows, storage, ..table.clone() }
}
