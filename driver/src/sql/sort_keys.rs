//! A key that stands twice in the `ORDER BY` of an aggregate or a window function is dropped.
//!
//! The second one decides nothing, whatever its direction: rows that it could tell apart are equal in
//! the first. DataFusion drops it from the order itself, not from the state that an aggregate has for
//! it, and panics over the difference. The rule runs after expressions are simplified, for `id` and
//! `id + 0` are one key.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan, SortExpr};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::numbers::map_named;

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
        map_named(plan, |expr| expr.transform_up(|expr| Ok(with_keys_once(expr))))
    }
}

fn with_keys_once(mut expr: Expr) -> Transformed<Expr> {
    let keys = match &mut expr {
        Expr::AggregateFunction(call) => &mut call.params.order_by,
        Expr::WindowFunction(call) => &mut call.params.order_by,
        _ => return Transformed::no(expr),
    };
    let before = keys.len();
    let mut once: Vec<SortExpr> = Vec::with_capacity(before);
    for key in keys.drain(..) {
        if !once.iter().any(|other| other.expr == key.expr) {
            once.push(key);
        }
    }
    let is_new = once.len() < before;
    *keys = once;
    Transformed::new_transformed(expr, is_new)
}
