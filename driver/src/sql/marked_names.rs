//! Names in sort keys, marked while the statement is text.
//!
//! Only the text tells a name that is the whole key from one in an expression. [`super::input_columns`] reads the
//! marks.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::AggregateUDF;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, VisitMut as _,
    VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::called::only_table;
use super::dialect::GnistDialect;
use super::key_names::normalized;

/// The constant of a mark, and the beginning of the names of columns that are added for keys.
pub(super) const MARK: &str = "\u{1}input";

/// Marks the names in the sort keys of a query that its select list has for something else. The keys of
/// `DISTINCT ON` are columns of the tables already.
pub(super) fn marked(query: &mut Query) {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind)
    else {
        return;
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let aliases = aliases(select);
    if aliases.is_empty() || matches!(select.distinct, Some(Distinct::On(_))) {
        return;
    }
    let mut marks = Marks { aliases, table: only_table(select), calls: 0, queries: 0 };
    for key in keys.iter_mut().filter(|key| !is_bare(&key.expr)) {
        let _ = key.expr.visit(&mut marks);
    }
}

/// The aliases of a select list, but for those of columns that are called so.
pub(super) fn aliases(select: &Select) -> BTreeSet<String> {
    let alias = |item: &SelectItem| {
        let SelectItem::ExprWithAlias { expr, alias } = item else { return None };
        let column = match expr {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        let alias = normalized(alias);
        (column.map(normalized) != Some(alias.clone())).then_some(alias)
    };
    select.projection.iter().filter_map(alias).collect()
}

fn is_bare(key: &Expr) -> bool {
    match key {
        Expr::Nested(key) => is_bare(key),
        key => matches!(key, Expr::Identifier(_)),
    }
}

/// Marks names, but for those in queries: they have tables of their own.
struct Marks {
    aliases: BTreeSet<String>,
    /// The table of a query without joins.
    table: Option<String>,
    /// Aggregates and windows around an expression.
    calls: usize,
    queries: usize,
}

impl Marks {
    /// The expression in the place of a name, with the table in front of it.
    fn read(&self, table: &str, name: &Ident) -> Option<Expr> {
        if self.queries > 0 || !self.aliases.contains(&normalized(name)) {
            return None;
        }
        if self.calls == 0 {
            return Some(mark(table, name));
        }
        let table = self.table.as_ref().filter(|_| table.is_empty())?;
        Some(Expr::CompoundIdentifier(vec![Ident::with_quote('"', table), name.clone()]))
    }
}

impl VisitorMut for Marks {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.calls += usize::from(is_over_rows(expr));
        ControlFlow::Continue(())
    }

    /// Marks names from the inside out, so that a mark is not looked into.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.calls -= usize::from(is_over_rows(expr));
        let read = match &*expr {
            Expr::Identifier(name) => self.read("", name),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, name] => self.read(&normalized(table), name),
                _ => None,
            },
            _ => None,
        };
        if let Some(read) = read {
            *expr = read;
        }
        ControlFlow::Continue(())
    }
}

/// True for a call of an aggregate or of a window.
fn is_over_rows(expr: &Expr) -> bool {
    static AGGREGATES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let functions = all_default_aggregate_functions();
        let names = |function: &Arc<AggregateUDF>| {
            let other = function.aliases().iter().cloned();
            other.chain([function.name().to_owned()]).collect::<Vec<_>>()
        };
        functions.iter().flat_map(names).collect()
    });
    matches!(expr, Expr::Function(call)
        if call.over.is_some() || AGGREGATES.contains(&call.name.to_string().to_lowercase()))
}

fn mark(table: &str, name: &Ident) -> Expr {
    let table = table.replace('\'', "''");
    let text = format!("case when '{MARK}' = '{table}' then {name} end");
    let parser = Parser::new(&GnistDialect).try_with_sql(&text);
    parser.and_then(|mut parser| parser.parse_expr()).expect("the text is an expression")
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn names_inside_of_keys_are_marked() {
        let marked = |text| parse(text).expect(text)[0].to_string().contains(super::MARK);
        assert!(marked("select -k as k from w order by k + 1"));
        assert!(marked("select -k as K from w order by abs(k)"));
        assert!(marked("select -k as k from w order by w.k"));
        for text in [
            "select -k as k from w order by k",
            "select -k as k from w order by (k) desc",
            "select w.k as k from w order by k + 1",
            "select -k as k from w order by (select max(k) from u)",
            "select -k as k from w union select 1 order by k + 1",
            "select * from (select -k as k from w) as q order by k + 1",
            "select distinct on (k) -k as k from w order by k + 1",
            "select -k as k from w order by row_number() over (order by k), min(w.k)",
        ] {
            assert!(!marked(text), "{text}");
        }
    }
}
