//! Orders that an operator does not keep.
//!
//! Several sorted inputs that are merged by one order have that order afterwards, and no other one that each
//! of them had. DataFusion takes the rows for sorted by all of them, and drops a sort above:
//!
//! ```text
//! create external table t (a int, b int) ... with order (a) with order (b)
//! select * from (select * from t order by a limit 100) order by b
//!
//! Sort: b                                  left out
//!   SortPreservingMerge: a, fetch=100      of two files: each is in the order of a and of b
//! ```
//!
//! DataFusion also sorts the inputs of such a merge by more keys, where something above needs them, and merges by
//! the few. Of a hash join it puts the order of the build side behind that of the other one, as if no row of the
//! latter had an equal; and it keeps an order in groups that may be written to disk and come back in another one.
//!
//! Once DataFusion's rule has run, the inputs of such operators claim nothing but the order that is kept
//! ([`UnclaimedExec`]), and what is no longer promised is sorted. A table claims one order: of several, DataFusion
//! takes parts and puts them together to others.
//!
//! Before the rule runs, filters forget which columns have one value by what files say of their values
//! ([`knows_constants_of_files`]): an executor, which does not know it, would not find the rows sorted.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, InputOrderMode, replace_children_if_necessary,
};
use gnist_operators::unclaimed::{UnclaimedExec, knows_constants_of_files};

use super::order::sorted_where_required;

type Plan = Arc<dyn ExecutionPlan>;

/// DataFusion's rule that drops sorts.
const DROPS_SORTS: &str = "EnsureRequirements";

/// Keeps sorts above merges, in a session's rules: around the rule that drops sorts, while limits say which
/// order they need.
pub(crate) fn with_kept_orders(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    for rule in &mut builder.physical_optimizers().get_or_insert_default().rules {
        if rule.name() == DROPS_SORTS {
            *rule = Arc::new(KeptOrders { inner: Arc::clone(rule) });
        }
    }
    builder
}

/// The rule, and what it does too much taken back.
#[derive(Debug)]
struct KeptOrders {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for KeptOrders {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        let plan = plan.transform_up(in_one_order).data()?;
        let plan = plan.transform_up(without_constants_of_files).data()?;
        let made = self.inner.optimize(plan, config)?;
        let honest = made.transform_up(claiming_what_is_kept)?;
        if honest.transformed { sorted_where_required(honest.data) } else { Ok(honest.data) }
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

/// The table that claims one order, if it claims more.
fn in_one_order(table: Plan) -> Result<Transformed<Plan>> {
    let orders = table.equivalence_properties().oeq_class();
    if !table.children().is_empty() || orders.len() < 2 {
        return Ok(Transformed::no(table));
    }
    let first = orders.iter().next().cloned().expect("there are two");
    Ok(Transformed::yes(Arc::new(UnclaimedExec::in_order(table, first)?)))
}

/// The rows of a filter without the constants that only the driver knows.
fn without_constants_of_files(plan: Plan) -> Result<Transformed<Plan>> {
    if !knows_constants_of_files(&plan)? {
        return Ok(Transformed::no(plan));
    }
    Ok(Transformed::yes(Arc::new(UnclaimedExec::in_any_order(plan)?)))
}

/// The operator over inputs that claim the orders it keeps, if it claims more.
fn claiming_what_is_kept(plan: Plan) -> Result<Transformed<Plan>> {
    // Most operators claim no order at all, and are not made anew to see it.
    if plan.equivalence_properties().oeq_class().iter().next().is_none() {
        return Ok(Transformed::no(plan));
    }
    let kept = kept(&plan);
    if kept.iter().all(|kept| matches!(kept, Kept::All)) {
        return Ok(Transformed::no(plan));
    }
    let inputs = plan.children().into_iter().cloned().zip(kept);
    let inputs = inputs.map(|(input, kept)| -> Result<Plan> {
        Ok(match kept {
            Kept::All => input,
            Kept::One(ordering) => Arc::new(UnclaimedExec::in_order(input, ordering)?),
            Kept::None => Arc::new(UnclaimedExec::in_no_order(input)?),
        })
    });
    let inputs = inputs.collect::<Result<_>>()?;
    let honest = replace_children_if_necessary(Arc::clone(&plan), inputs)?;
    for claimed in plan.equivalence_properties().oeq_class().iter() {
        if !honest.equivalence_properties().ordering_satisfy(claimed.iter().cloned())? {
            return Ok(Transformed::yes(honest));
        }
    }
    Ok(Transformed::no(plan))
}

/// The orders of an input that an operator keeps.
enum Kept {
    All,
    One(LexOrdering),
    None,
}

/// The orders that an operator keeps of each input; an empty list for one that keeps all.
fn kept(plan: &Plan) -> Vec<Kept> {
    if plan.is::<HashJoinExec>() {
        return vec![Kept::None, Kept::All];
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let is_hashed = *aggregate.input_order_mode() == InputOrderMode::Linear;
        return if is_hashed { vec![Kept::None] } else { Vec::new() };
    }
    merged_by(plan).map(Kept::One).into_iter().collect()
}

/// The order by which an operator merges several inputs.
fn merged_by(plan: &Plan) -> Option<LexOrdering> {
    let children = plan.children();
    let [input] = children.as_slice() else { return None };
    if input.output_partitioning().partition_count() == 1 {
        return None;
    }
    if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
        return Some(merge.expr().clone());
    }
    let exchange = plan.downcast_ref::<RepartitionExec>()?;
    if exchange.preserve_order() { input.output_ordering().cloned() } else { None }
}
