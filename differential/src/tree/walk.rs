//! One walk over a whole tree, parents before children, in which every node may be changed.

use super::{Body, Expr, From, JoinOn, Query, Select};

/// A node on the way.
pub enum Node<'a> {
    /// A query.
    Query(&'a mut Query),
    /// A SELECT.
    Select(&'a mut Select),
    /// A relation.
    From(&'a mut From),
    /// An expression.
    Expr(&'a mut Expr),
}

/// Shows every node of the query to the visitor, which may replace it; the walk goes on below
/// what then stands there.
pub fn walk(query: &mut Query, visit: &mut dyn FnMut(Node<'_>)) {
    visit(Node::Query(query));
    for common in &mut query.with {
        walk(&mut common.query, visit);
        if let Some(step) = &mut common.step {
            walk(step, visit);
        }
    }
    match &mut query.body {
        Body::Select(select) => walk_select(select, visit),
        Body::Set { left, right, .. } => {
            walk(left, visit);
            walk(right, visit);
        }
        Body::Values { .. } => {}
    }
}

fn walk_select(select: &mut Select, visit: &mut dyn FnMut(Node<'_>)) {
    visit(Node::Select(select));
    if let Some(from) = &mut select.from {
        walk_from(from, visit);
    }
    let keys = select.group.iter_mut().flat_map(|group| &mut group.keys);
    let clauses = select.filter.iter_mut().chain(&mut select.having).chain(&mut select.qualify);
    for expr in select.items.iter_mut().chain(keys).chain(clauses) {
        walk_expr(expr, visit);
    }
}

fn walk_from(from: &mut From, visit: &mut dyn FnMut(Node<'_>)) {
    visit(Node::From(from));
    match from {
        From::Derived { query, .. } => walk(query, visit),
        From::Unnest { list, .. } => walk_expr(list, visit),
        From::Join { left, right, on, .. } => {
            walk_from(left, visit);
            walk_from(right, visit);
            if let JoinOn::On(on) = on {
                walk_expr(on, visit);
            }
        }
        From::Table { .. } | From::Common { .. } | From::Series { .. } => {}
    }
}

fn walk_expr(expr: &mut Expr, visit: &mut dyn FnMut(Node<'_>)) {
    visit(Node::Expr(expr));
    if let Some(query) = expr.subquery_mut() {
        walk(query, visit);
    }
    for child in expr.children_mut() {
        walk_expr(child, visit);
    }
}
