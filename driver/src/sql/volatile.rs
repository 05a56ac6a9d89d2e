//! Values that are drawn once, though an expression is written out with them twice.
//!
//! DataFusion makes `random() BETWEEN 0.3 AND 0.6` two comparisons with a `random()` each, and does the
//! same to `CASE` and `coalesce`. Here such a call is computed below the node, and its column compared.
//!
//! There is nothing below a pair of rows: in the condition of an outer join such a call is refused, and one in a
//! row that is compared with a subquery, which [`super::rows`] writes into it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

use super::reserved::reserved;
use super::rows;
use crate::numbers::map_named;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct VolatileOnce;

/// The end of the reserved name of the table of such columns.
const DRAWN: &str = "drawn";

impl AnalyzerRule for VolatileOnce {
    fn name(&self) -> &'static str {
        "volatile_once"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            refuse_drawn_rows(&node)?;
            match node {
                LogicalPlan::Join(join) => drawn_above(join),
                node => drawn_below(node),
            }
        })
        .data()
    }
}

/// An inner join whose conditions that are drawn are those of a filter above it.
fn drawn_above(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let (volatile, others): (Vec<_>, Vec<_>) = conditions.into_iter().partition(Expr::is_volatile);
    let Some(volatile) = conjunction(volatile) else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    if join.join_type != JoinType::Inner {
        return match drawn(volatile, 0)?.1.as_slice() {
            [] => Ok(Transformed::no(LogicalPlan::Join(join))),
            [call, ..] => {
                refused(call, "BETWEEN, CASE or coalesce in the condition of an outer join")
            }
        };
    }
    join.filter = conjunction(others);
    let filter = Filter::try_new(volatile, Arc::new(LogicalPlan::Join(join)))?;
    Ok(Transformed::yes(drawn_below(LogicalPlan::Filter(filter))?.data))
}

/// Fails on `(random(), 1) IN (SELECT ...)`.
fn refuse_drawn_rows(node: &LogicalPlan) -> Result<()> {
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            let Expr::Exists(exists) = expr else { return Ok(TreeNodeRecursion::Continue) };
            match rows::condition(&exists.subquery.subquery) {
                Some(condition) if condition.is_volatile() => {
                    refused(condition, "a row that is compared with a subquery")
                }
                _ => Ok(TreeNodeRecursion::Continue),
            }
        })
    })?;
    Ok(())
}

/// Fails, naming the first call in an expression that is drawn.
fn refused<T>(expr: &Expr, place: &str) -> Result<T> {
    let mut call = String::new();
    expr.apply(|expr| {
        if is_volatile_call(expr) {
            call = expr.human_display().to_string();
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let failure = Failure::new(
        ErrorKind::Unsupported,
        format!("`{call}`, which is another value each time, in {place} is not supported yet"),
    );
    Err(external(
        failure.with_help("compute it as a column of a subquery in FROM, and compare that column"),
    ))
}

/// A node over a projection that draws what the node's expressions would draw twice.
fn drawn_below(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let adds_columns = match &node {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => false,
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_) => true,
        _ => return Ok(Transformed::no(node)),
    };
    let mut calls = Vec::new();
    node.apply_expressions(|expr| {
        calls.extend(drawn(expr.clone(), calls.len())?.1);
        Ok(TreeNodeRecursion::Continue)
    })?;
    if calls.is_empty() {
        return Ok(Transformed::no(node));
    }
    let columns = |plan: &LogicalPlan| plan.schema().columns().into_iter().map(Expr::Column);
    let input = node.inputs()[0].clone();
    let with_calls = columns(&input).chain(calls).collect::<Vec<_>>();
    let below = LogicalPlanBuilder::from(input).project(with_calls)?.build()?;
    let shown = columns(&node).collect::<Vec<_>>();
    let node = node.with_new_exprs(node.expressions(), vec![below])?;
    let mut first = 0;
    let node = map_named(node, |expr| {
        let (expr, new) = drawn(expr, first)?;
        first += new.len();
        Ok(Transformed::new_transformed(expr, !new.is_empty()))
    })?;
    let node = node.data.recompute_schema()?;
    Ok(Transformed::yes(if adds_columns {
        LogicalPlanBuilder::from(node).project(shown)?.build()?
    } else {
        node
    }))
}

/// The expression over columns of the calls that would be written out twice, and those columns.
/// `first` is the number of the first one.
fn drawn(expr: Expr, first: usize) -> Result<(Expr, Vec<Expr>)> {
    let mut columns = Vec::new();
    if !expr.is_volatile() {
        return Ok((expr, columns));
    }
    let rewritten = expr.transform_down(|expr| {
        if !is_written_out(&expr) || !expr.is_volatile() {
            return Ok(Transformed::no(expr));
        }
        let inner = expr.transform_down(|expr| {
            if !is_volatile_call(&expr) {
                return Ok(Transformed::no(expr));
            }
            let name = (first + columns.len()).to_string();
            let table = TableReference::bare(reserved(DRAWN));
            columns.push(expr.alias_qualified(Some(table.clone()), name.clone()));
            let column = Expr::Column(Column::new(Some(table), name));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })?;
        Ok(Transformed::new(inner.data, true, TreeNodeRecursion::Jump))
    });
    Ok((rewritten.data()?, columns))
}

/// Functions that become a `CASE` with an argument twice.
const WRITTEN_OUT: [&str; 4] = ["coalesce", "nvl", "ifnull", "nvl2"];

fn is_written_out(expr: &Expr) -> bool {
    match expr {
        // An operand of a subquery meets its rows in a join, or in two.
        Expr::Between(_) | Expr::Case(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => true,
        Expr::ScalarFunction(call) => WRITTEN_OUT.contains(&call.name()),
        _ => false,
    }
}

fn is_volatile_call(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call)
        if call.func.signature().volatility == Volatility::Volatile)
}
