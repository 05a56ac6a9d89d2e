//! Rules that make the numbers of a query right where DataFusion's are not.
//!
//! ```text
//! checked     (analyzer)           arithmetic, sums and averages that overflow are errors
//! floats      (analyzer, optimizer) what compares floats sees one NaN and one zero
//! lazy        (optimizer)          the right side of AND and OR is evaluated where it is asked for
//! statistics  (physical)           minimum and maximum of floats say nothing: they leave NaN out
//! ```
//!
//! Arithmetic is rewritten by the analyzer, once its types are known: constants are folded after it.
//! Floats are rewritten last by the optimizer, when joins, groups and filters have their final form;
//! only comparisons of constants are rewritten before they are folded.

mod checked;
mod floats;
mod lazy;
mod statistics;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

/// Adds the rules of this module to a session's.
pub(crate) fn with_number_rules(builder: SessionStateBuilder) -> SessionStateBuilder {
    // The first: rules after it take statistics for the truth.
    let first: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(statistics::FloatStatistics);
    let rules = [first].into_iter().chain(PhysicalOptimizer::new().rules);
    builder
        .with_analyzer_rule(Arc::new(checked::CheckedNumbers))
        .with_analyzer_rule(Arc::new(floats::NormalConstants))
        .with_optimizer_rule(Arc::new(floats::NormalFloats))
        .with_optimizer_rule(Arc::new(lazy::LazyLogic))
        .with_physical_optimizer_rules(rules.collect())
}

/// The columns that a node's expressions may name.
fn input_schema(node: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = merge_schema(&node.inputs());
    if let LogicalPlan::TableScan(scan) = node {
        let source = scan.source.schema();
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &source)?);
    }
    Ok(schema)
}

/// Applies a rewrite to the expressions of a node, which keep their names.
pub(crate) fn map_named(
    node: LogicalPlan,
    mut rewrite: impl FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = rewrite(expr)?;
        let is_new = rewritten.transformed;
        Ok(rewritten.update_data(|expr| if is_new { name.restore(expr) } else { expr }))
    })
}

#[cfg(test)]
mod tests;
