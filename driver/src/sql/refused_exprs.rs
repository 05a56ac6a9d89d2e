//! Expressions that are refused by name, in the statement's text: DataFusion fails on them with words
//! for something else.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart,
    Query, SetExpr, Value, Visit as _, Visitor,
};

use super::clauses::{Refused, refused};

/// Breaks off at an expression of this file.
pub(super) fn of_expr(expr: &Expr) -> ControlFlow<Refused> {
    match expr {
        Expr::Collate { .. } => refused(
            "`COLLATE`",
            "texts are ordered by their bytes; write `lower(x)` to ignore the case",
        ),
        Expr::Function(call) if has_table_wildcard(call) => refused(
            "the columns of a table as an argument, as in `count(t.*)`",
            "name a column: `count(t.k)` leaves out rows where it is null, `count(*)` counts all",
        ),
        Expr::CompoundFieldAccess { root, access_chain }
            if is_text(root) && matches!(access_chain.first(), Some(AccessExpr::Dot(_))) =>
        {
            refused(
                "a path in front of a column",
                "give the table a name: `SELECT t.k FROM 'file.csv' t`",
            )
        }
        Expr::Subquery(query)
        | Expr::InSubquery { subquery: query, .. }
        | Expr::Exists { subquery: query, .. }
            if filters_by_aggregate(query) =>
        {
            refused(
                "an aggregate in the `WHERE` of a subquery",
                "compute it in a query in `FROM`, or write `HAVING` if it is one of the subquery's rows",
            )
        }
        _ => ControlFlow::Continue(()),
    }
}

fn has_table_wildcard(call: &Function) -> bool {
    let FunctionArguments::List(list) = &call.args else { return false };
    list.args
        .iter()
        .any(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_))))
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

fn filters_by_aggregate(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    select
        .selection
        .as_ref()
        .is_some_and(|filter| filter.visit(&mut Aggregates::default()).is_break())
}

/// The aggregates that are written most; another one has DataFusion's error.
const AGGREGATES: [&str; 5] = ["avg", "count", "max", "min", "sum"];

/// Breaks off at an aggregate that is in no query inside.
#[derive(Default)]
struct Aggregates {
    queries: usize,
}

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let is_aggregate = match call.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => {
                AGGREGATES.iter().any(|known| name.value.eq_ignore_ascii_case(known))
            }
            _ => false,
        };
        if self.queries == 0 && is_aggregate && call.over.is_none() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::parse;

    #[test]
    fn expressions_are_refused_by_name() {
        for (text, name) in [
            ("select a from t order by a collate \"C\"", "`COLLATE`"),
            ("select 'a.csv'.k from 'a.csv'", "a path in front of a column"),
            ("select (select x from u where x < sum(t.v)) from t group by k", "an aggregate in"),
            (
                "select 1 from t group by k having exists (select 1 from u where x < MAX(t.v))",
                "an aggregate in",
            ),
        ] {
            let error = parse(text).expect_err(text);
            let failure = gnist_operators::failure::failure_of(&error);
            assert!(failure.message.starts_with(name), "{text}: {failure}");
            assert!(failure.help.is_some(), "{text}");
        }
        for text in [
            "select (select x from u where x < (select max(y) from w)) from t",
            "select (select count(*) from u having count(*) > 1) from t",
            "select t.a.b, (t.a).b, 'x' || 'y' from t",
        ] {
            parse(text).expect(text);
        }
    }
}
