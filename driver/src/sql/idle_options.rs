//! Options of aggregates that DataFusion takes and does not mean.
//!
//! - The `ORDER BY` of an aggregate that does not depend on order. DataFusion makes its keys further arguments:
//!   `count(i ORDER BY n)` leaves out rows whose `n` is null, and groups of it fail. It goes.
//! - `DISTINCT` in aggregates that look at all values all the same: it is refused.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;

use crate::numbers::map_named;

/// Aggregates whose value depends on the order of their rows.
const ORDERED: [&str; 6] =
    ["array_agg", "string_agg", "first_value", "last_value", "nth_value", "any_value"];

/// Aggregates that look at every copy of a value, whatever is asked for, beside those of regression.
const EVERY_COPY: [&str; 6] = [
    "corr",
    "covar_samp",
    "covar_pop",
    "nth_value",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
];

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct IdleOptions;

impl AnalyzerRule for IdleOptions {
    fn name(&self) -> &'static str {
        "idle_options"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let meant = plan
            .transform_up_with_subqueries(|node| map_named(node, |expr| expr.transform_up(meant)));
        meant.data()
    }
}

fn meant(mut expr: Expr) -> Result<Transformed<Expr>> {
    let mut is_new = false;
    match &mut expr {
        Expr::AggregateFunction(call) => {
            check(&call.func, call.params.distinct)?;
            let has_meaning = ORDERED.contains(&call.func.name())
                || call.func.inner().supports_within_group_clause();
            if !has_meaning && !call.params.order_by.is_empty() {
                call.params.order_by.clear();
                is_new = true;
            }
        }
        Expr::WindowFunction(call) => {
            if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun {
                check(function, call.params.distinct)?;
            }
        }
        _ => {}
    }
    Ok(Transformed::new_transformed(expr, is_new))
}

fn check(function: &AggregateUDF, is_distinct: bool) -> Result<()> {
    let name = function.name();
    if is_distinct && (EVERY_COPY.contains(&name) || name.starts_with("regr_")) {
        return not_impl_err!("DISTINCT in `{name}`");
    }
    Ok(())
}
