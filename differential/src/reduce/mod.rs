//! Smaller statements and tables, one edit away: delta debugging over the tree and the rows.
//!
//! Whoever finds a difference tries the candidates in order, goes on from the first that differs
//! still, and ends when none does. An edit may leave columns without a relation; they become
//! nulls.

mod tables;

use std::collections::BTreeSet;

use crate::tree::{
    Body, ColumnId, Common, Expr, From, GroupingSets, JoinKind, JoinOn, Node, Query, Select,
    Statement, walk,
};
use crate::types::Type;
use crate::value::Value;

pub use tables::{plainer_tables, smaller_tables};

/// Statements that are one edit smaller, the largest steps first.
pub fn smaller_statements(statement: &Statement) -> Vec<Statement> {
    let mut found = lifted(statement);
    let mut nodes = 0;
    walk(&mut statement.query.clone(), &mut |_| nodes += 1);
    let keys = order_keys(&statement.query);
    for node in 0..nodes {
        let mut edit = 0;
        loop {
            let mut query = statement.query.clone();
            if !edited(&mut query, node, edit) {
                break;
            }
            edit += 1;
            repair(&mut query);
            if order_keys(&query).is_subset(&keys) {
                found.push(Statement { query, errors: statement.errors });
            }
        }
    }
    found
}

/// The orders of windows and aggregates. They stay as they are: rows that a key no longer tells
/// apart have no fixed answer.
fn order_keys(query: &Query) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    walk(&mut query.clone(), &mut |node| {
        let order = match &node {
            Node::Expr(Expr::Window(window)) => &window.order,
            Node::Expr(Expr::Aggregate(aggregate)) => &aggregate.order,
            _ => return,
        };
        keys.insert(format!("{order:?}"));
    });
    keys
}

/// Every query inside as a statement of its own.
fn lifted(statement: &Statement) -> Vec<Statement> {
    let mut commons: Vec<Common> = Vec::new();
    let mut queries = Vec::new();
    let mut is_first = true;
    walk(&mut statement.query.clone(), &mut |node| {
        if let Node::Query(query) = node {
            commons.extend(query.with.iter().cloned());
            if !std::mem::take(&mut is_first) {
                queries.push(query.clone());
            }
        }
    });
    let lift = |mut query: Query| {
        query.with = commons.clone();
        repair(&mut query);
        Statement { query, errors: statement.errors }
    };
    queries.into_iter().map(lift).collect()
}

/// Applies an edit at a node; false if the node has no such edit.
fn edited(query: &mut Query, node: usize, edit: usize) -> bool {
    let (mut at, mut applied) = (0, false);
    walk(query, &mut |found| {
        if at == node {
            applied = match found {
                Node::Query(query) => edit_query(query, edit, at == 0),
                Node::Select(select) => edit_select(select, edit),
                Node::From(from) => edit_from(from, edit),
                Node::Expr(expr) => edit_expr(expr, edit),
            };
        }
        at += 1;
    });
    applied
}

fn edit_query(query: &mut Query, edit: usize, is_top: bool) -> bool {
    let mut edits: Vec<Query> = Vec::new();
    let mut with = |change: &dyn Fn(&mut Query)| {
        let mut changed = query.clone();
        change(&mut changed);
        edits.push(changed);
    };
    for common in 0..query.with.len() {
        with(&|query| drop(query.with.remove(common)));
    }
    if query.limit.is_some() || query.offset.is_some() {
        with(&|query| (query.limit, query.offset) = (None, None));
        if query.offset.is_some() {
            with(&|query| query.offset = None);
        }
    } else if !query.order.is_empty() {
        with(&|query| query.order.clear());
    }
    match &query.body {
        Body::Set { .. } => {
            for side in [true, false] {
                with(&|query| {
                    if let Body::Set { left, right, .. } = &query.body {
                        query.body = if side { left.body.clone() } else { right.body.clone() };
                    }
                });
            }
        }
        Body::Select(select) if is_top && select.items.len() > 1 => {
            for item in 0..select.items.len() {
                with(&|query| {
                    (query.limit, query.offset) = (None, None);
                    query.order.clear();
                    if let Body::Select(select) = &mut query.body {
                        select.items.remove(item);
                    }
                });
            }
        }
        Body::Values { rows, .. } if rows.len() > 1 => {
            for row in 0..rows.len() {
                with(&|query| {
                    if let Body::Values { rows, .. } = &mut query.body {
                        rows.remove(row);
                    }
                });
            }
        }
        _ => {}
    }
    replace(query, edits, edit)
}

fn replace<T>(target: &mut T, edits: Vec<T>, edit: usize) -> bool {
    match edits.into_iter().nth(edit) {
        Some(changed) => {
            *target = changed;
            true
        }
        None => false,
    }
}

fn edit_select(select: &mut Select, edit: usize) -> bool {
    let mut edits: Vec<Select> = Vec::new();
    let mut with = |when: bool, change: &dyn Fn(&mut Select)| {
        if when {
            let mut changed = select.clone();
            change(&mut changed);
            edits.push(changed);
        }
    };
    with(select.filter.is_some(), &|select| select.filter = None);
    with(select.having.is_some(), &|select| select.having = None);
    with(select.qualify.is_some(), &|select| select.qualify = None);
    with(select.distinct, &|select| select.distinct = false);
    with(select.group.is_some(), &|select| select.group = None);
    let has_sets = select.group.as_ref().is_some_and(|group| group.sets != GroupingSets::Plain);
    with(has_sets, &|select| {
        if let Some(group) = &mut select.group {
            group.sets = GroupingSets::Plain;
        }
    });
    with(select.from.is_some(), &|select| select.from = None);
    replace(select, edits, edit)
}

