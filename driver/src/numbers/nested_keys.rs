//! Structs, lists and maps in an `ORDER BY`, by bytes that are ordered as they are ([`row_key()`]).
//!
//! - DataFusion compares the keys of one row with those of another as it merges `array_agg`, `first_value` and the
//!   like, and skips a field that is null on one side as if it were equal: that is no order.
//! - A sort with a limit drops rows that are not below the last of those that it keeps, by `<`, to which a null inside
//!   of a value is the first. So it dropped rows that come before it.
//!
//! The rule runs in the optimizer, for `DISTINCT ON` becomes `first_value` there, and sorts get their limits.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, SortExpr};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use gnist_operators::functions::row_key::{has_row_key, row_key};

use super::{input_schema, map_named};

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct NestedKeys;

impl OptimizerRule for NestedKeys {
    fn name(&self) -> &'static str {
        "nested_keys"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Sort(mut sort) => {
                let is_new = make_row_keys(&mut sort.expr, sort.input.schema());
                Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), is_new))
            }
            LogicalPlan::Aggregate(_) => {
                let schema = input_schema(&node)?;
                map_named(node, |expr| expr.transform_up(|expr| Ok(ordered(expr, &schema))))
            }
            node => Ok(Transformed::no(node)),
        })
    }
}

/// Replaces the sort keys of an aggregate, unless it has `DISTINCT`: the key is the argument then,
/// and DataFusion sorts by such bytes itself.
fn ordered(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_new = match &mut expr {
        Expr::AggregateFunction(call) if !call.params.distinct => {
            make_row_keys(&mut call.params.order_by, schema)
        }
        _ => false,
    };
    Transformed::new_transformed(expr, is_new)
}

fn make_row_keys(keys: &mut [SortExpr], schema: &DFSchema) -> bool {
    keys.iter_mut().fold(false, |any, key| {
        let has = key.expr.get_type(schema).is_ok_and(|data_type| has_row_key(&data_type));
        if has {
            key.expr = row_key(std::mem::take(&mut key.expr), key.asc, key.nulls_first);
        }
        any | has
    })
}
