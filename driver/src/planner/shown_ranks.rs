//! Ranks that are shown in the order of their window.
//!
//! DataFusion deals the rows of one partition out to all threads for a projection that computes something. Here a rank
//! is a function of DataFusion's ([`gnist_operators::functions::counts`]), which is not worth that, and its rows would
//! come in any order: `SELECT row_number() OVER (ORDER BY a), a` is looked at without an `ORDER BY` of its own.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, Partitioning, replace_children_if_necessary,
};
use gnist_operators::functions::counts::SIGNED_COUNT;

/// The rule. See the module.
#[derive(Debug)]
pub(crate) struct ShownRanks;

impl PhysicalOptimizerRule for ShownRanks {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(in_order(&plan)?.unwrap_or(plan))
    }

    fn name(&self) -> &'static str {
        "shown_ranks"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The plan of a result without such an exchange below its select list; none if there isn't one.
fn in_order(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let children = plan.children();
    let [input] = children.as_slice() else { return Ok(None) };
    let input = match plan.downcast_ref::<ProjectionExec>() {
        Some(items) if items.expr().iter().all(|item| is_cheap(&item.expr)) => undealt(input),
        Some(_) => None,
        None if passes_on(plan.as_ref()) => in_order(input)?,
        None => None,
    };
    let plan = Arc::clone(plan);
    input.map(|input| replace_children_if_necessary(plan, vec![input])).transpose()
}

fn passes_on(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<CoalescePartitionsExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
}

/// The one partition whose rows are dealt out; none if they are not.
fn undealt(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let exchange = plan.downcast_ref::<RepartitionExec>()?;
    let is_dealt = matches!(exchange.partitioning(), Partitioning::RoundRobinBatch(_));
    let input = exchange.input();
    (is_dealt && input.output_partitioning().partition_count() == 1).then(|| Arc::clone(input))
}

fn is_cheap(expr: &Arc<dyn PhysicalExpr>) -> bool {
    match expr.downcast_ref::<ScalarFunctionExpr>() {
        Some(call) => call.name() == SIGNED_COUNT && call.args().iter().all(is_cheap),
        None => expr.is::<Column>() || expr.is::<Literal>(),
    }
}
