//! Names of what a statement or a table uses: to count coverage, to leave kinds out, and to say
//! what a difference is about.

use std::collections::BTreeSet;

use crate::table::{Compression, Storage, Table, TableSet};
use crate::tree::{
    Body, Bound, Expr, FrameUnit, From, GroupingSets, JoinKind, JoinOn, Node, Query, Select,
    SetOperation, walk,
};
use crate::value::Value;

type Features = BTreeSet<String>;

/// The features of a query: the parts of SQL that it uses, and the storage of the tables that it
/// reads.
pub fn features(query: &Query, tables: &TableSet) -> Features {
    let mut found = Features::new();
    let mut read = BTreeSet::new();
    walk(&mut query.clone(), &mut |node| match node {
        Node::Query(query) => of_query(query, &mut found),
        Node::Select(select) => of_select(select, &mut found),
        Node::From(from) => {
            if let From::Table { table, .. } = from {
                read.insert(*table);
            }
            of_from(from, &mut found);
        }
        Node::Expr(expr) => of_expr(expr, &mut found),
    });
    for table in read {
        found.extend(table_features(&tables.tables[table]));
    }
    found
}

/// The features of a table: its storage, and the special values in its rows.
pub fn table_features(table: &Table) -> Features {
    let mut found = storage_features(table);
    if table.rows.is_empty() {
        found.insert("table:empty".to_owned());
    }
    for value in table.rows.iter().flatten() {
        if let Value::Float(number) = value {
            let name = match number {
                number if number.is_nan() => Some("value:nan"),
                number if number.is_infinite() => Some("value:infinity"),
                number if *number == 0.0 && number.is_sign_negative() => Some("value:-0.0"),
                _ => None,
            };
            found.extend(name.map(str::to_owned));
        }
    }
    found
}

/// The features of a table's storage.
pub(crate) fn storage_features(table: &Table) -> Features {
    let mut found = Features::new();
    let mut add = |name: String| {
        found.insert(name);
    };
    let compressed = |format: &str, compression: Compression| format!("{format}:{compression}");
    match &table.storage {
        Storage::Memory(_) => {}
        Storage::Csv { compression, terminator, newlines, quote, .. } => {
            add(compressed("csv", *compression));
            terminator.iter().for_each(|_| add("csv:terminator".to_owned()));
            newlines.then(|| add("csv:newlines".to_owned()));
            (*quote != '"').then(|| add("csv:quote".to_owned()));
        }
        Storage::Json { compression, array, .. } => {
            add(compressed("json", *compression));
            array.then(|| add("json:array".to_owned()));
        }
        Storage::Parquet { sorting_columns, .. } => {
            add("parquet".to_owned());
            if *sorting_columns && !table.sorted_by.is_empty() {
                add("parquet:sorting-columns".to_owned());
            }
        }
    }
    if !table.sorted_by.is_empty() {
        add("table:declared-order".to_owned());
    }
    if table.sorted_by.len() > 1 {
        add("table:declared-orders".to_owned());
    }
    found
}

fn of_query(query: &Query, found: &mut Features) {
    let mut add = |name: &str| {
        found.insert(name.to_owned());
    };
    for common in &query.with {
        add(if common.step.is_some() { "with:recursive" } else { "with" });
    }
    if !query.order.is_empty() {
        add("order");
        let is_total = query.order.len() == query.types().len();
        (!is_total).then(|| add("order:some-columns"));
    }
    query.limit.iter().for_each(|_| add("limit"));
    query.offset.iter().for_each(|_| add("offset"));
    match &query.body {
        Body::Set { operation, all, .. } => add(match (operation, all) {
            (SetOperation::Union, false) => "set:union",
            (SetOperation::Union, true) => "set:union-all",
            (SetOperation::Intersect, false) => "set:intersect",
            (SetOperation::Intersect, true) => "set:intersect-all",
            (SetOperation::Except, false) => "set:except",
            (SetOperation::Except, true) => "set:except-all",
        }),
        Body::Values { .. } => add("values"),
        Body::Select(_) => {}
    }
}

