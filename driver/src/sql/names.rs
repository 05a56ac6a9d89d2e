//! Columns that DataFusion would call the same get names of their own.
//!
//! DataFusion names a column after its expression without casts, and refuses two of one name (#8391):
//! `SELECT id, CAST(id AS double)`, `SELECT count(*), count(*)`, and `SELECT CAST(id AS double) ...
//! ORDER BY id`, which adds `id`. Here a cast that would share its name is called what it is written
//! as, like in Spark, and a repeated expression gets its number.
//!
//! A subquery that would share its name is called what it is written as too, for it is called like its
//! column, and every `IN` of a query like the next. A column beside a `*` that has it already gets a
//! number.
//!
//! Calls inside have names too: `sum(id)` and `sum(CAST(id AS double))` are two columns of one
//! aggregate. There the argument goes through `coalesce`, which is the same value and another name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, OrderByKind,
    Query, Select, SelectItem, SetExpr, Visit, VisitMut, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::called::{called, called_without_tables, only_table};
use super::dialect::GnistDialect;
use super::wildcards::Wildcards;

/// Renames the columns of a query that would share a name with each other or with a sort key.
pub(super) fn distinct_names_in_order(query: &mut Query) {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order| &order.kind)
    else {
        return;
    };
    let order: Vec<Named> = keys.iter().map(|key| Named::of(&key.expr)).collect();
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    name_items(select, &order);
    let calls = clashing_calls(query);
    if !calls.is_empty() {
        if let SetExpr::Select(select) = query.body.as_mut() {
            keep_names(select, &calls);
        }
        tell_apart(query, &calls);
    }
}

/// Renames the columns of a `SELECT` that would share a name.
pub(super) fn distinct_names(select: &mut Select) {
    name_items(select, &[]);
    let calls = clashing_calls(select);
    if !calls.is_empty() {
        keep_names(select, &calls);
        tell_apart(select, &calls);
    }
}

/// An expression as it is written, and as DataFusion would call it, more or less.
pub(super) struct Named {
    pub(super) text: String,
    name: String,
}

impl Named {
    pub(super) fn of(expr: &Expr) -> Self {
        Self { text: expr.to_string(), name: called_without_tables(expr) }
    }

    pub(super) fn has_cast(&self) -> bool {
        self.text.len() > self.name.len()
            && (self.text.contains("CAST(") || self.text.contains("::"))
    }

    pub(super) fn clashes_with(&self, other: &Self) -> bool {
        self.name == other.name && self.text != other.text
    }
}

/// An item without an alias.
struct Item {
    named: Named,
    /// The name that DataFusion gives to the column, with the names of tables.
    called: String,
    has_query: bool,
    /// True if a `*` of the list has this column already.
    is_in_wildcard: bool,
}

impl Item {
    /// True if both would be called the same, and are not written the same.
    fn is_called_like(&self, other: &Self) -> bool {
        self.called == other.called && self.named.text != other.named.text
    }

    /// The name that this item gets among those that may be called like it; none if it keeps its own.
    fn alias(&self, before: &[&Self], after: &[&Self], order: &[Named]) -> Option<String> {
        let text = &self.named.text;
        let others = || before.iter().chain(after);
        let named = || others().map(|other| &other.named).chain(order);
        let is_cast = self.named.has_cast() && named().any(|other| self.named.clashes_with(other));
        let keeps_name = |other: &&&Self| {
            self.is_called_like(other) && !other.has_query && !other.named.has_cast()
        };
        let is_query = self.has_query
            && (before.iter().any(|other| self.is_called_like(other))
                || others().any(|other| keeps_name(&other)));
        let copies = before.iter().filter(|other| other.named.text == *text).count();
        let alike = if is_cast || is_query { 0 } else { before.iter().filter(keeps_name).count() };
        match copies + alike + usize::from(self.is_in_wildcard) {
            0 => (is_cast || is_query).then(|| text.clone()),
            copies => Some(format!("{text}:{copies}")),
        }
    }
}

