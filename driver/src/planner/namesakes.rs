//! Filters that stay above columns of one name.
//!
//! DataFusion moves filters down a physical plan and finds their columns again by name. Above a
//! join of tables that share a name it finds the other table's column, and the filter drops other
//! rows. While its rule runs, no filter enters an operator with two columns of one name; filters
//! inside of it move on. What stops them is a limit that lets everything through, which is taken out
//! again.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::LocalLimitExec;

/// DataFusion's rule that moves filters.
const MOVES_FILTERS: &str = "FilterPushdown";

/// Puts the rule in the place of DataFusion's in a session's.
pub(crate) fn with_namesakes(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    for rule in &mut builder.physical_optimizers().get_or_insert_default().rules {
        if rule.name() == MOVES_FILTERS {
            *rule = Arc::new(Namesakes { inner: Arc::clone(rule) });
        }
    }
    builder
}

#[derive(Debug)]
struct Namesakes {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for Namesakes {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !plan.exists(|node| Ok(has_namesakes(node)))? {
            return self.inner.optimize(plan, config);
        }
        let stopped = plan.transform_up(|node| {
            Ok(if has_namesakes(&node) {
                Transformed::yes(Arc::new(LocalLimitExec::new(node, usize::MAX)) as _)
            } else {
                Transformed::no(node)
            })
        });
        let moved = self.inner.optimize(stopped.data()?, config)?;
        let opened = moved.transform_up(|node| {
            let limit = node.downcast_ref::<LocalLimitExec>();
            let inner = limit.filter(|limit| limit.fetch() == usize::MAX);
            Ok(match inner.map(|limit| Arc::clone(limit.input())) {
                Some(inner) => Transformed::yes(inner),
                None => Transformed::no(node),
            })
        });
        opened.data()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

fn has_namesakes(node: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = node.schema();
    let names: BTreeSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    names.len() < schema.fields().len()
}
