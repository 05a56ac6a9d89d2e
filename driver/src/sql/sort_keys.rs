//! A key that stands twice in the `ORDER BY` of an aggregate or a window function is dropped.
//!
//! The second one decides nothing, whatever its direction: rows that it could tell apart are equal in
//! the first. DataFusion drops it from the order itself, not from the state that an aggregate has for
//! it, and panics over the difference. The rule runs after expressions are simplified, for `id` and
//! `id + 0` are one key. A cast to the type that a key has already is not seen by that, and looked
//! through here.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, SortExpr};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::numbers::{input_schema, map_named};

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct KeysOnce;

impl OptimizerRule for KeysOnce {
    fn name(&self) -> &'static str {
        "sort_keys_once"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let schema = input_schema(&plan)?;
        map_named(plan, |expr| expr.transform_up(|expr| with_keys_once(expr, &schema)))
    }
}

fn with_keys_once(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let keys = match &mut expr {
        Expr::AggregateFunction(call) => &mut call.params.order_by,
        Expr::WindowFunction(call) => &mut call.params.order_by,
        _ => return Ok(Transformed::no(expr)),
    };
    let before = keys.len();
    if before < 2 {
        return Ok(Transformed::no(expr));
    }
    let mut once: Vec<SortExpr> = Vec::with_capacity(before);
    let mut seen: Vec<Expr> = Vec::with_capacity(before);
    for key in keys.drain(..) {
        let value = without_idle_casts(key.expr.clone(), schema)?;
        if !seen.contains(&value) {
            once.push(key);
            seen.push(value);
        }
    }
    let is_new = once.len() < before;
    *keys = once;
    Ok(Transformed::new_transformed(expr, is_new))
}

/// The expression without casts to the type that their operand has.
fn without_idle_casts(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let uncast = expr.transform_up(|expr| {
        let inner = match &expr {
            Expr::Cast(cast) => &cast.expr,
            Expr::TryCast(cast) => &cast.expr,
            _ => return Ok(Transformed::no(expr)),
        };
        let is_idle = inner.get_type(schema)? == expr.get_type(schema)?;
        Ok(if is_idle { Transformed::yes(inner.as_ref().clone()) } else { Transformed::no(expr) })
    });
    uncast.data()
}
