//! Queries in expressions, coerced by the columns that the query around them really has.
//!
//! A reference to a column of the outer query has the type that the column had when the statement was planned.
//! DataFusion coerces the inner query by it, and may give the column another type as it coerces the outer one:
//! the two sides of `inner.k = outer.x` are of two types then, and fail. Here the references learn the types that
//! columns have after the coercion, and as long as one is another, types are coerced once more.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

use crate::sql::nested_queries::LEVELS_MAX;
use crate::sql::subqueries::references;

/// DataFusion's coercion. See the module.
#[derive(Debug)]
pub(super) struct Coerced {
    inner: Arc<dyn AnalyzerRule + Send + Sync>,
}

impl Coerced {
    pub(super) fn around(inner: Arc<dyn AnalyzerRule + Send + Sync>) -> Self {
        Self { inner }
    }
}

impl AnalyzerRule for Coerced {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut coerced = references::all_refreshed(self.inner.analyze(plan, config)?)?;
        // Each time the references of one level more have their types.
        for _ in 0..LEVELS_MAX {
            if !coerced.transformed {
                break;
            }
            coerced = references::all_refreshed(self.inner.analyze(coerced.data, config)?)?;
        }
        Ok(coerced.data)
    }
}
