//! Names that DataFusion gives to columns, as far as the texts of their expressions tell.
//!
//! Casts and brackets have no name. A scalar subquery is called like its column; every `IN` of a query
//! is `IN`, every `EXISTS` is `EXISTS`. Columns are called with the table that they are of.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Select, SelectItem, SetExpr, VisitMut as _, VisitorMut,
};

use super::key_names::{name_of, normalized};

/// The name of an expression in a `SELECT` of this one table, if it is of one.
pub(super) fn called(expr: &Expr, table: Option<&str>) -> String {
    plain(expr, Plain { table, has_tables: true })
}

/// The same without the names of tables.
pub(super) fn called_without_tables(expr: &Expr) -> String {
    plain(expr, Plain { table: None, has_tables: false })
}

fn plain(expr: &Expr, mut names: Plain<'_>) -> String {
    let mut plain = expr.clone();
    let _ = plain.visit(&mut names);
    plain.to_string().replace(MARK, "")
}

/// The table of a `SELECT` without joins.
pub(super) fn only_table(select: &Select) -> Option<String> {
    match select.from.as_slice() {
        [from] if from.joins.is_empty() => name_of(&from.relation).as_ref().map(normalized),
        _ => None,
    }
}

/// Begins a name that is none of a column.
const MARK: char = '\u{1}';

fn mark(name: &str) -> Expr {
    Expr::Identifier(Ident::new(format!("{MARK}{name}")))
}

/// Makes an expression look like its name.
struct Plain<'a> {
    /// The table of columns that are written without one.
    table: Option<&'a str>,
    /// True if columns are called with their tables.
    has_tables: bool,
}

impl VisitorMut for Plain<'_> {
    type Break = ();

    /// Queries are named before anything in them is: they have tables of their own.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(query) => *expr = mark(&self.called_by_column(&query.body)),
            Expr::InSubquery { negated: true, .. } => *expr = mark("NOT IN"),
            Expr::InSubquery { .. } => *expr = mark("IN"),
            Expr::Exists { negated: true, .. } => *expr = mark("NOT EXISTS"),
            Expr::Exists { .. } => *expr = mark("EXISTS"),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                if matches!(**right, Expr::Subquery(_)) =>
            {
                **right = mark("");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => *expr = inner.as_ref().clone(),
            Expr::Identifier(column) if !column.value.starts_with(MARK) => {
                let column = Ident::new(normalized(column));
                *expr = match self.table {
                    Some(table) => Expr::CompoundIdentifier(vec![Ident::new(table), column]),
                    None => Expr::Identifier(column),
                };
            }
            Expr::CompoundIdentifier(parts) if !self.has_tables => {
                let column = parts.last().map(normalized).unwrap_or_default();
                *expr = Expr::Identifier(Ident::new(column));
            }
            Expr::CompoundIdentifier(parts) => {
                parts.iter_mut().for_each(|part| *part = Ident::new(normalized(part)));
            }
            Expr::Function(call) => {
                for part in &mut call.name.0 {
                    if let ObjectNamePart::Identifier(name) = part {
                        *name = Ident::new(normalized(name));
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Plain<'_> {
    /// The name of the first column of a query.
    fn called_by_column(&self, set: &SetExpr) -> String {
        match set {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) if self.has_tables => {
                    called(expr, only_table(select).as_deref())
                }
                Some(SelectItem::UnnamedExpr(expr)) => called_without_tables(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => normalized(alias),
                _ => String::new(),
            },
            SetExpr::Query(query) => self.called_by_column(&query.body),
            SetExpr::SetOperation { left, .. } => self.called_by_column(left),
            _ => String::new(),
        }
    }
}
