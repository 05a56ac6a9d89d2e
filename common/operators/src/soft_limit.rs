//! Limits of an aggregate that its input no longer allows.
//!
//! DataFusion lets an aggregate of keys alone stop at a limit, `select distinct k from t limit 5`, as
//! long as its input promises no order. It asks again when the aggregate runs, and fails if the input
//! has come to promise one meanwhile: a task has one branch of a union, in which a key may be
//! constant. The limit only saves work, so it is left out then.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

/// The operator without such a limit, if it has one.
pub fn without_refused_limit(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let aggregate = plan.downcast_ref::<AggregateExec>()?;
    let limit = aggregate.limit_options()?;
    let is_run = limit.descending().is_some()
        || aggregate.get_minmax_desc().is_some()
        || aggregate.is_unordered_unfiltered_group_by_distinct();
    (!is_run).then(|| Arc::new(aggregate.with_new_limit_options(None)) as _)
}
