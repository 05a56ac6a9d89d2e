//! `ORDER BY 2`, where column 2 is an expression over groups or aggregates.
//!
//! DataFusion turns the place into a column of the result and then looks for it among the groups,
//! unless it has an alias. Here the expression itself takes the place of the number. Below `DISTINCT`,
//! where a sort key has to be a column, and for an `unnest`, which is none, it gets the alias that it is written as; and
//! so it does beside an item with an alias that is called like a column in it, as in `a % 10, sum(a) AS a`.
//! The other way round, a key that is written like an item that has or gets an alias is that item's place.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
    ValueWithSpan, visit_expressions,
};

use super::key_names::normalized;
use super::marked_names::aliases;

/// Replaces the places of such expressions in the `ORDER BY` of a query.
pub(super) fn written_out(query: &mut Query) {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind)
    else {
        return;
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for key in keys {
        name_place(&mut key.expr, select);
        let Some(item) = place(&key.expr).and_then(|at| item_at(select, at)) else { continue };
        let SelectItem::UnnamedExpr(expr) = &select.projection[item] else { continue };
        if !is_over_groups(expr, select) {
            continue;
        }
        let expr = expr.clone();
        if select.distinct.is_some() || unnests(&expr) || has_alias_in(&expr, select) {
            let alias = Ident::with_quote('"', expr.to_string());
            select.projection[item] = SelectItem::ExprWithAlias { expr, alias };
        } else {
            key.expr = expr;
        }
    }
}

/// Puts the place of an item with an alias for a sort key that is written like the item: in `sum(a) AS a ... ORDER
/// BY sum(a)` DataFusion takes the `a` of the key for the alias.
fn name_place(key: &mut Expr, select: &Select) {
    if matches!(key, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
        return;
    }
    let is_item = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { expr, .. } => expr == key,
        SelectItem::UnnamedExpr(expr) => {
            expr == key
                && (select.distinct.is_some()
                    || is_over_groups(expr, select) && has_alias_in(expr, select))
        }
        _ => false,
    };
    let Some(at) = select.projection.iter().position(is_item) else { return };
    if item_at(select, at + 1).is_some() {
        *key = Expr::value(Value::Number((at + 1).to_string(), false));
    }
}

/// The place that a sort key is.
pub(super) fn place(key: &Expr) -> Option<usize> {
    match key {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => number.parse().ok(),
        _ => None,
    }
}

/// The item of a place, where no wildcard comes before it.
pub(super) fn item_at(select: &Select, place: usize) -> Option<usize> {
    let item = place.checked_sub(1)?;
    let all = select.projection.get(..=item)?;
    let is_one = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    all.iter().all(is_one).then_some(item)
}

/// Returns true if a column in an expression is called like another item, which it is not.
fn has_alias_in(expr: &Expr, select: &Select) -> bool {
    let aliases = aliases(select);
    visit_expressions(expr, |expr| {
        let column = match expr {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match column.is_some_and(|column| aliases.contains(&normalized(column))) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
    .is_break()
}

fn unnests(expr: &Expr) -> bool {
    visit_expressions(expr, |expr| match expr {
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("unnest") => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// True if an expression may be one of groups or aggregates, and is neither a column, nor a constant,
/// nor has a subquery in it.
fn is_over_groups(expr: &Expr, select: &Select) -> bool {
    let is_grouped = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let (mut columns, mut calls, mut subqueries) = (false, false, false);
    let _ = visit_expressions(expr, |expr| {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => columns = true,
            Expr::Function(_) => calls = true,
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => subqueries = true,
            Expr::AnyOp { .. } | Expr::AllOp { .. } => subqueries = true,
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let may_be = if select.distinct.is_some() { is_grouped } else { is_grouped || calls };
    may_be && (columns || calls) && !is_column && !subqueries
}

#[cfg(test)]
mod tests {
    use super::super::implicit_keys::without_mark;
    use super::super::parse::parse;

    fn rewritten(text: &str) -> String {
        without_mark(&parse(text).expect(text)[0].to_string())
    }

    #[test]
    fn the_place_of_an_expression_of_groups_is_written_out() {
        for (text, expected) in [
            (
                "SELECT count(*) + 1 FROM t ORDER BY 1 DESC",
                "SELECT count(*) + 1 FROM t ORDER BY count(*) + 1 DESC",
            ),
            (
                "SELECT a || 'x' FROM t GROUP BY a ORDER BY 1",
                "SELECT a || 'x' FROM t GROUP BY a ORDER BY a || 'x'",
            ),
            (
                "SELECT DISTINCT a + 1 FROM t GROUP BY a ORDER BY 1",
                "SELECT DISTINCT a + 1 AS \"a + 1\" FROM t GROUP BY a ORDER BY 1",
            ),
        ] {
            assert_eq!(rewritten(text), expected);
        }
    }

    #[test]
    fn other_places_stay() {
        for text in [
            "SELECT a, a + 1 FROM t ORDER BY 2",
            "SELECT *, count(*) FROM t GROUP BY ALL ORDER BY 2",
            "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY 2, 1",
            "SELECT count(*) FROM t UNION SELECT 1 ORDER BY 1",
            "SELECT count(*) FROM t ORDER BY 7",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }
}
