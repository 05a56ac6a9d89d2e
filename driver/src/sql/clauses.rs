//! Clauses that are refused by name, in the statement's text.
//!
//! sqlparser reads the clauses of many dialects. DataFusion's planner skips some of them, and the
//! answer is that of another query: `TABLESAMPLE` takes every row, `WITH ROLLUP` has no totals. Of
//! others it fails with its own syntax tree. Hints and locks change no answer and stay.

use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, OrderBy, OrderByKind, Query, Select, SetExpr,
    TableFactor, Visit, Visitor,
};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

/// The failure of a statement: it names a clause, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(Failure);

impl Refused {
    pub(super) fn fail<T>(self) -> Result<T, DataFusionError> {
        Err(external(self.0))
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

/// Breaks off, naming what is refused and what to write instead.
pub(super) fn refused(clause: &'static str, instead: &'static str) -> ControlFlow<Refused> {
    let message = format!("{clause} is not supported yet");
    ControlFlow::Break(Refused(Failure::new(ErrorKind::Unsupported, message).with_help(instead)))
}

/// Breaks off at a query with a clause of this file.
pub(super) fn of_query(query: &Query) -> ControlFlow<Refused> {
    if query.for_clause.is_some() || query.format_clause.is_some() {
        return refused("a format in a query", "give the format to the command: `--format json`");
    }
    if query.settings.is_some() {
        return refused("`SETTINGS` in a query", "run `SET key = value` before it");
    }
    if query.order_by.as_ref().is_some_and(fills) {
        return refused("`WITH FILL`", "join with `generate_series`");
    }
    if query.limit_clause.as_ref().is_some_and(holds_subquery) {
        return refused(
            "a subquery in `LIMIT` or `OFFSET`",
            "filter by `row_number()`, or write the number",
        );
    }
    match query.body.as_ref() {
        SetExpr::Values(values) if holds_subquery(values) => {
            refused("a subquery in `VALUES`", "write `SELECT ... UNION ALL SELECT ...`")
        }
        _ => ControlFlow::Continue(()),
    }
}

fn fills(order: &OrderBy) -> bool {
    match &order.kind {
        OrderByKind::Expressions(keys) => keys.iter().any(|key| key.with_fill.is_some()),
        OrderByKind::All(_) => false,
    }
}

/// Breaks off at a `SELECT` with a clause of this file.
pub(super) fn of_select(select: &Select) -> ControlFlow<Refused> {
    if select.prewhere.is_some() {
        return refused("`PREWHERE`", "write `WHERE`");
    }
    if !select.connect_by.is_empty() {
        return refused("`CONNECT BY`", "write `WITH RECURSIVE`");
    }
    if select.value_table_mode.is_some() {
        return refused("`SELECT AS`", "write `named_struct(...)`");
    }
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = &select.group_by;
    match modifiers.first() {
        None => ControlFlow::Continue(()),
        Some(GroupByWithModifier::Rollup) => {
            refused("`WITH ROLLUP`", "write `GROUP BY ROLLUP (...)`")
        }
        Some(GroupByWithModifier::Cube) => refused("`WITH CUBE`", "write `GROUP BY CUBE (...)`"),
        Some(GroupByWithModifier::Totals) => {
            refused("`WITH TOTALS`", "write `GROUP BY GROUPING SETS ((...), ())`")
        }
        Some(GroupByWithModifier::GroupingSets(_)) => refused(
            "`GROUPING SETS` after the keys of `GROUP BY`",
            "write `GROUP BY GROUPING SETS (...)` alone",
        ),
    }
}

/// Breaks off at a table with a clause of this file.
pub(super) fn of_table(table: &TableFactor) -> ControlFlow<Refused> {
    match table {
        TableFactor::Pivot { .. } => refused("`PIVOT`", "write `sum(v) FILTER (WHERE k = 1)`"),
        TableFactor::Unpivot { .. } => refused("`UNPIVOT`", "write `unnest([a, b])`"),
        TableFactor::MatchRecognize { .. } => {
            refused("`MATCH_RECOGNIZE`", "write window functions")
        }
        TableFactor::Table { sample: Some(_), .. }
        | TableFactor::Derived { sample: Some(_), .. } => {
            refused("`TABLESAMPLE`", "write `WHERE random() < 0.1`")
        }
        TableFactor::Table { version: Some(_), .. } => {
            refused("a version of a table", "read the files of that version")
        }
        TableFactor::Table { with_ordinality: true, .. } => {
            refused("`WITH ORDINALITY`", "write `row_number() over (...)`")
        }
        TableFactor::Table { json_path: Some(_), .. } => {
            refused("a path into a table", "select the field in brackets: `t.x['y']`")
        }
        TableFactor::Table { partitions, .. } if !partitions.is_empty() => {
            refused("`PARTITION` after a table", "write `WHERE` on the partition's column")
        }
        _ => ControlFlow::Continue(()),
    }
}

/// Returns true if a part of a statement holds a subquery.
fn holds_subquery(part: &impl Visit) -> bool {
    part.visit(&mut Subqueries).is_break()
}

struct Subqueries;

impl Visitor for Subqueries {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_found =
            matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
        if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::parse;

    fn failure(text: &str) -> gnist_common::error::Failure {
        gnist_operators::failure::failure_of(&parse(text).expect_err(text))
    }

    #[test]
    fn clauses_that_would_be_skipped_are_refused_by_name() {
        for (text, clause) in [
            ("select * from t tablesample bernoulli (10)", "`TABLESAMPLE`"),
            ("select * from (select 1) t tablesample (3 rows)", "`TABLESAMPLE`"),
            ("select a, count(*) from t group by a with rollup", "`WITH ROLLUP`"),
            ("select a, count(*) from t group by all with cube", "`WITH CUBE`"),
            ("select a, count(*) from t group by a with totals", "`WITH TOTALS`"),
            ("select * from t prewhere a > 1", "`PREWHERE`"),
            ("select * from t connect by a = prior b", "`CONNECT BY`"),
            ("select * from t settings a = 1", "`SETTINGS`"),
            ("select * from t format json", "a format"),
            ("select * from generate_series(1, 2) with ordinality as s(a, b)", "`WITH ORDINALITY`"),
            ("select a from t order by a with fill", "`WITH FILL`"),
            ("select a from t limit (select 1)", "a subquery in `LIMIT`"),
            ("select a from t offset (select 1)", "a subquery in `LIMIT` or `OFFSET`"),
            ("values (exists (select 1))", "in `VALUES`"),
            ("values ((select 1), 2)", "in `VALUES`"),
            ("select * from (values (1 = any (select 1))) t", "in `VALUES`"),
            ("select * from t pivot (sum(v) for id in (1, 2))", "`PIVOT`"),
            ("select (select a from t prewhere a > 1)", "`PREWHERE`"),
        ] {
            let failure = failure(text);
            assert!(failure.message.contains(clause), "{text}: {failure}");
            assert!(failure.help.is_some(), "{text}: {failure}");
        }
    }

    #[test]
    fn what_changes_no_answer_is_read() {
        for text in [
            "select * from t for update",
            "select * from t with (nolock)",
            "values (1, 2 in (1, 2))",
            "select a from t group by rollup (a) limit 1 + 1",
        ] {
            parse(text).expect(text);
        }
    }
}
