//! Arguments of aggregates with FILTER, evaluated for the rows of the filter alone.
//!
//! DataFusion computes an argument that stands twice in a query once, below the aggregates, and for all
//! rows: `sum(10 / a) filter (where a <> 0), max(10 / a) filter (where a <> 0)` would divide by zero.
//! An argument, or a key of its order, that can fail becomes `case when a <> 0 then 10 / a end`, which it
//! leaves where it is.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, when};
use datafusion::optimizer::AnalyzerRule;

use super::lazy::{fails, has_failing};
use super::{input_schema, map_named};

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct FilteredArguments;

impl AnalyzerRule for FilteredArguments {
    fn name(&self) -> &'static str {
        "filtered_arguments"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let has_calls = matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_));
            if !has_calls || !has_failing(&node)? {
                return Ok(Transformed::no(node));
            }
            let schema = input_schema(&node)?;
            map_named(node, |expr| expr.transform_down(|expr| rewrite(expr, &schema)))
        });
        rewritten.data()
    }
}

fn rewrite(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    // The order of a window is that of all its rows.
    let (arguments, keys, filter) = match &mut expr {
        Expr::AggregateFunction(AggregateFunction { params, .. }) => {
            (&mut params.args, params.order_by.as_mut_slice(), &params.filter)
        }
        Expr::WindowFunction(window) => {
            let WindowFunction { params, .. } = window.as_mut();
            (&mut params.args, [].as_mut_slice(), &params.filter)
        }
        _ => return Ok(Transformed::no(expr)),
    };
    // A filter that draws would draw again.
    let Some(filter) = filter.as_ref().filter(|filter| !filter.is_volatile()) else {
        return Ok(Transformed::no(expr));
    };
    let mut is_new = false;
    let arguments = arguments.iter_mut().chain(keys.iter_mut().map(|key| &mut key.expr));
    for argument in arguments.filter(|argument| fails(argument, schema)) {
        *argument = when(filter.as_ref().clone(), std::mem::take(argument)).end()?;
        is_new = true;
    }
    Ok(Transformed::new_transformed(expr, is_new))
}
