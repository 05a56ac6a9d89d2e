//! Rules that make the numbers of a query right where DataFusion's are not.
//!
//! ```text
//! checked     (analyzer)           arithmetic, sums and averages that overflow are errors
//! casts       (analyzer, optimizer) what a cast loses is lost before a comparison, not behind it
//! filtered    (analyzer)           arguments are evaluated for the rows of their FILTER
//! floats      (analyzer, optimizer) what compares floats sees one NaN and one zero
//! rounded     (rewrite, sql/types) ceil and floor of decimals have a digit more
//! lazy        (optimizer)          the right side of AND and OR is evaluated where it is asked for
//! nested_keys (optimizer)          one order of structs, lists and maps
//! ```
//!
//! Arithmetic is rewritten by the analyzer, once its types are known: constants are folded after it.
//! Floats are rewritten before the optimizer and by its last rule, when joins, groups and filters have
//! their final form. Constants are rewritten before they are folded.

mod casts;
mod checked;
mod filtered;
mod floats;
mod lazy;
mod nested_keys;
mod rounded;

pub(crate) use floats::{compares, normal_form};
pub(crate) use lazy::fails;
pub(crate) use rounded::WholeDecimals;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan};
use datafusion::optimizer::Optimizer;

/// Adds the rules of this module to a session's.
pub(crate) fn with_number_rules(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    // Right behind the rule that folds literals: later ones move casts that stand twice elsewhere.
    let rules = &mut builder.optimizer().get_or_insert_with(Optimizer::new).rules;
    let folded = rules.iter().position(|rule| rule.name() == "simplify_expressions");
    rules.insert(folded.map_or(0, |place| place + 1), Arc::new(casts::ColumnUnits));
    builder
        .with_analyzer_rule(Arc::new(checked::CheckedNumbers))
        .with_analyzer_rule(Arc::new(casts::HeldCasts))
        .with_analyzer_rule(Arc::new(filtered::FilteredArguments))
        .with_analyzer_rule(Arc::new(floats::NormalConstants))
        .with_analyzer_rule(Arc::new(floats::NormalFloats))
        .with_optimizer_rule(Arc::new(floats::NormalFloats))
        .with_optimizer_rule(Arc::new(nested_keys::NestedKeys))
        .with_optimizer_rule(Arc::new(lazy::LazyLogic))
}

/// The columns that a node's expressions may name.
pub(crate) fn input_schema(node: &LogicalPlan) -> Result<DFSchema> {
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
    let LogicalPlan::Aggregate(mut aggregate) = node else {
        return node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = rewrite(expr)?;
            let is_new = rewritten.transformed;
            Ok(rewritten.update_data(|expr| if is_new { name.restore(expr) } else { expr }))
        });
    };
    let mut is_new = false;
    let mut named = |expr: &mut Expr| -> Result<()> {
        let name = expr.qualified_name();
        let rewritten = rewrite(std::mem::take(expr))?;
        is_new |= rewritten.transformed;
        *expr = rewritten.data;
        if rewritten.transformed && expr.qualified_name() != name {
            *expr = std::mem::take(expr).alias_qualified(name.0, name.1);
        }
        Ok(())
    };
    groups_of(&mut aggregate).into_iter().try_for_each(&mut named)?;
    aggregate.aggr_expr.iter_mut().try_for_each(&mut named)?;
    rewritten(aggregate, is_new)
}

/// The groups of an aggregate, those of grouping sets one by one.
fn groups_of(aggregate: &mut Aggregate) -> Vec<&mut Expr> {
    let groups = aggregate.group_expr.iter_mut().flat_map(|expr| match expr {
        Expr::GroupingSet(GroupingSet::Rollup(groups) | GroupingSet::Cube(groups)) => {
            groups.iter_mut().collect()
        }
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter_mut().flatten().collect(),
        expr => vec![expr],
    });
    groups.collect()
}

/// The node of an aggregate whose expressions were rewritten in place; `is_new` if one is another.
fn rewritten(aggregate: Aggregate, is_new: bool) -> Result<Transformed<LogicalPlan>> {
    if !is_new {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?)))
}

#[cfg(test)]
mod tests;
