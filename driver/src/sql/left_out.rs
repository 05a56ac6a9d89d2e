//! Plans that a rule of DataFusion is kept from, for it would make them wrong.
//!
//! - **Sums beside a DISTINCT.** `sum(b), count(distinct a)` becomes sums by `a` and their sum. A sum
//!   of integers that fits as a whole may not fit by `a`, and such an error is nobody's. `f(distinct a, a)`,
//!   of two arguments that are one, it takes for a call with one.
//! - **Drawn values above a join.** Below a `DISTINCT` a join becomes a semi join, which has a row where the
//!   join has many: `random()` is drawn once for them.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::OptimizerConfig;

use super::around::{Rewrite, Rule, around};

/// The rule with what it leaves out; the rule itself if it is right on all plans.
pub(super) fn careful(rule: Rule) -> Rule {
    let rewrite: Rewrite = match rule.name() {
        "single_distinct_aggregation_to_group_by" => {
            |rule, plan, config| unless(parts_a_sum(&plan)?, rule, plan, config)
        }
        "eliminate_join" => |rule, plan, config| unless(draws(&plan)?, rule, plan, config),
        _ => return rule,
    };
    around(rule, rewrite)
}

fn unless(
    is_left_out: bool,
    rule: &Rule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    if is_left_out { Ok(Transformed::no(plan)) } else { rule.rewrite(plan, config) }
}

fn parts_a_sum(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Aggregate(Aggregate { aggr_expr, input, .. }) = plan else {
        return Ok(false);
    };
    let calls = aggr_expr.iter().map(|expr| match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    });
    for call in calls {
        if let Expr::AggregateFunction(AggregateFunction { func, params }) = call
            && (params.distinct && params.args.len() != 1
                || func.name() == "sum" && sums_integers(params, input.schema())?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sums_integers(params: &AggregateFunctionParams, schema: &DFSchema) -> Result<bool> {
    let [value] = params.args.as_slice() else { return Ok(false) };
    Ok(!params.distinct && value.get_type(schema)?.is_integer())
}

/// Returns true if the plan draws values.
fn draws(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| {
        let mut draws = false;
        node.apply_expressions(|expr| {
            draws |= expr.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(draws)
    })
}
