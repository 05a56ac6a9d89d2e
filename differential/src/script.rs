//! A difference as a test: a `sqllogictest` file of its tables, its statement and its rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::render;
use crate::oracle::Outcome;
use crate::print::sql;
use crate::table::{Storage, Table, TableSet};
use crate::tree::{Expr, From, JoinOn, Node, Query, Statement, walk};

/// The test: statements that make the tables it reads, the query, and what the oracle answers.
pub fn script(statement: &Statement, tables: &TableSet, outcome: &Outcome) -> String {
    let mut text = String::new();
    let used = used_columns(&statement.query);
    if tables.zone_minutes != 0 {
        let zone = tables.zone();
        text.push_str(&format!("statement ok\nset datafusion.execution.time_zone = '{zone}'\n\n"));
    }
    for (table, columns) in &used {
        text.push_str(&create(&tables.tables[*table], columns));
    }
    let query = sql(&statement.query, tables);
    text.push_str(&match outcome {
        Outcome::Rows(rows) => {
            let sort = if statement.query.order.is_empty() { " rowsort" } else { "" };
            let types = "?".repeat(statement.query.types().len());
            let rows: Vec<String> = rows
                .iter()
                .map(|row| row.iter().map(shown).collect::<Vec<_>>().join(" "))
                .collect();
            format!("query {types}{sort}\n{query}\n----\n{}\n", rows.join("\n"))
        }
        Outcome::Fails(fault) => format!("# {fault:?}\nstatement error\n{query}\n"),
        Outcome::NotCovered(reason) | Outcome::Undetermined(reason) => {
            format!("# not covered: {reason}\nstatement ok\n{query}\n")
        }
    });
    text
}

fn shown(value: &crate::value::Value) -> String {
    let text = value.plain();
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

fn create(table: &Table, columns: &BTreeSet<usize>) -> String {
    let place = |at: &usize| at.min(&(table.columns.len() - 1)).to_owned();
    let columns: BTreeSet<usize> = columns.iter().map(place).collect();
    let columns = if columns.is_empty() { BTreeSet::from([0]) } else { columns };
    if !matches!(table.storage, Storage::Memory(_)) {
        let rendered = render(table, "FOLDER").expect("it has files");
        let files = rendered.files.iter().map(|(name, text)| format!("# {name}: {text:?}\n"));
        let files: String = files.collect();
        return format!("{files}statement ok\n{}\n\n", rendered.create);
    }
    let name = &table.name;
    let names: Vec<String> =
        columns.iter().map(|at| format!("c{at} {}", table.columns[*at].of)).collect();
    if table.rows.is_empty() {
        return format!("statement ok\ncreate table {name} ({})\n\n", names.join(", "));
    }
    let row = |row: &Vec<crate::value::Value>| {
        let values = columns.iter().map(|at| row[*at].sql(&table.columns[*at].of));
        format!("({})", values.collect::<Vec<_>>().join(", "))
    };
    let rows: Vec<String> = table.rows.iter().map(row).collect();
    let sorted = table.sorted_by.iter().map(|at| format!("# declared to be sorted by c{at}\n"));
    let sorted: String = sorted.collect();
    format!(
        "{sorted}statement ok\ncreate table {name} ({}) as values {}\n\n",
        names.join(", "),
        rows.join(", ")
    )
}

/// Places of the tables that a statement reads.
pub fn tables_of(statement: &Statement) -> BTreeSet<usize> {
    used_columns(&statement.query).into_keys().collect()
}

/// Columns of each table that the query names.
pub(crate) fn used_columns(query: &Query) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut tables = BTreeMap::new();
    let mut columns = BTreeSet::new();
    walk(&mut query.clone(), &mut |node| match node {
        Node::From(From::Table { table, relation }) => drop(tables.insert(*relation, *table)),
        Node::From(From::Join { on: JoinOn::Using(keys) | JoinOn::Natural(keys), .. }) => {
            columns.extend(keys.iter().flat_map(|(left, right, _)| [*left, *right]));
        }
        Node::Expr(Expr::Column(id, _)) => drop(columns.insert(*id)),
        _ => {}
    });
    let mut used: BTreeMap<usize, BTreeSet<usize>> =
        tables.values().map(|table| (*table, BTreeSet::new())).collect();
    for id in columns {
        if let Some(table) = tables.get(&id.relation) {
            used.entry(*table).or_default().insert(id.column as usize);
        }
    }
    used
}
