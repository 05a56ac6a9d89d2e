//! `SELECT -k AS k ... ORDER BY k + 1` is ordered by the column `k` of the tables.
//!
//! A sort key that is a bare name means the column of the result, if one is called so. Inside of an
//! expression a name means the column of the tables, as in PostgreSQL. DataFusion takes the column of the
//! result in both, and refuses `w.k` beside it. Here such names in a key are marked while the statement is
//! text, with their table:
//!
//! ```text
//! ORDER BY k + w.k   ──▶   ORDER BY CASE WHEN '\u{1}input' = '' THEN k END + CASE WHEN '\u{1}input' = 'w' THEN k END
//! ```
//!
//! The rule replaces the mark where the input of the select list has such a column, and takes it out where it
//! has none: `SELECT a + b AS total ... ORDER BY -total` stays what it is. Arguments of aggregates and windows
//! are always columns of the tables; they get the name of the table, where there is one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Distinct, Expr, LogicalPlan, Projection, Sort,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{
    Distinct as DistinctClause, Expr as SqlExpr, Ident, OrderByKind, Query, Select, SelectItem,
    SetExpr, VisitMut as _, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

use super::called::only_table;
use super::dialect::GnistDialect;
use super::key_names::normalized;
use crate::numbers::map_named;

/// The constant of a mark, and the beginning of the names of columns that are added for keys.
const MARK: &str = "\u{1}input";

/// Marks the names in the sort keys of a query that its select list has for something else. The keys of
/// `DISTINCT ON` are columns of the tables already.
pub(super) fn marked(query: &mut Query) {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind)
    else {
        return;
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let aliases = aliases(select);
    if aliases.is_empty() || matches!(select.distinct, Some(DistinctClause::On(_))) {
        return;
    }
    let mut marks = Marks { aliases, table: only_table(select), calls: 0, queries: 0 };
    for key in keys.iter_mut().filter(|key| !is_bare(&key.expr)) {
        let _ = key.expr.visit(&mut marks);
    }
}

