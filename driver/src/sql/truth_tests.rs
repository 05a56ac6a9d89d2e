//! `IS [NOT] TRUE` and `IS [NOT] FALSE` in what a query computes.
//!
//! DataFusion's logical plan knows that they are never null. Its physical plan computes them as
//! `IS [NOT] DISTINCT FROM` a constant, which it takes for nullable, and refuses groups over the
//! difference. They are written that way from the start, but for filters, where nothing asks.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, binary_expr, lit};
use datafusion::optimizer::AnalyzerRule;

use crate::numbers::map_named;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct TruthTests;

impl AnalyzerRule for TruthTests {
    fn name(&self) -> &'static str {
        "truth_tests"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut is_new = false;
        let written = plan.transform_up_with_subqueries(|node| {
            let node = if is_new { node.recompute_schema()? } else { node };
            if matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
                return Ok(Transformed::no(node));
            }
            let written = map_named(node, |expr| expr.transform_up(|expr| Ok(written_out(expr))))?;
            is_new |= written.transformed;
            if written.transformed {
                written.map_data(LogicalPlan::recompute_schema)
            } else {
                Ok(written)
            }
        });
        written.data()
    }
}

fn written_out(expr: Expr) -> Transformed<Expr> {
    let (operand, op, truth) = match expr {
        Expr::IsTrue(operand) => (operand, Operator::IsNotDistinctFrom, true),
        Expr::IsFalse(operand) => (operand, Operator::IsNotDistinctFrom, false),
        Expr::IsNotTrue(operand) => (operand, Operator::IsDistinctFrom, true),
        Expr::IsNotFalse(operand) => (operand, Operator::IsDistinctFrom, false),
        other => return Transformed::no(other),
    };
    Transformed::yes(binary_expr(*operand, op, lit(truth)))
}
