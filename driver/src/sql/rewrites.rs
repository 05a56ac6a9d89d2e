//! The rewrites of a parsed statement, and the node each is done at: one line each.
//!
//! Two walks. The first balances chains before it goes down into them, and refuses what is too deep,
//! so that the second, and all that comes after it, may recurse.

use std::ops::ControlFlow;

use datafusion::common::Result;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, SetExpr, TableFactor, VisitMut as _, VisitorMut,
};

use super::clauses::{self, Refused};
use super::parse::{DEPTH_MAX, too_deep};
use super::{
    arrays, cast_keys, chains, copy_targets, counts, escapes, grouping, implicit_keys, item_names,
    key_names, keys, long_numbers, marked_names, names, places, quantified_arrays, refused_exprs,
    row_values, rows, similar, tables, time_zones, typed_operators, windows,
};

/// Rewrites of an expression.
const EXPRESSIONS: [fn(&mut Expr); 6] = [
    long_numbers::as_decimal,
    quantified_arrays::any_by_all,
    arrays::as_call,
    escapes::written_out,
    typed_operators::minus_as_difference,
    time_zones::as_difference,
];

/// Rewrites of a query of one `SELECT`, `ORDER BY` included.
const QUERIES: [fn(&mut Query); 5] = [
    places::written_out,
    key_names::written_out_in_order,
    names::distinct_names_in_order,
    cast_keys::distinct_keys_in_order,
    marked_names::marked,
];

/// Rewrites of a `SELECT`.
const SELECTS: [fn(&mut Select); 8] = [
    key_names::written_out,
    keys::nested_joins,
    names::distinct_names,
    cast_keys::distinct_keys,
    item_names::numbered,
    grouping::nested_sets,
    grouping::empty_groups,
    implicit_keys::marked,
];

/// Rewrites of a table in `FROM`.
const TABLES: [fn(&mut TableFactor); 1] = [tables::lateral_unnest];

/// Rewrites a statement.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    match statement {
        Statement::Statement(statement) => {
            if let ControlFlow::Break(what) = statement.visit(&mut Balance::default()) {
                return too_deep(what);
            }
            tables::columns_of_path(statement);
            rewritten(statement.visit(&mut Rewriter::default()))
        }
        Statement::CopyTo(copy) => {
            copy_targets::written_out(copy)?;
            let CopyToSource::Query(query) = &mut copy.source else { return Ok(()) };
            if let ControlFlow::Break(what) = query.visit(&mut Balance::default()) {
                return too_deep(what);
            }
            rewritten(query.visit(&mut Rewriter::default()))
        }
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::Reset(_) => Ok(()),
    }
}

fn rewritten(outcome: ControlFlow<Refused>) -> Result<()> {
    match outcome {
        ControlFlow::Break(refused) => refused.fail(),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Conditions joined by `AND`: DataFusion makes each a level of one expression.
const CONJUNCTS_MAX: usize = 1_000;

/// Balances chains and breaks off where it is too deep, saying why.
#[derive(Default)]
struct Balance {
    depth: usize,
}

impl Balance {
    fn enter(&mut self) -> ControlFlow<String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { levels() } else { ControlFlow::Continue(()) }
    }

    fn leave(&mut self) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn levels() -> ControlFlow<String> {
    ControlFlow::Break(format!("it has more than {DEPTH_MAX} levels"))
}

impl VisitorMut for Balance {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        chains::balance_set(&mut query.body);
        if set_depth(&query.body) > DEPTH_MAX {
            return levels();
        }
        self.enter()
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<String> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        chains::balance_expr(expr);
        self.enter()
    }

    /// Terms are counted on the way up, when all below is balanced.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let is_chain = matches!(expr, Expr::BinaryOp { .. } | Expr::UnaryOp { .. });
        let terms = if is_chain { chains::conjuncts(expr, false) } else { 1 };
        if terms > CONJUNCTS_MAX {
            return ControlFlow::Break(format!(
                "{terms} conditions are joined by AND, and {CONJUNCTS_MAX} are the most"
            ));
        }
        self.leave()
    }
}

/// Applies the rewrites of this file and writes out named windows. Breaks off at a clause that is
/// refused.
#[derive(Default)]
struct Rewriter {
    /// Expressions that comparisons of rows have become so far.
    row_comparisons: usize,
}

impl VisitorMut for Rewriter {
    type Break = Refused;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Refused> {
        clauses::of_query(query)?;
        windows::of_query(query)?;
        QUERIES.iter().for_each(|rewrite| rewrite(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Refused> {
        clauses::of_select(select)?;
        windows::of_select(select)?;
        SELECTS.iter().for_each(|rewrite| rewrite(select));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Refused> {
        clauses::of_table(table)?;
        TABLES.iter().for_each(|rewrite| rewrite(table));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refused> {
        refused_exprs::of_expr(expr)?;
        similar::as_regex(expr)?;
        self.row_comparisons += rows::row_in_subquery(expr);
        row_values::by_values(expr, &mut self.row_comparisons)?;
        EXPRESSIONS.iter().for_each(|rewrite| rewrite(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refused> {
        counts::as_signed(expr);
        ControlFlow::Continue(())
    }
}

/// Set operations to the left of each other: right sides are in brackets, and counted there.
fn set_depth(set: &SetExpr) -> usize {
    let mut depth = 0;
    let mut at = set;
    while let SetExpr::SetOperation { left, .. } = at {
        depth += 1;
        at = left;
    }
    depth
}
