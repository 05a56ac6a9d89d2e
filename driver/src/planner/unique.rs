//! Columns that are taken for unique.
//!
//! DataFusion knows of the rows of a `GROUP BY` that its keys have no values twice, and sorts rows that are
//! in the order of such keys by no further ones. An operator that hands on some columns keeps what is known by
//! the places of the columns, so another column counts as unique:
//!
//! ```text
//! select s, k, rank() over (order by s) from (select count(*) s, k from t group by k) order by s, k
//!
//! Sort: s, k                          left out: s is unique, and the rows are in its order
//!   Window: order by s
//!     Projection: s@1, k@0            column 0 is unique, and now it is s
//!       Aggregate: group by k         column 0 is unique
//! ```
//!
//! Below such an operator, where the claim is true, it ends ([`UnclaimedExec`]), if something in the plan needs an
//! order of several keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Constraint, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};
use gnist_operators::unclaimed::UnclaimedExec;

use super::around::with_first;

type Plan = Arc<dyn ExecutionPlan>;

/// Adds the rule to a session's: the first, for those after it drop sorts by what they know.
pub(crate) fn with_unique_columns(builder: SessionStateBuilder) -> SessionStateBuilder {
    with_first(builder, Arc::new(UniqueColumns))
}

#[derive(Debug)]
struct UniqueColumns;

impl PhysicalOptimizerRule for UniqueColumns {
    fn name(&self) -> &'static str {
        "unique_columns"
    }

    fn optimize(&self, plan: Plan, _: &ConfigOptions) -> Result<Plan> {
        if !plan.exists(|node| Ok(needs_long_order(node)))? {
            return Ok(plan);
        }
        plan.transform_up(without_false_claims).data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The operator over inputs without claims, if it makes false ones of them.
fn without_false_claims(plan: Plan) -> Result<Transformed<Plan>> {
    if !claims_falsely(&plan) {
        return Ok(Transformed::no(plan));
    }
    let inputs = plan.children().into_iter().cloned();
    let inputs = inputs.map(|input| Ok(Arc::new(UnclaimedExec::in_any_order(input)?) as Plan));
    let inputs = inputs.collect::<Result<_>>()?;
    Ok(Transformed::yes(replace_children_if_necessary(plan, inputs)?))
}

fn needs_long_order(plan: &Plan) -> bool {
    let is_long = plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.expr().len() > 1);
    is_long
        || plan
            .required_input_ordering()
            .into_iter()
            .flatten()
            .any(|required| required.into_single().len() > 1)
}

/// Returns true for an operator that takes columns for unique which need not be.
fn claims_falsely(plan: &Plan) -> bool {
    let claimed = unique_columns(plan);
    if claimed.is_empty() {
        return false;
    }
    let children = plan.children();
    let known: Vec<_> = children.iter().flat_map(|child| unique_columns(child)).collect();
    let (sources, keys) = match sources(plan) {
        Some(sources) => sources,
        None => ((0..plan.schema().fields().len()).map(Some).collect(), None),
    };
    claimed.iter().any(|columns| {
        let taken = columns.iter().filter_map(|at| sources.get(*at).copied().flatten());
        let taken: BTreeSet<usize> = taken.collect();
        let are_groups = keys.is_some_and(|keys| (0..keys).all(|key| columns.contains(&key)));
        !are_groups && !known.iter().any(|known| known.is_subset(&taken))
    })
}

/// Returns the column of the input that each column of an operator is, if it is one, and for an
/// aggregate the number of keys that it groups by. None for an operator that does not hand on
/// columns of its input.
fn sources(plan: &Plan) -> Option<(Vec<Option<usize>>, Option<usize>)> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return Some((projection.expr().iter().map(|it| place(&it.expr)).collect(), None));
    }
    if let Some(columns) = plan.downcast_ref::<FilterExec>().and_then(|it| it.projection().as_ref())
    {
        return Some((columns.iter().copied().map(Some).collect(), None));
    }
    let group_by = plan.downcast_ref::<AggregateExec>()?.group_expr();
    let keys = group_by.output_exprs().len();
    let is_single = group_by.is_single();
    let sources = group_by.expr().iter().map(|(expr, _)| place(expr).filter(|_| is_single));
    Some((sources.collect(), Some(keys)))
}

fn place(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// The sets of columns that have no values twice, as far as the operator knows.
fn unique_columns(plan: &Plan) -> Vec<BTreeSet<usize>> {
    let constraints = plan.equivalence_properties().constraints().iter();
    constraints
        .map(|(Constraint::PrimaryKey(columns) | Constraint::Unique(columns))| columns)
        .map(|columns| columns.iter().copied().collect())
        .collect()
}
