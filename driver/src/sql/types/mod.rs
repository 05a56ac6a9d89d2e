//! Casts of operands where DataFusion's coercion chooses a wrong type.
//!
//! Operands meet in comparisons, differences, `CASE`, unions and a few functions. DataFusion makes decimals of
//! floats there, and nanoseconds of dates. The rule is one walk from the leaves of a plan to its root, for whoever
//! looks at the type of an operand needs the types of all that is below it:
//!
//! ```text
//! inputs of a node ──▶ its schema ──▶ queries in its expressions ──▶ its expressions, from their leaves up:
//!                                     (they know the new schema)     rewrites ─▶ operands that meet ─▶ late rewrites
//! ```
//!
//! `operands.rs` knows where operands meet, `numbers.rs` and `times.rs` what becomes of them, `recursive.rs` gives a
//! recursive query the types of its first rows, and `coerced.rs` lets DataFusion coerce a query in an expression by
//! the columns that the query around it really has.

mod coerced;
mod numbers;
mod operands;
mod recursive;
mod times;

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Subquery, Union};
use datafusion::optimizer::{Analyzer, AnalyzerRule};

pub(crate) use numbers::number_of;

use super::subqueries::{is_lateral, references};
use crate::numbers::{input_schema, map_named};

/// A rewrite of an expression whose operands have their types.
type Rewrite = Arc<dyn FunctionRewrite + Send + Sync>;

/// Puts the rule in front of DataFusion's coercion: with rewrites that come before operands meet, and late ones
/// that see the types which operands have then.
pub(super) fn install(analyzer: &mut Analyzer, rewrites: Vec<Rewrite>, late: Vec<Rewrite>) {
    let rules = &mut analyzer.rules;
    let coerces = |rule: &Arc<dyn AnalyzerRule + Send + Sync>| rule.name() == "type_coercion";
    let place = rules.iter().position(coerces).expect("DataFusion coerces types");
    rules[place] = Arc::new(coerced::Coerced::around(Arc::clone(&rules[place])));
    rules.insert(place, Arc::new(FinalTypes { rewrites, late }));
}

/// A view's plan with these types: DataFusion coerces it as it creates the view, before any rule of ours. The others
/// wait for the queries that read it: what marks keys and names for them stays.
pub(crate) fn of_view(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut rules = state.analyzer().rules.iter().filter(|rule| rule.name() == NAME);
    rules.try_fold(plan, |plan, rule| rule.analyze(plan, state.config_options()))
}

const NAME: &str = "final_types";

/// The rule. See the module.
#[derive(Debug)]
struct FinalTypes {
    rewrites: Vec<Rewrite>,
    late: Vec<Rewrite>,
}

impl AnalyzerRule for FinalTypes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = config.execution.time_zone.as_deref().unwrap_or("UTC").into();
        Walk { rule: self, config, zone, has_changed: false }.plan(plan)
    }
}

/// A walk through a plan.
struct Walk<'a> {
    rule: &'a FinalTypes,
    config: &'a ConfigOptions,
    /// The session's time zone.
    zone: Arc<str>,
    /// True once an expression was replaced: schemas above are made anew, for columns may have other types.
    has_changed: bool,
}

/// The types of columns.
fn types_of(schema: &DFSchema) -> Vec<DataType> {
    schema.fields().iter().map(|field| field.data_type().clone()).collect()
}

impl Walk<'_> {
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = match plan {
            LogicalPlan::Join(join) => LogicalPlan::Join(self.inputs_of_join(join)?),
            LogicalPlan::Union(union) => LogicalPlan::Union(self.inputs_of_union(union)?),
            LogicalPlan::RecursiveQuery(query) => self.terms_of_recursive(query)?,
            plan => plan.map_children(|input| self.plan(input).map(Transformed::yes))?.data,
        };
        self.node(plan)
    }

    /// The left side first: a lateral query on the right names its columns.
    fn inputs_of_join(&mut self, mut join: Join) -> Result<Join> {
        join.left = Arc::new(self.plan(Arc::unwrap_or_clone(join.left))?);
        let right = Arc::unwrap_or_clone(join.right);
        let right = match self.has_changed && is_lateral(&right) {
            true => references::refreshed(right, join.left.schema())?.data,
            false => right,
        };
        join.right = Arc::new(self.plan(right)?);
        Ok(join)
    }

    /// `a UNION ALL b UNION ALL c` is one union: a written number in `a` is what all three make of it.
    fn inputs_of_union(&mut self, union: Union) -> Result<Union> {
        let mut inputs = Vec::new();
        let mut rest: Vec<_> = union.inputs.into_iter().rev().collect();
        while let Some(input) = rest.pop() {
            match Arc::unwrap_or_clone(input) {
                LogicalPlan::Union(inner) => rest.extend(inner.inputs.into_iter().rev()),
                input => {
                    // `UNION BY NAME` gives its inputs the types of the first one, whatever they have.
                    let input = references::with_own_schema(self.plan(input)?)?;
                    inputs.push(Arc::new(input));
                }
            }
        }
        let before = union.schema;
        let union = references::of_coerced_types(Union { inputs, schema: Arc::clone(&before) })?;
        self.has_changed |= types_of(&before) != types_of(&union.schema);
        Ok(union)
    }

    /// A node whose inputs have their types.
    fn node(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let node = if self.has_changed { references::with_own_schema(node)? } else { node };
        let schema = input_schema(&node)?;
        let rewritten = map_named(node, |expr| expr.transform_up(|expr| self.expr(expr, &schema)))?;
        let met = rewritten.transform_data(|node| operands::meet_in_node(node, &self.zone))?;
        if !met.transformed {
            return Ok(met.data);
        }
        self.has_changed = true;
        match met.data {
            LogicalPlan::Values(values) => LogicalPlanBuilder::values(values.values)?.build(),
            node => references::with_own_schema(node),
        }
    }

    /// An expression whose operands have their types.
    fn expr(&mut self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let rewritten = self.rewritten(&self.rule.rewrites, expr, schema)?;
        let rewritten = rewritten.transform_data(|expr| self.query(expr, schema))?;
        let met =
            rewritten.transform_data(|expr| operands::meet_in_expr(expr, schema, &self.zone))?;
        met.transform_data(|expr| self.rewritten(&self.rule.late, expr, schema))
    }

    fn rewritten(
        &self,
        rewrites: &[Rewrite],
        expr: Expr,
        schema: &DFSchema,
    ) -> Result<Transformed<Expr>> {
        rewrites.iter().try_fold(Transformed::no(expr), |expr, rewrite| {
            expr.transform_data(|expr| rewrite.rewrite(expr, schema, self.config))
        })
    }

    /// A query in an expression over rows of this schema.
    fn query(&mut self, expr: Expr, rows: &DFSchema) -> Result<Transformed<Expr>> {
        let inner = references::map_subquery(expr, |query| self.inner(query, rows))?;
        Ok(Transformed::new_transformed(inner.data, inner.transformed && self.has_changed))
    }

    fn inner(&mut self, query: Subquery, rows: &DFSchema) -> Result<Subquery> {
        let plan = Arc::unwrap_or_clone(query.subquery);
        let plan = match self.has_changed {
            true => references::refreshed(plan, rows)?.data,
            false => plan,
        };
        let plan = self.plan(plan)?;
        Ok(match self.has_changed {
            true => references::subquery(plan, query.spans),
            false => Subquery { subquery: Arc::new(plan), ..query },
        })
    }
}
