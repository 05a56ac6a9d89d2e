//! Orders that a merge does not keep.
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
//! It also sorts the inputs of such a merge by more keys, where something above needs them, and merges by
//! the few. So once the rule has run, each merge gets inputs that claim nothing but the order it merges by
//! ([`UnclaimedExec`]), and what is no longer promised is sorted. If nothing is missing, the plan stays as
//! it was.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};
use gnist_operators::unclaimed::UnclaimedExec;

use super::order::{lacks_no_order, sorted_where_required};

type Plan = Arc<dyn ExecutionPlan>;

/// DataFusion's rule that drops sorts.
const DROPS_SORTS: &str = "EnsureRequirements";

/// Keeps sorts above merges, in a session's rules: around the rule that drops sorts, while limits say which
/// order they need.
pub(crate) fn with_merged_orders(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    for rule in &mut builder.physical_optimizers().get_or_insert_default().rules {
        if rule.name() == DROPS_SORTS {
            *rule = Arc::new(MergedOrders { inner: Arc::clone(rule) });
        }
    }
    builder
}

/// The rule, and what it does too much taken back.
#[derive(Debug)]
struct MergedOrders {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for MergedOrders {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        let made = self.inner.optimize(plan, config)?;
        let honest = Arc::clone(&made).transform_up(claiming_one_order)?;
        if !honest.transformed || lacks_no_order(&honest.data)? {
            return Ok(made);
        }
        sorted_where_required(honest.data)
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

/// The merge over inputs that claim one order, if they claim more.
fn claiming_one_order(merge: Plan) -> Result<Transformed<Plan>> {
    let Some(ordering) = merged_by(&merge) else { return Ok(Transformed::no(merge)) };
    let of_one_order = |input: &Plan| -> Result<Plan> {
        Ok(Arc::new(UnclaimedExec::in_order(Arc::clone(input), ordering.clone())?))
    };
    let inputs = merge.children().into_iter().map(of_one_order).collect::<Result<_>>()?;
    let honest = replace_children_if_necessary(Arc::clone(&merge), inputs)?;
    for claimed in merge.equivalence_properties().oeq_class().iter() {
        if !honest.equivalence_properties().ordering_satisfy(claimed.iter().cloned())? {
            return Ok(Transformed::yes(honest));
        }
    }
    Ok(Transformed::no(merge))
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
