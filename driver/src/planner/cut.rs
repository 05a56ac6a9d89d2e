//! Cutting a plan into stages at its exchanges.
//!
//! ```text
//! RepartitionExec            stage placed by its partitioning   reader: Shuffle, or Ordered
//! CoalescePartitionsExec     stage with one output partition    reader: Gather
//! SortPreservingMergeExec    stage with one output partition    merge of a reader: Merge
//! collected side of a join   broadcast stage                    reader: Gather
//! ScalarSubqueryExec         a stage per subquery whose value is bound into its readers
//! ```
//!
//! Everything else stays in the stage it is in, a recursive query whole.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use gnist_common::graph::InputMode;
use gnist_operators::encoder::Encoder;
use gnist_operators::placement::Placement;
use gnist_operators::reader::{ReadMode, StageReaderExec};
use gnist_operators::tree::with_children;

use super::order::{after_exchange, of_several_tasks, sorted_by, sorted_where_required};
use super::{DraftOutput, RangeSort, When};

pub(super) type Plan = Arc<dyn ExecutionPlan>;
pub(super) type Inputs = Vec<(usize, InputMode)>;

/// A stage as it was cut out, not encoded yet.
#[derive(Debug)]
pub(super) struct CutStage {
    pub(super) plan: Plan,
    pub(super) placement: Placement,
    pub(super) output: DraftOutput,
    pub(super) inputs: Inputs,
    /// Number of tasks, when it is not the number of the plan's partitions.
    pub(super) tasks: Option<usize>,
    /// The condition on which the job has this stage; always if none.
    pub(super) when: Option<When>,
}

/// Cuts one query.
#[derive(Debug)]
pub(super) struct Cutter {
    pub(super) drafts: Vec<CutStage>,
    pub(super) encoder: Encoder,
    pub(super) bindings: usize,
    pub(super) sorts: Vec<RangeSort>,
}

impl Cutter {
    pub(super) fn new(encoder: Encoder) -> Self {
        Self { drafts: Vec::new(), encoder, bindings: 0, sorts: Vec::new() }
    }

    /// Cuts a plan whose rows go to the driver.
    pub(super) fn cut_root(&mut self, plan: Plan, output: DraftOutput) -> Result<usize> {
        self.add(plan, Placement::Single, output)
    }

    pub(super) fn add(
        &mut self,
        plan: Plan,
        placement: Placement,
        output: DraftOutput,
    ) -> Result<usize> {
        let mut inputs = Inputs::new();
        let plan = sorted_where_required(self.cut(plan, &mut inputs)?)?;
        Ok(self.push(CutStage { plan, placement, output, inputs, tasks: None, when: None }))
    }

    /// Adds a stage whose tasks each sort their rows by `ordering`, if they are not sorted already.
    pub(super) fn add_sorted(&mut self, plan: Plan, ordering: &LexOrdering) -> Result<usize> {
        let stage = self.add(plan, Placement::Single, DraftOutput::Exchange)?;
        let draft = &mut self.drafts[stage];
        draft.plan = sorted_by(Arc::clone(&draft.plan), ordering)?;
        Ok(stage)
    }

    /// Returns the properties that really hold in each task of a stage that was cut out.
    pub(super) fn equivalence_of(&self, stage: usize) -> EquivalenceProperties {
        self.drafts[stage].plan.equivalence_properties().clone()
    }

    pub(super) fn push(&mut self, stage: CutStage) -> usize {
        self.drafts.push(stage);
        self.drafts.len() - 1
    }