fn name_items(select: &mut Select, order: &[Named]) {
    let table = only_table(select);
    let wildcards = Wildcards::of(select, table.as_deref());
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(Item {
            named: Named::of(expr),
            called: called(expr, table.as_deref()),
            has_query: has_query(expr),
            is_in_wildcard: wildcards.have(expr),
        }),
        _ => None,
    };
    let items: Vec<Option<Item>> = select.projection.iter().map(item).collect();
    // Those that are called alike have one name without casts and tables.
    let mut alike: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in items.iter().flatten() {
        alike.entry(&item.named.name).or_default().push(item);
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        let Some(item) = item else { continue };
        let (group, place) =
            (&alike[item.named.name.as_str()], seen.entry(&item.named.name).or_default());
        let alias = item.alias(&group[..*place], &group[*place + 1..], order);
        *place += 1;
        if let (Some(alias), SelectItem::UnnamedExpr(expr)) = (alias, &select.projection[at]) {
            let alias = Ident::with_quote('"', alias);
            select.projection[at] = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn has_query(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The different texts of calls, by the name that they would share: those without a cast as the empty text,
/// which comes first.
type Calls = BTreeMap<String, BTreeSet<String>>;

/// Calls that would share a name: there is a cast inside one.
fn clashing_calls(query: &impl Visit) -> Calls {
    let mut calls = Calls::new();
    let _ = visit_expressions(query, |expr| {
        if is_renamed(expr) {
            let named = Named::of(expr);
            calls
                .entry(named.name.to_lowercase())
                .or_default()
                .insert(text_with_casts(&named, expr));
        }
        ControlFlow::<()>::Continue(())
    });
    calls.retain(|_, texts| texts.len() > 1);
    calls
}

/// The text of a call with casts, its names in lower case where these mean the same; else nothing.
fn text_with_casts(named: &Named, expr: &Expr) -> String {
    if !named.has_cast() {
        return String::new();
    }
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |part| {
        let lower = |name: &mut Ident| {
            if name.quote_style.is_none() {
                name.value = name.value.to_lowercase();
            }
        };
        match part {
            Expr::Identifier(name) => lower(name),
            Expr::CompoundIdentifier(names) => names.iter_mut().for_each(lower),
            Expr::Function(call) => {
                for part in &mut call.name.0 {
                    if let ObjectNamePart::Identifier(name) = part {
                        lower(name);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    expr.to_string()
}

/// Calls that may get another argument of the same value. `grouping` takes a key as it is.
fn is_renamed(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(call) if !call.name.to_string().eq_ignore_ascii_case("grouping"))
}

fn tell_apart(query: &mut impl VisitMut, calls: &Calls) {
    let _ = visit_expressions_mut(query, |expr| {
        if is_renamed(expr) {
            let named = Named::of(expr);
            let texts = calls.get(&named.name.to_lowercase());
            let text = text_with_casts(&named, expr);
            let at = texts.and_then(|texts| texts.iter().position(|other| *other == text));
            if let (Some(at), Expr::Function(call)) = (at, expr) {
                wrap(&mut call.args, at);
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Columns over renamed calls are called what they are written as.
fn keep_names(select: &mut Select, calls: &Calls) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let found = visit_expressions(expr, |expr| match expr {
            Expr::Function(_) => {
                let named = Named::of(expr);
                let is_renamed = named.has_cast() && calls.contains_key(&named.name.to_lowercase());
                if is_renamed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            _ => ControlFlow::Continue(()),
        });
        if found.is_break() {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// Puts the first argument that need not be a constant through a call of `coalesce`.
fn wrap(arguments: &mut FunctionArguments, times: usize) {
    let FunctionArguments::List(list) = arguments else { return };
    let first = list.args.iter_mut().find_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if !matches!(expr, Expr::Value(_)) => {
            Some(expr)
        }
        _ => None,
    });
    if let Some(first) = first {
        coalesced(first, times);
    }
}

/// Puts an expression through a call of `coalesce`, with so many arguments that are all this one: calls of
/// different numbers have different names.
pub(super) fn coalesced(expr: &mut Expr, arguments: usize) {
    if arguments == 0 {
        return;
    }
    let parser = Parser::new(&GnistDialect).try_with_sql("coalesce(null)");
    let mut call =
        parser.and_then(|mut parser| parser.parse_expr()).expect("the text is an expression");
    if let Expr::Function(call) = &mut call
        && let FunctionArguments::List(list) = &mut call.args
    {
        let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(expr.clone()));
        list.args = vec![argument; arguments];
    }
    *expr = call;
}

#[cfg(test)]
mod tests {
    use super::super::implicit_keys::without_mark;
    use super::super::parse::parse;

    fn rewritten(text: &str) -> String {
        without_mark(&parse(text).expect(text)[0].to_string())
    }

    #[test]
    fn what_has_a_name_of_its_own_stays() {
        for text in [
            "SELECT a.id, b.id FROM a, b",
            "SELECT CAST(id AS DOUBLE) FROM t",
            "SELECT sum(id), sum(x) FROM t",
            "SELECT id AS x, CAST(id AS DOUBLE) AS y FROM t ORDER BY id",
            "SELECT c, (SELECT max(x) FROM u), (SELECT max(x) FROM v) FROM t",
            "SELECT a.x + 1, b.x + 1 FROM a, b",
            "SELECT a.*, b.id, x FROM a, b",
            "SELECT * EXCLUDE (id), id FROM a",
            "SELECT grouping(t.k), x::INT FROM (SELECT grouping(u.k) FROM u GROUP BY u.k) AS t GROUP BY t.k",
            "SELECT id IN (SELECT x FROM u), EXISTS (SELECT 1 FROM u) FROM t",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn what_shares_a_name_is_called_what_it_is_written_as() {
        for (text, same) in [
            (
                "SELECT id, CAST(id AS DOUBLE) FROM t",
                "SELECT id, CAST(id AS DOUBLE) AS \"CAST(id AS DOUBLE)\" FROM t",
            ),
            (
                "SELECT count(*), count(*) FROM t",
                "SELECT count(*), count(*) AS \"count(*):1\" FROM t",
            ),
            (
                "SELECT CAST(id AS DOUBLE) FROM t ORDER BY id",
                "SELECT CAST(id AS DOUBLE) AS \"CAST(id AS DOUBLE)\" FROM t ORDER BY id",
            ),
            (
                "SELECT sum(id) + sum(CAST(id AS DOUBLE)) FROM t",
                "SELECT sum(id) + sum(coalesce(CAST(id AS DOUBLE))) AS \
                 \"sum(id) + sum(CAST(id AS DOUBLE))\" FROM t",
            ),
            (
                "SELECT count(*), (SELECT COUNT(*) FROM u) FROM t",
                "SELECT count(*), (SELECT COUNT(*) FROM u) AS \"(SELECT COUNT(*) FROM u)\" FROM t",
            ),
            (
                "SELECT a IN (SELECT x FROM u), b IN (SELECT y FROM u) FROM t",
                "SELECT a IN (SELECT x FROM u), b IN (SELECT y FROM u) AS \
                 \"b IN (SELECT y FROM u)\" FROM t",
            ),
            (
                "SELECT count(DISTINCT x), COUNT(DISTINCT (t.x)) FROM t",
                "SELECT count(DISTINCT x), COUNT(DISTINCT (t.x)) AS \"COUNT(DISTINCT (t.x)):1\" FROM t",
            ),
            ("SELECT s.*, S.k FROM s", "SELECT s.*, S.k AS \"S.k:1\" FROM s"),
            ("SELECT k, a.k, * FROM a, b", "SELECT k AS \"k:1\", a.k AS \"a.k:1\", * FROM a, b"),
        ] {
            assert_eq!(rewritten(text), same);
        }
    }
}
