//! Years that timestamps of nanoseconds don't reach.
//!
//! DataFusion makes `extract(year from ts) < 2300` a comparison of `ts` with the first of January, which
//! is null where nanoseconds end, in 1677 and 2262: no row is found. Here the year of such a timestamp is
//! held, unless it is compared with years in between, for which files can be skipped.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use gnist_operators::functions::held::held;

use crate::numbers::{input_schema, map_named};

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct Years;

/// The first and the last year whose beginning and end have nanoseconds.
const FIRST: i64 = 1678;
const LAST: i64 = 2261;

impl AnalyzerRule for Years {
    fn name(&self) -> &'static str {
        "years"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let schema = input_schema(&node)?;
            map_named(node, |expr| expr.transform_down(|expr| Ok(out_of_reach(expr, &schema))))
        })
        .data()
    }
}

fn out_of_reach(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let (value, constants): (&Expr, Vec<&Expr>) = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) if is_reached(right) => (left, vec![]),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) if is_reached(left) => (right, vec![]),
        Expr::Between(Between { expr, low, high, .. }) => (expr, vec![low, high]),
        Expr::InList(InList { expr, list, .. }) => (expr, list.iter().collect()),
        expr if is_part(expr, schema) => {
            let Ok(inside) = expr
                .clone()
                .map_children(|child| child.transform_down(|expr| Ok(out_of_reach(expr, schema))))
            else {
                return Transformed::no(expr.clone());
            };
            return Transformed::new(held(inside.data), true, TreeNodeRecursion::Jump);
        }
        _ => return Transformed::no(expr),
    };
    let call = without_casts(value);
    let holds_one = matches!(call, Expr::ScalarFunction(call)
        if call.args.iter().any(|arg| arg.exists(|expr| Ok(is_part(expr, schema))).unwrap_or(true)));
    if is_part(call, schema) && !holds_one && constants.into_iter().all(is_reached) {
        return Transformed::new(expr, false, TreeNodeRecursion::Jump);
    }
    Transformed::no(expr)
}

/// Returns true for a part of a timestamp of nanoseconds.
fn is_part(expr: &Expr, schema: &DFSchema) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    let of = (call.name() == "date_part").then(|| call.args.get(1)).flatten();
    of.is_some_and(|of| {
        matches!(of.get_type(schema), Ok(DataType::Timestamp(TimeUnit::Nanosecond, _)))
    })
}

fn without_casts(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr, .. }) => without_casts(expr),
        other => other,
    }
}

/// Returns true for the number of a year that nanoseconds reach.
fn is_reached(expr: &Expr) -> bool {
    match without_casts(expr) {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(year))) => (FIRST..=LAST).contains(&year),
            _ => false,
        },
        _ => false,
    }
}