    /// The part of `plan` that stays in the current stage.
    fn cut(&mut self, plan: Plan, inputs: &mut Inputs) -> Result<Plan> {
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            return self.cut_repartition(repartition, inputs);
        }
        if let Some(gather) = plan.downcast_ref::<CoalescePartitionsExec>() {
            return self.cut_gather(gather, inputs);
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            return self.cut_merge(merge, inputs);
        }
        if let Some(subqueries) = plan.downcast_ref::<ScalarSubqueryExec>() {
            return self.cut_subqueries(subqueries, inputs);
        }
        // A recursive query is one task, with DataFusion's own exchanges inside.
        if plan.is::<RecursiveQueryExec>() {
            return Ok(plan);
        }
        let collected = collects_its_left_side(plan.as_ref());
        let mut children = Vec::new();
        for (side, child) in plan.children().into_iter().enumerate() {
            let child = Arc::clone(child);
            children.push(if collected && side == 0 {
                self.cut_collected(child, inputs)?
            } else {
                self.cut(child, inputs)?
            });
        }
        with_children(plan, children)
    }

    fn cut_repartition(&mut self, exchange: &RepartitionExec, inputs: &mut Inputs) -> Result<Plan> {
        let partitioning = exchange.partitioning().clone();
        let placement = Placement::Partitioned(partitioning.clone());
        // Dealing rows out before another exchange places them only costs a copy of the data.
        let input = skip_round_robin(exchange.input());
        let stage = self.add(input, placement, DraftOutput::Exchange)?;
        let (mode, equivalence) = after_exchange(exchange, &self.drafts[stage].plan);
        Ok(reader(inputs, stage, mode, equivalence, partitioning))
    }

    fn cut_gather(&mut self, gather: &CoalescePartitionsExec, inputs: &mut Inputs) -> Result<Plan> {
        let input = skip_round_robin(gather.input());
        let fetch = gather.fetch();
        if input.output_partitioning().partition_count() == 1 {
            let kept = self.cut(input, inputs)?;
            return Ok(limited(kept, fetch));
        }
        let input = match fetch {
            Some(rows) => Arc::new(LocalLimitExec::new(input, rows)) as Plan,
            None => input,
        };
        let stage = self.add(input, Placement::Single, DraftOutput::Exchange)?;
        let equivalence = of_several_tasks(self.equivalence_of(stage));
        let one = Partitioning::UnknownPartitioning(1);
        let kept = reader(inputs, stage, ReadMode::Gather, equivalence, one);
        Ok(limited(kept, fetch))
    }

    fn cut_merge(&mut self, merge: &SortPreservingMergeExec, inputs: &mut Inputs) -> Result<Plan> {
        let input = Arc::clone(merge.input());
        let runs = input.output_partitioning().partition_count();
        let kept = if runs == 1 {
            self.cut(input, inputs)?
        } else {
            let stage = self.add_sorted(input, merge.expr())?;
            let equivalence = self.equivalence_of(stage);
            let runs = Partitioning::UnknownPartitioning(runs);
            reader(inputs, stage, ReadMode::Merge, equivalence, runs)
        };
        let merge =
            SortPreservingMergeExec::new(merge.expr().clone(), kept).with_fetch(merge.fetch());
        Ok(Arc::new(merge))
    }

    /// The collected side of a join: read whole by every task, so fetched once per executor.
    fn cut_collected(&mut self, side: Plan, inputs: &mut Inputs) -> Result<Plan> {
        let input = match side.downcast_ref::<CoalescePartitionsExec>() {
            Some(gather) if gather.fetch().is_none() => skip_round_robin(gather.input()),
            _ => side,
        };
        let stage = self.add(input, Placement::Single, DraftOutput::Broadcast)?;
        let equivalence = of_several_tasks(self.equivalence_of(stage));
        let one = Partitioning::UnknownPartitioning(1);
        Ok(reader(inputs, stage, ReadMode::Gather, equivalence, one))
    }

    fn cut_subqueries(
        &mut self,
        subqueries: &ScalarSubqueryExec,
        inputs: &mut Inputs,
    ) -> Result<Plan> {
        let links = subqueries.subqueries();
        let first = self.bindings;
        self.bindings += links.len();
        self.encoder.bind_subqueries(subqueries.results().clone(), first);
        for link in links {
            let binding = first + link.index.as_usize();
            // A second row is an error, and all others are not fetched for it.
            let fetch = (!makes_one_row(link.plan.as_ref())).then_some(2);
            let value = limited(gathered(Arc::clone(&link.plan)), fetch);
            self.cut_root(value, DraftOutput::Value { binding })?;
        }
        self.cut(Arc::clone(subqueries.input()), inputs)
    }
}

/// Reads stage `stage` as the next input.
pub(super) fn reader(
    inputs: &mut Inputs,
    stage: usize,
    mode: ReadMode,
    equivalence: EquivalenceProperties,
    partitioning: Partitioning,
) -> Plan {
    let input_mode = match mode {
        ReadMode::Shuffle | ReadMode::Runs | ReadMode::Ordered { .. } => InputMode::Partition,
        ReadMode::Gather | ReadMode::Merge => InputMode::All,
        ReadMode::Each => InputMode::Task,
    };
    inputs.push((stage, input_mode));
    Arc::new(StageReaderExec::new(inputs.len() - 1, mode, equivalence, partitioning))
}

fn skip_round_robin(plan: &Plan) -> Plan {
    match plan.downcast_ref::<RepartitionExec>() {
        Some(exchange) if matches!(exchange.partitioning(), Partitioning::RoundRobinBatch(_)) => {
            Arc::clone(exchange.input())
        }
        _ => Arc::clone(plan),
    }
}

fn gathered(plan: Plan) -> Plan {
    if plan.output_partitioning().partition_count() == 1 {
        plan
    } else {
        Arc::new(CoalescePartitionsExec::new(plan))
    }
}

/// Returns true for aggregates of all rows.
fn makes_one_row(plan: &dyn ExecutionPlan) -> bool {
    match plan.downcast_ref::<AggregateExec>() {
        Some(aggregate) => {
            aggregate.group_expr().is_empty() && *aggregate.mode() != AggregateMode::Partial
        }
        None if plan.is::<ProjectionExec>() => makes_one_row(plan.children()[0].as_ref()),
        None => false,
    }
}

fn limited(plan: Plan, fetch: Option<usize>) -> Plan {
    match fetch {
        Some(rows) => Arc::new(GlobalLimitExec::new(plan, 0, Some(rows))),
        None => plan,
    }
}

/// True if a join reads its whole left side in every one of its partitions.
pub(super) fn collects_its_left_side(plan: &dyn ExecutionPlan) -> bool {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return matches!(join.partition_mode(), PartitionMode::CollectLeft);
    }
    plan.downcast_ref::<NestedLoopJoinExec>().is_some()
        || plan.downcast_ref::<CrossJoinExec>().is_some()
}
