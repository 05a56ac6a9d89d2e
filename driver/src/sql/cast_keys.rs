//! Keys of a `GROUP BY` that DataFusion would call the same.
//!
//! DataFusion names a key after its expression without casts, and refuses two of one name (#8391): `GROUP BY ts,
//! CAST(ts AS date)`. The cast goes through `coalesce`, wherever it stands in the query: the same value
//! by another name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
    visit_expressions, visit_expressions_mut,
};

use super::key_names::normalized;
use super::names::{Named, coalesced};
use super::places::{item_at, place};

/// Renames keys of a query's `SELECT`, in its `ORDER BY` too.
pub(super) fn distinct_keys_in_order(query: &mut Query) {
    if query.order_by.is_none() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let casts = clashing_casts(select);
    if casts.is_empty() {
        return;
    }
    keep_names(select, &casts);
    rename(query, &casts);
}

/// Renames keys of a `SELECT`.
pub(super) fn distinct_keys(select: &mut Select) {
    let casts = clashing_casts(select);
    if !casts.is_empty() {
        keep_names(select, &casts);
        rename(select, &casts);
    }
}

/// The casts among the keys, as they are written, that are called like another key.
fn clashing_casts(select: &Select) -> Vec<String> {
    let mut keys = Vec::new();
    if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
        exprs.iter().for_each(|expr| add_keys(expr, select, &mut keys));
    }
    let casts = keys
        .iter()
        .filter(|key| key.has_cast() && keys.iter().any(|other| key.clashes_with(other)));
    let mut casts: Vec<String> = casts.map(|key| key.text.clone()).collect();
    casts.sort();
    casts.dedup();
    casts
}

fn add_keys(expr: &Expr, select: &Select, keys: &mut Vec<Named>) {
    match expr {
        Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => {
            sets.iter().flatten().for_each(|expr| add_keys(expr, select, keys));
        }
        Expr::Tuple(exprs) => exprs.iter().for_each(|expr| add_keys(expr, select, keys)),
        Expr::Nested(expr) => add_keys(expr, select, keys),
        _ => keys.push(Named::of(item_of(expr, select).unwrap_or(expr))),
    }
}

/// The item that a key stands for: by its place, or by its alias.
fn item_of<'a>(key: &Expr, select: &'a Select) -> Option<&'a Expr> {
    match key {
        Expr::Value(_) => {
            let at = place(key).and_then(|place| item_at(select, place))?;
            match &select.projection[at] {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    Some(expr)
                }
                _ => None,
            }
        }
        Expr::Identifier(name) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if normalized(alias) == normalized(name) => {
                Some(expr)
            }
            _ => None,
        }),
        _ => None,
    }
}

/// Items over such a cast are called what they are written as.
fn keep_names(select: &mut Select, casts: &[String]) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let found = visit_expressions(expr, |part| match casts.contains(&part.to_string()) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        if found.is_break() {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn rename(query: &mut impl VisitMut, casts: &[String]) {
    let mut marked = Marked { casts, found: Vec::new() };
    let _ = query.visit(&mut marked);
    let found = marked.found;
    let _ = visit_expressions_mut(query, |expr| {
        if let Expr::Identifier(name) = expr
            && let Some(at) = name.value.strip_prefix(MARK).and_then(|at| at.parse::<usize>().ok())
            && let Some((cast, number)) = found.get(at)
        {
            *expr = cast.clone();
            coalesced(expr, number + 1);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Begins a name that is none of a column.
const MARK: char = '\u{1}';

/// Puts a name in the place of each cast, from the outside in: in a cast of a cast, the outer one.
struct Marked<'a> {
    casts: &'a [String],
    /// The casts that were found, and their numbers.
    found: Vec<(Expr, usize)>,
}

impl VisitorMut for Marked<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let text = expr.to_string();
        if let Some(number) = self.casts.iter().position(|cast| *cast == text) {
            let name = Ident::new(format!("{MARK}{}", self.found.len()));
            self.found.push((std::mem::replace(expr, Expr::Identifier(name)), number));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::implicit_keys::without_mark;
    use super::super::parse::parse;

    #[test]
    fn a_cast_beside_its_column_has_a_name_of_its_own() {
        for (text, same) in [
            (
                "SELECT e, CAST(e AS INT) AS c FROM t GROUP BY e, CAST(e AS INT) ORDER BY CAST(e AS INT)",
                "SELECT e, coalesce(CAST(e AS INT)) AS c FROM t GROUP BY e, coalesce(CAST(e AS INT)) \
                 ORDER BY 2",
            ),
            (
                "SELECT CAST(e AS INT) FROM t GROUP BY ROLLUP (e, CAST(e AS INT))",
                "SELECT coalesce(CAST(e AS INT)) AS \"CAST(e AS INT)\" FROM t \
                 GROUP BY ROLLUP (e, coalesce(CAST(e AS INT)))",
            ),
            (
                "SELECT e, CAST(e AS INT) AS c, CAST(e AS DATE) AS d FROM t GROUP BY 1, 2, d",
                "SELECT e, coalesce(CAST(e AS INT), CAST(e AS INT)) AS c, coalesce(CAST(e AS DATE)) AS d \
                 FROM t GROUP BY 1, 2, d",
            ),
            (
                "SELECT CAST(e AS INT) FROM t GROUP BY CAST(e AS INT)",
                "SELECT CAST(e AS INT) FROM t GROUP BY CAST(e AS INT)",
            ),
        ] {
            assert_eq!(without_mark(&parse(text).expect(text)[0].to_string()), same);
        }
    }
}
