//! Rules of DataFusion with something of ours around them, by their own names.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// A rule that others may share.
pub(super) type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// A rewrite in the place of a rule's own, which it is given.
pub(super) type Rewrite =
    fn(&Rule, LogicalPlan, &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>>;

/// The rule with a rewrite in the place of its own.
pub(super) fn around(inner: Rule, rewrite: Rewrite) -> Rule {
    Arc::new(Around { inner, rewrite })
}

#[derive(Debug)]
struct Around {
    inner: Rule,
    rewrite: Rewrite,
}

impl OptimizerRule for Around {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        (self.rewrite)(&self.inner, plan, config)
    }
}