/// The aliases of a select list, but for those of columns that are called so.
fn aliases(select: &Select) -> BTreeSet<String> {
    let alias = |item: &SelectItem| {
        let SelectItem::ExprWithAlias { expr, alias } = item else { return None };
        let column = match expr {
            SqlExpr::Identifier(column) => Some(column),
            SqlExpr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        let alias = normalized(alias);
        (column.map(normalized) != Some(alias.clone())).then_some(alias)
    };
    select.projection.iter().filter_map(alias).collect()
}

fn is_bare(key: &SqlExpr) -> bool {
    match key {
        SqlExpr::Nested(key) => is_bare(key),
        key => matches!(key, SqlExpr::Identifier(_)),
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
    fn read(&self, table: &str, name: &Ident) -> Option<SqlExpr> {
        if self.queries > 0 || !self.aliases.contains(&normalized(name)) {
            return None;
        }
        if self.calls == 0 {
            return Some(mark(table, name));
        }
        let table = self.table.as_ref().filter(|_| table.is_empty())?;
        Some(SqlExpr::CompoundIdentifier(vec![Ident::with_quote('"', table), name.clone()]))
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

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        self.calls += usize::from(is_over_rows(expr));
        ControlFlow::Continue(())
    }

    /// From the inside out, so that a mark is not looked into.
    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        self.calls -= usize::from(is_over_rows(expr));
        let read = match &*expr {
            SqlExpr::Identifier(name) => self.read("", name),
            SqlExpr::CompoundIdentifier(parts) => match parts.as_slice() {
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
fn is_over_rows(expr: &SqlExpr) -> bool {
    static AGGREGATES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let functions = all_default_aggregate_functions();
        let names = |function: &Arc<AggregateUDF>| {
            let other = function.aliases().iter().cloned();
            other.chain([function.name().to_owned()]).collect::<Vec<_>>()
        };
        functions.iter().flat_map(names).collect()
    });
    matches!(expr, SqlExpr::Function(call)
        if call.over.is_some() || AGGREGATES.contains(&call.name.to_string().to_lowercase()))
}

fn mark(table: &str, name: &Ident) -> SqlExpr {
    let table = table.replace('\'', "''");
    let text = format!("case when '{MARK}' = '{table}' then {name} end");
    let parser = Parser::new(&GnistDialect).try_with_sql(&text);
    parser.and_then(|mut parser| parser.parse_expr()).expect("the text is an expression")
}

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct InputColumns;

impl AnalyzerRule for InputColumns {
    fn name(&self) -> &'static str {
        "input_columns"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut is_new = false;
        let read = plan.transform_up_with_subqueries(|node| {
            if !is_marked(&node)? {
                return if is_new {
                    node.recompute_schema().map(Transformed::yes)
                } else {
                    Ok(Transformed::no(node))
                };
            }
            is_new = true;
            let node = match node {
                LogicalPlan::Sort(sort) => over_input(sort)?,
                node => node,
            };
            // An aggregate, a window or `DISTINCT ON` is planned over the tables: the name is theirs there.
            map_named(node, unmarked)?.map_data(LogicalPlan::recompute_schema)
        });
        read.data()
    }
}

/// True if an expression of this very node has a mark.
fn is_marked(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = expr.exists(|expr| Ok(marked_name(expr).is_some()))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The table that is written in front of a marked name, and the expression that DataFusion takes it for.
fn marked_name(expr: &Expr) -> Option<(&str, &Expr)> {
    let Expr::Case(case) = expr else { return None };
    let [(when, then)] = case.when_then_expr.as_slice() else { return None };
    let Expr::BinaryExpr(BinaryExpr { left, right, .. }) = when.as_ref() else { return None };
    match (text(left)?, text(right)?) {
        (MARK, table) => Some((table, then)),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

fn unmarked(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform(|expr| {
        let inner = marked_name(&expr).map(|(_, inner)| inner.clone());
        Ok(inner.map_or_else(|| Transformed::no(expr), Transformed::yes))
    })
}

/// A sort whose marked keys are columns of the select list's input, where that has them.
fn over_input(mut sort: Sort) -> Result<LogicalPlan> {
    let (projection, is_distinct) = match sort.input.as_ref() {
        LogicalPlan::Projection(projection) => (projection, false),
        LogicalPlan::Distinct(Distinct::All(input)) => match input.as_ref() {
            LogicalPlan::Projection(projection) => (projection, true),
            _ => return Ok(LogicalPlan::Sort(sort)),
        },
        _ => return Ok(LogicalPlan::Sort(sort)),
    };
    let shown: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut added = Added { below: &projection.input, columns: Vec::new() };
    for key in &mut sort.expr {
        key.expr = added.read(std::mem::take(&mut key.expr))?;
    }
    let Some(first) = added.columns.first() else { return Ok(LogicalPlan::Sort(sort)) };
    if is_distinct {
        return refused(first);
    }
    let named = added.columns.iter().enumerate();
    let named = named.map(|(at, column)| Expr::Column(column.clone()).alias(name(at)));
    let all = projection.expr.iter().cloned().chain(named).collect();
    let input = Projection::try_new(all, Arc::clone(&projection.input))?;
    sort.input = Arc::new(LogicalPlan::Projection(input));
    let sort = Arc::new(LogicalPlan::Sort(sort));
    Ok(LogicalPlan::Projection(Projection::try_new(shown, sort)?))
}

/// Columns of the input of a select list that keys need.
struct Added<'a> {
    below: &'a LogicalPlan,
    columns: Vec<Column>,
}

impl Added<'_> {
    /// A key over the columns that are added.
    fn read(&mut self, key: Expr) -> Result<Expr> {
        let read = key.transform(|expr| {
            let Some((table, Expr::Column(column))) = marked_name(&expr) else {
                return Ok(Transformed::no(expr));
            };
            let Some(found) = self.find(table, &column.name)? else {
                return Ok(Transformed::no(expr));
            };
            let at = self.columns.iter().position(|added| *added == found);
            let at = at.unwrap_or_else(|| {
                self.columns.push(found);
                self.columns.len() - 1
            });
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name(at)))))
        });
        read.data()
    }

    /// The column that is meant. A name without a table that no table has, or several, is left to the select list.
    fn find(&self, table: &str, name: &str) -> Result<Option<Column>> {
        let schema = self.below.schema();
        if table.is_empty() {
            let (using, column) = (self.below.using_columns()?, Column::new_unqualified(name));
            let found = column.normalize_with_schemas_and_ambiguity_check(&[&[schema]], &using);
            return Ok(found.ok());
        }
        let is_meant = |column: &Column| {
            column.name == name && column.relation.as_ref().is_some_and(|of| of.table() == table)
        };
        let found = schema.columns().into_iter().find(is_meant);
        found.map_or_else(
            || plan_err!("no field named {table}.{name} in ORDER BY"),
            |it| Ok(Some(it)),
        )
    }
}

fn name(at: usize) -> String {
    format!("{MARK}{at}")
}

fn refused<T>(column: &Column) -> Result<T> {
    let Column { name, .. } = column;
    let message = format!(
        "`{name}` in an expression of ORDER BY is the column of the table, which SELECT DISTINCT does not select"
    );
    let failure = Failure::new(ErrorKind::Unsupported, message);
    Err(external(
        failure.with_help("give the column of the result another name, and order by that"),
    ))
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
