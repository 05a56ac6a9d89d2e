//! Limits that no sort moves through.
//!
//! While DataFusion puts sorts and exchanges where operators need them, it moves the sort of an outer
//! query into the inner one, also below a `LIMIT` or an `OFFSET`, and drops the inner sort or gives the
//! outer one the limit's number of rows without those that are skipped:
//!
//! ```text
//! select * from (select v, w from t order by v limit 3 offset 2) order by v, w
//!
//! Sort: v, w                               GlobalLimit: skip=2, fetch=3
//!   GlobalLimit: skip=2, fetch=3     ──▶     Sort: v, w, fetch=3            1 row in place of 3
//!     Sort: v, fetch=5
//! ```
//!
//! The limit of a sort it moves below windows, filters, joins and aggregates that need all rows, or it drops it
//! with the sort:
//!
//! ```text
//! select a, row_number() over (partition by a order by k), count(*) over () from t order by a, k limit 3
//!
//! Sort: a, k, fetch=3                      Window: count(*) over ()                   counts 3 rows
//!   Window: count(*) over ()         ──▶     SortPreservingMerge: a, k, fetch=3
//!     Window: row_number() …                   Window: row_number() …
//! ```
//!
//! While that rule runs, each limit is an operator that requires the order its rows have and lets no other one
//! through ([`HeldLimit`]). It never executes. A sort with a limit is one that lets no order through either
//! ([`HeldSort`]), or such a limit alone if its rows are sorted already.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_expr::{LexOrdering, OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties, replace_children_if_necessary,
};

use super::around::Around;
use super::held_sorts::HeldSort;

/// Holds limits around DataFusion's rule that moves sorts, in a session's rules.
pub(crate) fn with_held_limits(builder: SessionStateBuilder) -> SessionStateBuilder {
    let around = Around {
        rules: &["EnsureRequirements"],
        is_changed: |node| node.is::<GlobalLimitExec>() || sort_with_limit(node).is_some(),
        change: |node| match (node.downcast_ref::<GlobalLimitExec>(), sort_with_limit(&node)) {
            (Some(limit), _) => held(limit),
            (None, Some(sort)) => held_sort(sort),
            (None, None) => Ok(node),
        },
        restore: |node| match (node.downcast_ref::<HeldLimit>(), node.downcast_ref::<HeldSort>()) {
            (Some(limit), _) => Some(Arc::new(limit.limit())),
            (None, sort) => Some(sort?.sort()),
        },
    };
    around.install(builder)
}

/// A sort of all rows with a limit.
fn sort_with_limit(node: &Arc<dyn ExecutionPlan>) -> Option<&SortExec> {
    let sort = node.downcast_ref::<SortExec>()?;
    (sort.fetch().is_some() && !sort.preserve_partitioning()).then_some(sort)
}

fn held_sort(sort: &SortExec) -> Result<Arc<dyn ExecutionPlan>> {
    let (known, order) = (sort.input().equivalence_properties(), sort.expr());
    if !known.ordering_satisfy(order.iter().cloned())? {
        return Ok(Arc::new(HeldSort::new(sort)));
    }
    let mut limit = GlobalLimitExec::new(Arc::new(sort.with_fetch(None)), 0, sort.fetch());
    limit.set_required_ordering(Some(order.clone()));
    Ok(Arc::new(HeldLimit::new(&limit)))
}

/// The limit, held, below projections: they may drop the columns that its rows are sorted by.
fn held(limit: &GlobalLimitExec) -> Result<Arc<dyn ExecutionPlan>> {
    let projection = limit.input();
    if !projection.is::<ProjectionExec>() || limit.required_ordering().is_some() {
        return Ok(Arc::new(HeldLimit::new(limit)));
    }
    let inputs = projection
        .children()
        .into_iter()
        .map(|input| held(&GlobalLimitExec::new(Arc::clone(input), limit.skip(), limit.fetch())));
    let inputs = inputs.collect::<Result<_>>()?;
    replace_children_if_necessary(Arc::clone(projection), inputs)
}

/// A limit whose input keeps its order.
#[derive(Debug)]
struct HeldLimit {
    input: Arc<dyn ExecutionPlan>,
    skip: usize,
    fetch: Option<usize>,
    /// The order that the rows are counted in, if they are sorted.
    order: Option<LexOrdering>,
    /// The order that the limit itself requires.
    required: Option<LexOrdering>,
    properties: Arc<PlanProperties>,
}

impl HeldLimit {
    fn new(limit: &GlobalLimitExec) -> Self {
        Self {
            input: Arc::clone(limit.input()),
            skip: limit.skip(),
            fetch: limit.fetch(),
            order: sorted_by(limit.input()).cloned(),
            required: limit.required_ordering().clone(),
            properties: Arc::clone(limit.properties()),
        }
    }

    fn limit(&self) -> GlobalLimitExec {
        let mut limit = GlobalLimitExec::new(Arc::clone(&self.input), self.skip, self.fetch);
        limit.set_required_ordering(self.required.clone());
        limit
    }
}

/// The order that rows are sorted in. Others that they also have, such as that of a file, decide nothing.
fn sorted_by(mut plan: &Arc<dyn ExecutionPlan>) -> Option<&LexOrdering> {
    loop {
        if let Some(sort) = plan.downcast_ref::<SortExec>() {
            return Some(sort.expr());
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            return Some(merge.expr());
        }
        match (plan.children().as_slice(), plan.maintains_input_order().as_slice()) {
            ([input], [true]) if input.schema() == plan.schema() => plan = *input,
            _ => return None,
        }
    }
}

impl DisplayAs for HeldLimit {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "HeldLimit: skip={}, fetch={:?}", self.skip, self.fetch)
    }
}

impl ExecutionPlan for HeldLimit {
    fn name(&self) -> &'static str {
        "HeldLimit"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    /// No: then the rule moves no sort through it. The order that it requires is one of its rows
    /// all the same, see [`Self::properties`].
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return internal_err!("a limit has an input") };
        let mut limit = GlobalLimitExec::new(input, self.skip, self.fetch);
        limit.set_required_ordering(self.required.clone());
        Ok(Arc::new(Self { order: self.order.clone(), ..Self::new(&limit) }))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a held limit never executes")
    }
}
