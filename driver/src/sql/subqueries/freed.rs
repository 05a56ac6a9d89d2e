//! Lateral queries that no longer refer to the left side.
//!
//! A lateral query whose filter turns out to be false loses its references to the left side with it.
//! DataFusion leaves such a query in its node, which has no physical plan.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Join, LogicalPlan, SubqueryAlias};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::lateral::is_lateral;
use super::references::of_plan;

/// The rule. It follows the one that decorrelates lateral queries.
#[derive(Debug)]
pub(in crate::sql) struct FreedLaterals;

impl OptimizerRule for FreedLaterals {
    fn name(&self) -> &'static str {
        "freed_laterals"
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
            LogicalPlan::Join(join)
                if is_lateral(&join.right) && of_plan(&join.right)?.is_empty() =>
            {
                let right = freed(&join.right)?;
                Ok(Transformed::yes(LogicalPlan::Join(Join { right, ..join })))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The query itself, called as before.
fn freed(right: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    match right.as_ref() {
        LogicalPlan::Subquery(subquery) => Ok(Arc::clone(&subquery.subquery)),
        LogicalPlan::SubqueryAlias(alias) => {
            let named = SubqueryAlias::try_new(freed(&alias.input)?, alias.alias.clone())?;
            Ok(Arc::new(LogicalPlan::SubqueryAlias(named)))
        }
        _ => Ok(Arc::clone(right)),
    }
}
