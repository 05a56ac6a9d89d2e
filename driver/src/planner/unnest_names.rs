//! Columns of one name below an `UNNEST`.
//!
//! DataFusion finds the columns of an unnested table among those of its input by name. Of two of one name it
//! takes what is known of the second one, its order, its value, how it is placed, for true of the first. So
//! nothing is known of the later ones ([`unknown`](gnist_operators::functions::set_keys::unknown)).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::around::with_first;
use super::one_sided::freed;

/// Adds the rule to a session's: the first, for those after it take what they know of a column for the truth.
pub(crate) fn with_unnest_names(builder: SessionStateBuilder) -> SessionStateBuilder {
    with_first(builder, Arc::new(UnnestNames))
}

#[derive(Debug)]
struct UnnestNames;

impl PhysicalOptimizerRule for UnnestNames {
    fn name(&self) -> &'static str {
        "unnest_names"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(unnest) = node.downcast_ref::<UnnestExec>() else {
                return Ok(Transformed::no(node));
            };
            let repeated = repeated_columns(unnest.input());
            if repeated.is_empty() {
                return Ok(Transformed::no(node));
            }
            let input = freed(unnest.input(), &repeated)?;
            Ok(Transformed::yes(replace_children_if_necessary(node, vec![input])?))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The columns that have the name of an earlier one.
fn repeated_columns(input: &Arc<dyn ExecutionPlan>) -> BTreeSet<usize> {
    let (schema, mut names) = (input.schema(), BTreeSet::new());
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| !names.insert(field.name())).map(|(at, _)| at).collect()
}