fn of_select(select: &Select, found: &mut Features) {
    let mut add = |name: &str| {
        found.insert(name.to_owned());
    };
    if select.distinct {
        add("select:distinct");
    }
    if !select.named {
        add("select:unnamed");
    }
    select.having.iter().for_each(|_| add("having"));
    select.qualify.iter().for_each(|_| add("qualify"));
    if let Some(group) = &select.group {
        add(match group.sets {
            GroupingSets::Plain => "group",
            GroupingSets::Rollup => "group:rollup",
            GroupingSets::Cube => "group:cube",
            GroupingSets::Listed(_) => "group:sets",
        });
        if let GroupingSets::Listed(sets) = &group.sets {
            let once: BTreeSet<&Vec<usize>> = sets.iter().collect();
            (once.len() < sets.len()).then(|| add("group:sets-twice"));
        }
    }
}

fn of_from(from: &From, found: &mut Features) {
    let mut add = |name: &str| {
        found.insert(name.to_owned());
    };
    match from {
        From::Derived { lateral: true, .. } => add("lateral"),
        From::Derived { .. } => add("derived"),
        From::Unnest { .. } => add("unnest"),
        From::Series { .. } => add("series"),
        From::Join { kind, on, .. } => {
            add(match kind {
                JoinKind::Inner => "join:inner",
                JoinKind::Left => "join:left",
                JoinKind::Right => "join:right",
                JoinKind::Full => "join:full",
                JoinKind::Cross => "join:cross",
                JoinKind::LeftSemi => "join:semi",
                JoinKind::LeftAnti => "join:anti",
            });
            match on {
                JoinOn::Using(_) => add("join:using"),
                JoinOn::Natural(_) => add("join:natural"),
                JoinOn::On(_) | JoinOn::Nothing => {}
            }
        }
        From::Table { .. } | From::Common { .. } => {}
    }
}

fn of_expr(expr: &Expr, found: &mut Features) {
    let mut add = |name: &str| {
        found.insert(name.to_owned());
    };
    match expr {
        Expr::Scalar(..) => add("subquery:scalar"),
        Expr::Exists(_, negated) => {
            add(if *negated { "subquery:not-exists" } else { "subquery:exists" })
        }
        Expr::InQuery(_, _, negated) => {
            add(if *negated { "subquery:not-in" } else { "subquery:in" })
        }
        Expr::Quantified { all, .. } => add(if *all { "subquery:all" } else { "subquery:any" }),
        Expr::Distinct { .. } => add("is-distinct-from"),
        Expr::Arithmetic(..) | Expr::Negate(..) => add("arithmetic"),
        Expr::Written(..) => add("written-number"),
        Expr::Case { .. } => add("case"),
        Expr::Cast { is_try, .. } => add(if *is_try { "try-cast" } else { "cast" }),
        Expr::Call(call, ..) => add(&format!("call:{call:?}").to_lowercase()),
        Expr::Grouping(_) => add("grouping"),
        Expr::Aggregate(aggregate) => {
            add(&format!("aggregate:{}", aggregate.function));
            aggregate.filter.iter().for_each(|_| add("aggregate:filter"));
            aggregate.distinct.then(|| add("aggregate:distinct"));
            (!aggregate.order.is_empty()).then(|| add("aggregate:order"));
            let keys: BTreeSet<String> =
                aggregate.order.iter().map(|(key, _)| format!("{key:?}")).collect();
            (keys.len() < aggregate.order.len()).then(|| add("aggregate:order-twice"));
        }
        Expr::Window(window) => {
            add(&format!("window:{}", window.function));
            window.filter.iter().for_each(|_| add("window:filter"));
            window.ignores_nulls.then(|| add("window:ignore-nulls"));
            if let Some(frame) = window.frame {
                add(match frame.unit {
                    FrameUnit::Rows => "frame:rows",
                    FrameUnit::Range => "frame:range",
                    FrameUnit::Groups => "frame:groups",
                });
                if frame.start != Bound::UnboundedPreceding {
                    add("frame:sliding");
                }
            }
        }
        _ => {}
    }
}
