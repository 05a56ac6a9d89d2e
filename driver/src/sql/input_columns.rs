//! `SELECT -k AS k ... ORDER BY k + 1` is ordered by the column `k` of the tables.
//!
//! A sort key that is a bare name means the column of the result, if one is called so. Inside of an
//! expression a name means the column of the tables, as in PostgreSQL. DataFusion takes the column of the
//! result in both, and refuses `w.k` beside it. Here such names in a key are marked while the statement is
//! text ([`super::marked_names`]), with their table:
//!
//! ```text
//! ORDER BY k + w.k   ──▶   ORDER BY CASE WHEN '\u{1}input' = '' THEN k END + CASE WHEN '\u{1}input' = 'w' THEN k END
//! ```
//!
//! The rule replaces the mark where the input of the select list has such a column, and takes it out where it
//! has none: `SELECT a + b AS total ... ORDER BY -total` stays what it is. Arguments of aggregates and windows
//! are always columns of the tables; they get the name of the table, where there is one.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Projection, Sort};
use datafusion::optimizer::AnalyzerRule;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

use super::marked_names::MARK;
use crate::numbers::map_named;

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