fn edit_from(from: &mut From, edit: usize) -> bool {
    let From::Join { kind, left, right, on } = from else { return false };
    let mut edits = vec![(**left).clone(), (**right).clone()];
    let mut with_kind = |kind: JoinKind, on: JoinOn| {
        edits.push(From::Join { kind, left: left.clone(), right: right.clone(), on });
    };
    if !matches!(kind, JoinKind::Inner | JoinKind::Cross) {
        with_kind(JoinKind::Inner, on.clone());
    }
    if *kind == JoinKind::Full {
        with_kind(JoinKind::Left, on.clone());
        with_kind(JoinKind::Right, on.clone());
    }
    if *kind == JoinKind::Inner && matches!(on, JoinOn::On(_)) {
        with_kind(JoinKind::Cross, JoinOn::Nothing);
    }
    replace(from, edits, edit)
}

fn edit_expr(expr: &mut Expr, edit: usize) -> bool {
    let of = expr.of_type();
    let mut edits: Vec<Expr> = Vec::new();
    if !matches!(expr, Expr::Literal(..)) {
        let same = expr.children().into_iter().filter(|child| child.of_type() == of);
        edits.extend(same.cloned());
        edits.push(plain_literal(&of));
        if of == Type::Bool {
            edits.push(Expr::Literal(Value::Bool(false), of.clone()));
        }
        if !matches!(expr, Expr::Column(..) | Expr::Key(..)) {
            edits.push(Expr::null(&of));
        }
    }
    match expr {
        Expr::Window(window) => {
            let mut with = |when: bool, change: &dyn Fn(&mut crate::tree::Window)| {
                if when {
                    let mut changed = window.clone();
                    change(&mut changed);
                    edits.push(Expr::Window(changed));
                }
            };
            with(window.filter.is_some(), &|window| window.filter = None);
            with(window.ignores_nulls, &|window| window.ignores_nulls = false);
            with(!window.partition.is_empty(), &|window| window.partition.clear());
            with(window.frame.is_some(), &|window| window.frame = None);
        }
        Expr::Aggregate(aggregate) => {
            let mut with = |when: bool, change: &dyn Fn(&mut crate::tree::Aggregate)| {
                if when {
                    let mut changed = aggregate.clone();
                    change(&mut changed);
                    edits.push(Expr::Aggregate(changed));
                }
            };
            with(aggregate.filter.is_some(), &|aggregate| aggregate.filter = None);
            with(aggregate.distinct, &|aggregate| aggregate.distinct = false);
        }
        Expr::InList(of, list, negated) if list.len() > 1 => {
            for item in 0..list.len() {
                let mut shorter = list.clone();
                shorter.remove(item);
                edits.push(Expr::InList(of.clone(), shorter, *negated));
            }
        }
        _ => {}
    }
    replace(expr, edits, edit)
}

/// A simple constant of a type.
fn plain_literal(of: &Type) -> Expr {
    let value = match of {
        Type::Bool => Value::Bool(true),
        Type::Int { .. } => Value::Int(1),
        Type::F32 | Type::F64 => Value::Float(1.0),
        Type::Decimal(_, scale) => Value::Decimal(0, *scale),
        Type::Text => Value::text("a"),
        Type::Date => Value::Date(18_300),
        Type::Bytes | Type::Timestamp | Type::Instant | Type::List(_) => Value::Null,
    };
    Expr::Literal(value, of.clone())
}

/// Turns columns and keys that nothing brings into scope any more into nulls.
fn repair(query: &mut Query) {
    let mut relations = BTreeSet::new();
    let mut merged: BTreeSet<ColumnId> = BTreeSet::new();
    walk(query, &mut |node| {
        if let Node::From(from) = node {
            match from {
                From::Table { relation, .. }
                | From::Common { relation, .. }
                | From::Derived { relation, .. }
                | From::Unnest { relation, .. }
                | From::Series { relation, .. } => drop(relations.insert(*relation)),
                From::Join { on: JoinOn::Using(keys) | JoinOn::Natural(keys), .. } => {
                    merged.extend(keys.iter().map(|(left, ..)| *left));
                }
                From::Join { .. } => {}
            }
        }
    });
    walk(query, &mut |node| match node {
        Node::Expr(expr) => {
            if let Expr::Column(id, of) = expr {
                if !relations.contains(&id.relation) {
                    *expr = Expr::null(of);
                } else if id.merged && !merged.contains(&ColumnId { merged: false, ..*id }) {
                    id.merged = false;
                }
            }
        }
        Node::Select(select) if select.group.is_none() => {
            for item in select.items.iter_mut().chain(&mut select.having).chain(&mut select.qualify)
            {
                without_keys(item);
            }
        }
        _ => {}
    });
}

fn without_keys(expr: &mut Expr) {
    match expr {
        Expr::Key(_, of) => *expr = Expr::null(of),
        Expr::Grouping(_) => *expr = Expr::Literal(Value::Int(0), Type::I32),
        other => other.children_mut().into_iter().for_each(without_keys),
    }
}
