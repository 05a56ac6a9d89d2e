//! Operators without what is below them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

use crate::stand_in::StandIn;

/// The operator over stand-ins for its inputs; it keeps all of its own fields.
pub(super) fn alone(operator: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs = StandIn::for_inputs(operator);
    if inputs.is_empty() {
        return Ok(Arc::clone(operator));
    }
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Arc::clone(operator).replace_children(inputs, keep)
}
