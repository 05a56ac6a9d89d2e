//! Rows of which less is known.
//!
//! DataFusion drops a sort where rows are known to be in its order already. It knows too much:
//!
//! - Which columns have no value twice: the keys of a `GROUP BY`. Rows in the order of such a column count as
//!   sorted by any keys after it. A projection keeps the claim by the places of the columns, whatever it
//!   puts into these places.
//! - What several sorted inputs become: a merge by one order claims every order that its inputs have, and a hash
//!   join puts the order of its build side behind that of the other one.
//! - Several orders that a table is declared to have: they are taken apart and put together to others.
//! - Which columns have one value after a filter: those whose least and greatest values in the files leave no
//!   other. That is true, but executors don't know it: they never see what the driver has read of files, and
//!   would find the rows sorted by other columns than the driver.
//!
//! The driver puts this operator where such a claim is false, or can't be seen by executors.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNodeIterator, TreeNodeRecursion};
use datafusion::common::{Constraints, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use datafusion_proto::physical_plan::from_proto::parse_physical_sort_exprs;
use datafusion_proto::physical_plan::to_proto::serialize_physical_sort_exprs;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use prost::Message;

use crate::stand_in::StandIn;
use crate::tree::with_children;

/// The rows of its input, without the claim that a column has no value twice, nor that one has a single value
/// because files say so.
#[derive(Debug)]
pub struct UnclaimedExec {
    input: Arc<dyn ExecutionPlan>,
    /// The keys of the only order that it claims, of those of its input: none, if there are no keys. All orders
    /// if absent.
    keys: Option<Vec<PhysicalSortExpr>>,
    properties: Arc<PlanProperties>,
}

impl UnclaimedExec {
    /// The rows of `input`, in all orders that these have.
    ///
    /// # Errors
    /// None that is known.
    pub fn in_any_order(input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::new(input, None)
    }

    /// The rows of `input`: in this order, if these are, and in no other one that is known.
    ///
    /// # Errors
    /// When the keys can't be compared with what is known of the rows.
    pub fn in_order(input: Arc<dyn ExecutionPlan>, ordering: LexOrdering) -> Result<Self> {
        Self::new(input, Some(ordering.into()))
    }

    /// The rows of `input`, in no order that is known.
    ///
    /// # Errors
    /// None that is known.
    pub fn in_no_order(input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::new(input, Some(Vec::new()))
    }

    fn new(input: Arc<dyn ExecutionPlan>, keys: Option<Vec<PhysicalSortExpr>>) -> Result<Self> {
        let mut known = without_files(&input)?;
        known.set_constraints(Constraints::default());
        if let Some(keys) = &keys {
            let has_it = known.ordering_satisfy(keys.iter().cloned())?;
            known.clear_orderings();
            if has_it {
                known.add_ordering(keys.iter().cloned());
            }
        }
        let properties = PlanProperties::clone(input.properties()).with_eq_properties(known);
        Ok(Self { input, keys, properties: Arc::new(properties) })
    }
}

/// Returns true for a filter that takes a column for a constant because of what files say of their values.
///
/// # Errors
/// When the filter can't be made over another input.
pub fn knows_constants_of_files(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let constants = plan.equivalence_properties().constants().len();
    // Most filters make no constants at all.
    Ok(constants > 0
        && plan.is::<FilterExec>()
        && without_files(plan)?.constants().len() < constants)
}

/// The orders and constants of an operator's rows, as far as an executor knows them too. Only filters know more in the
/// driver: they look at the least and greatest values that files state.
fn without_files(plan: &Arc<dyn ExecutionPlan>) -> Result<EquivalenceProperties> {
    if !plan.is::<FilterExec>() {
        return Ok(plan.equivalence_properties().clone());
    }
    let alone = with_children(Arc::clone(plan), StandIn::for_inputs(plan))?;
    Ok(alone.equivalence_properties().clone())
}

/// An [`UnclaimedExec`] on the wire; its input travels as its child.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UnclaimedMessage {
    /// The keys of the only order that it claims.
    #[prost(message, repeated, tag = "1")]
    keys: Vec<protobuf::PhysicalSortExprNode>,
    /// True if it claims all orders of its input.
    #[prost(bool, tag = "2")]
    keeps_orders: bool,
}

impl UnclaimedExec {
    pub(crate) fn encode(
        &self,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<UnclaimedMessage> {
        let keys = self.keys.iter().flatten().cloned();
        let keys = serialize_physical_sort_exprs(keys, codec, converter)?;
        Ok(UnclaimedMessage { keys, keeps_orders: self.keys.is_none() })
    }

    pub(crate) fn decode(
        message: &UnclaimedMessage,
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Self> {
        let [input] = inputs else {
            return internal_err!("rows of which less is known have one input");
        };
        let schema = input.schema();
        let keys = parse_physical_sort_exprs(&message.keys, context, &schema, converter)?;
        Self::new(Arc::clone(input), (!message.keeps_orders).then_some(keys))
    }
}

impl DisplayAs for UnclaimedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnclaimedExec")?;
        let Some(keys) = &self.keys else { return Ok(()) };
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        write!(f, ": [{}]", keys.join(", "))
    }
}

impl ExecutionPlan for UnclaimedExec {
    fn name(&self) -> &'static str {
        "UnclaimedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// False where orders of the input are not claimed: then DataFusion looks for none below.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.keys.is_none()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else {
            return internal_err!("rows of which less is known have one input");
        };
        Ok(Arc::new(Self::new(Arc::clone(input), self.keys.clone())?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.keys.iter().flatten().apply_until_stop(|key| visit(&key.expr))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&inputs[0]))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(child_pushdown_result))
    }
}
