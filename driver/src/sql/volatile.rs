//! Values that are drawn once, though an expression is written out with them twice.
//!
//! DataFusion makes `random() BETWEEN 0.3 AND 0.6` two comparisons with a `random()` each, and does the
//! same to `CASE` and `coalesce`. Here such a call is computed below the node, and its column compared.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::numbers::map_named;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct VolatileOnce;

/// The table of such columns: no table of a query is called so.
const DRAWN: &str = "~drawn";

impl AnalyzerRule for VolatileOnce {
    fn name(&self) -> &'static str {
        "volatile_once"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let once = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Filter(filter) if filter.predicate.is_volatile() => filter_once(filter),
            LogicalPlan::Projection(_) => project_once(node),
            other => Ok(Transformed::no(other)),
        });
        once.data()
    }
}

fn filter_once(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let (predicate, drawn) = drawn(filter.predicate.clone(), 0)?;
    if drawn.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let columns: Vec<Expr> =
        filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    let below = LogicalPlanBuilder::from(filter.input.as_ref().clone())
        .project(columns.iter().cloned().chain(drawn).collect::<Vec<_>>())?;
    Ok(Transformed::yes(below.filter(predicate)?.project(columns)?.build()?))
}

fn project_once(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut all = Vec::new();
    let projection = map_named(node, |expr| {
        let (expr, new) = drawn(expr, all.len())?;
        let is_new = !new.is_empty();
        all.extend(new);
        Ok(Transformed::new_transformed(expr, is_new))
    })?;
    match projection.data {
        LogicalPlan::Projection(projection) if !all.is_empty() => {
            let Projection { expr, input, .. } = projection;
            let columns = input.schema().columns().into_iter().map(Expr::Column);
            let below = LogicalPlanBuilder::from(input.as_ref().clone())
                .project(columns.chain(all).collect::<Vec<_>>())?;
            Ok(Transformed::yes(below.project(expr)?.build()?))
        }
        node => Ok(Transformed::no(node)),
    }
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
            let table = TableReference::bare(DRAWN);
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
        Expr::Between(_) | Expr::Case(_) => true,
        Expr::ScalarFunction(call) => WRITTEN_OUT.contains(&call.name()),
        _ => false,
    }
}

fn is_volatile_call(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call)
        if call.func.signature().volatility == Volatility::Volatile)
}
