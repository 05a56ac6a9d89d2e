//! Subqueries that DataFusion answers wrongly or refuses become joins here.
//!
//! DataFusion decorrelates `IN` and `EXISTS` in filters to semi, anti and mark joins, and scalar
//! subqueries over one aggregate to left joins. That is right, and fast, for the shapes of
//! [`shape`], which stay as they are. It is wrong or refused for the rest:
//!
//! - `IN` is true, false **or null**. DataFusion's mark join knows no null, and its null-aware anti
//!   join only holds for one key that is a column (#25340). [`quantified`] writes the third value
//!   out as `EXISTS`.
//! - An aggregate without `GROUP BY` has a row even over nothing (#24960), a `LIMIT` counts per
//!   outer row, a subquery may stand in any clause and compare in any way. [`domain`] computes the
//!   subquery for all outer values at once.
//!
//! Nodes are rewritten from the bottom up, and the subqueries of a node before the node. So when a
//! node is rewritten, each subquery that is left in its inputs refers to its own inputs alone.

mod domain;
mod exists;
mod freed;
mod lateral;
mod limit;
mod node;
mod quantified;
pub(super) mod references;
mod several;
mod shape;

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Subquery};
use datafusion::optimizer::AnalyzerRule;

pub(super) use freed::FreedLaterals;
pub(super) use lateral::is_lateral;

use super::refused::refuse_outer_aggregates;
use super::reserved::reserved;

/// The rule. See the module.
#[derive(Debug, Default)]
pub(super) struct Subqueries;

impl AnalyzerRule for Subqueries {
    fn name(&self) -> &'static str {
        "subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        if !has_subqueries(&plan)? {
            return Ok(plan);
        }
        refuse_outer_aggregates(&plan)?;
        Rewriter::default().plan(plan)
    }
}

/// The state of one run of the rule.
#[derive(Debug, Default)]
struct Rewriter {
    /// Relations named so far.
    named: Cell<usize>,
    /// Subqueries around the plan that is rewritten.
    depth: usize,
}

impl Rewriter {
    /// A relation that no other one of this query is called.
    fn relation(&self, what: &str) -> TableReference {
        let number = self.named.get() + 1;
        self.named.set(number);
        TableReference::bare(reserved(format_args!("{what}_{number}")))
    }

    /// Rewrites a plan and everything in it. The names and types of its columns stay; those that
    /// come from a subquery may be null afterwards, and so may what is made of them above.
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_up(|node| self.node(node.recompute_schema()?).map(Transformed::yes)).data()
    }

    /// Rewrites a node over inputs that have been rewritten.
    fn node(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if let LogicalPlan::Join(join) = plan {
            return self.join(join);
        }
        if !mentions_subquery(&plan)? {
            return Ok(plan);
        }
        let plan = self.inner_plans(plan)?;
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Sort(sort) => self.sort(sort),
            other => Ok(other),
        }
    }

    /// Rewrites the plans of a node's own subqueries.
    fn inner_plans(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let rows = merge_schema(&plan.inputs());
        self.depth += 1;
        let rewritten = plan.map_expressions(|expr| {
            expr.transform_up(|expr| {
                let is_list = matches!(expr, Expr::InSubquery(_));
                references::map_subquery(expr, |query| {
                    let query = self.inner_plan(query, &rows)?;
                    if is_list { self.with_own_name(query) } else { Ok(query) }
                })
            })
        });
        self.depth -= 1;
        rewritten.data()
    }

    /// The subquery of an `IN` whose column, if it is computed, has a name of its own. A cast is called
    /// as the column that it casts, and DataFusion adds that column beside it.
    fn with_own_name(&self, subquery: Subquery) -> Result<Subquery> {
        let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else {
            return Ok(subquery);
        };
        let [item] = projection.expr.as_slice() else { return Ok(subquery) };
        if matches!(item, Expr::Column(_) | Expr::Alias(_)) {
            return Ok(subquery);
        }
        let named = item.clone().alias(self.relation("item").table());
        let named = Projection::try_new(vec![named], Arc::clone(&projection.input))?;
        Ok(references::subquery(LogicalPlan::Projection(named), subquery.spans))
    }

    fn inner_plan(&mut self, subquery: Subquery, rows: &DFSchema) -> Result<Subquery> {
        let plan = Arc::unwrap_or_clone(subquery.subquery);
        let plan = self.plan(references::refreshed(plan, rows)?.data)?;
        Ok(references::subquery(plan, subquery.spans))
    }
}

fn is_subquery(expr: &Expr) -> bool {
    references::query_of(expr).is_some()
}

fn holds_subquery(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok(is_subquery(expr)))
}

/// Returns true if an expression of this very node is or holds a subquery.
fn mentions_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= holds_subquery(expr)?;
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Returns true if there is anything to do: most plans have no subquery.
fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Subquery(_)) || mentions_subquery(node)?))
}
