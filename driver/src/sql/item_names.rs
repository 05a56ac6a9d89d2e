//! Items of a `SELECT` that have one name with another item: a repeated name gets a number.
//!
//! DataFusion refuses a column and an alias of one name, also where the alias is inside a scalar
//! subquery, whose column names it: `SELECT c, (SELECT max(x) AS c FROM u) FROM t`. Columns of two
//! tables may have one name.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr};

use super::key_names::normalized;

/// Numbers the repeated names of a `SELECT`.
pub(super) fn numbered(select: &mut Select) {
    let named: Vec<Option<(String, bool)>> = select.projection.iter().map(name_of).collect();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let Some((name, is_column)) = &named[at] else { continue };
        let before = named[..at].iter().flatten().filter(|(other, _)| other == name);
        let (columns, others): (Vec<_>, Vec<_>) = before.partition(|(_, is_column)| *is_column);
        if others.is_empty() && (*is_column || columns.is_empty()) {
            continue;
        }
        let number = columns.len() + others.len();
        let alias = Ident::with_quote('"', format!("{name}:{number}"));
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// The name of an item, and whether it is a column of a table.
fn name_of(item: &SelectItem) -> Option<(String, bool)> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some((normalized(alias), false)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some((normalized(name), true)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map(|name| (normalized(name), true))
        }
        SelectItem::UnnamedExpr(Expr::Subquery(query)) => {
            name_of_subquery(query).map(|name| (name, false))
        }
        _ => None,
    }
}

fn name_of_subquery(query: &Query) -> Option<String> {
    match query.body.as_ref() {
        SetExpr::Select(select) => {
            select.projection.first().and_then(name_of).map(|(name, _)| name)
        }
        SetExpr::Query(query) => name_of_subquery(query),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    fn rewritten(text: &str) -> String {
        parse(text).expect(text)[0].to_string()
    }

    #[test]
    fn a_repeated_name_gets_a_number() {
        for (text, expected) in [
            (
                "SELECT c, (SELECT max(x) AS c FROM u) FROM t",
                "SELECT c, (SELECT max(x) AS c FROM u) AS \"c:1\" FROM t",
            ),
            ("SELECT a AS c, b AS c FROM t", "SELECT a AS c, b AS \"c:1\" FROM t"),
            ("SELECT a AS c, t.C FROM t", "SELECT a AS c, t.C AS \"c:1\" FROM t"),
        ] {
            assert_eq!(rewritten(text), expected);
        }
    }

    #[test]
    fn columns_of_two_tables_keep_their_name() {
        for text in [
            "SELECT t.c, u.c FROM t, u",
            "SELECT c, (SELECT max(x) FROM u), (SELECT y FROM u LIMIT 1) FROM t",
            "SELECT a AS c, b AS \"C\" FROM t",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }
}
