//! Computed `PARTITION BY` keys of windows become columns of their input.
//!
//! DataFusion looks for the keys in the order of the rows. Where keys are computed from columns that
//! are equal, it leaves one of them out of the sort and then doesn't find it: "Expects PARTITION BY
//! expression to be ordered". Of columns it knows which are equal.
//!
//! ```text
//! Window: sum(x) partition by a + 1, b + 1      Projection: …                the columns as before
//!                                                Window: sum(x) partition by key_0, key_1
//!                                                 Projection: …, a + 1 key_0, b + 1 key_1
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Window};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The table that the keys are columns of.
const KEYS: &str = "__window_keys";

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct WindowKeys;

impl OptimizerRule for WindowKeys {
    fn name(&self) -> &'static str {
        "window_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Window(window) => {
                let keys = computed(&window);
                if keys.is_empty() {
                    return Ok(Transformed::no(LogicalPlan::Window(window)));
                }
                over_columns(window, &keys).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The keys that are computed, of calls with several keys. A single one is always found, unless it has
/// the value of a subquery in it, of which DataFusion does not know that it is equal to itself.
fn computed(window: &Window) -> Vec<Expr> {
    let mut computed = Vec::new();
    for call in &window.window_expr {
        let Expr::WindowFunction(call) = call.clone().unalias() else { continue };
        let keys = call.params.partition_by;
        if keys.len() < 2 && !keys.iter().any(has_subquery) {
            continue;
        }
        for key in keys {
            if !matches!(key, Expr::Column(_)) && !computed.contains(&key) {
                computed.push(key);
            }
        }
    }
    computed
}

fn has_subquery(key: &Expr) -> bool {
    let is_subquery = |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_)));
    key.exists(is_subquery).expect("looking fails nowhere")
}

fn over_columns(window: Window, keys: &[Expr]) -> Result<LogicalPlan> {
    let original = Arc::clone(&window.schema);
    let relation = TableReference::bare(KEYS);
    let name = |at: usize| format!("key_{at}");
    let all = window.input.schema().columns().into_iter().map(Expr::Column);
    let named = keys.iter().enumerate();
    let named =
        named.map(|(at, key)| key.clone().alias_qualified(Some(relation.clone()), name(at)));
    let input = Projection::try_new(all.chain(named).collect(), window.input)?;
    let column = |key: &Expr| {
        let at = keys.iter().position(|other| other == key)?;
        Some(Expr::Column(Column::new(Some(relation.clone()), name(at))))
    };
    let names = NamePreserver::new_for_projection();
    let calls = window.window_expr.into_iter().map(|call| {
        let called = names.save(&call);
        let call = call.transform(|expr| {
            let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
            for key in &mut call.params.partition_by {
                *key = column(key).unwrap_or_else(|| key.clone());
            }
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        });
        Ok(called.restore(call?.data))
    });
    let calls = calls.collect::<Result<_>>()?;
    let window = Window::try_new(calls, Arc::new(LogicalPlan::Projection(input)))?;
    let columns = original.columns().into_iter().map(Expr::Column).collect();
    let plan = Projection::try_new(columns, Arc::new(LogicalPlan::Window(window)))?;
    Ok(LogicalPlan::Projection(plan))
}
