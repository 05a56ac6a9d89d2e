//! Inputs that do not promise the order that their operator requires.
//!
//! DataFusion sorts the arms of a union apart and takes the union for sorted. Where an arm has one
//! column twice among the keys, the second key is dropped from what that arm promises, and the union
//! no longer promises it. DataFusion then refuses its own plan. Here it is sorted again.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::order::sorted_where_required;

/// DataFusion's rule that refuses such plans.
const CHECK: &str = "SanityCheckPlan";

/// Adds the rule that sorts such inputs to a session's: before the one that refuses them.
pub(crate) fn with_sorted_inputs(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let optimizer = builder.physical_optimizers().get_or_insert_default();
    let check = optimizer.rules.iter().position(|rule| rule.name() == CHECK);
    let place = check.unwrap_or(optimizer.rules.len());
    optimizer.rules.insert(place, Arc::new(SortedInputs));
    builder
}

#[derive(Debug)]
struct SortedInputs;

impl PhysicalOptimizerRule for SortedInputs {
    fn name(&self) -> &'static str {
        "sorted_inputs"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        sorted_where_required(plan)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
