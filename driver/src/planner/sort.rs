//! A sort of the whole result: one task merges what is small, many tasks merge a range each of what
//! is large.
//!
//! ```text
//! sorted runs ──at most the threshold──▶ one task merges them all ──▶ result
//!             ──more──▶ sample ──split points──▶ ranges of each run ──▶ a task per range merges ──▶ result
//! ```
//!
//! Which of the two is known when the runs are there: their stage is submitted first, and the graph
//! grows as the driver sees its size. The ranges are results in their order, so the driver reads one
//! after the other.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::physical_planning_context::{ScalarSubqueryResults, SubqueryIndex};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlanProperties, Partitioning};
use gnist_operators::placement::{Placement, Ranges};
use gnist_operators::reader::ReadMode;
use gnist_operators::sample::SampleExec;
use gnist_operators::tree::with_children;
use gnist_operators::unclaimed::UnclaimedExec;
use gnist_operators::write::WriteExec;

use super::cut::{CutStage, Cutter, Inputs, Plan, reader};
use super::{DraftOutput, When};

/// A sort that is one of ranges if it is large.
#[derive(Clone, Debug)]
pub(crate) struct RangeSort {
    /// The draft of the sorted runs.
    pub(crate) runs: usize,
    /// The binding of the sample's stride.
    pub(crate) stride: usize,
    /// The binding of the first split point's first key; the others follow.
    pub(crate) first_point: usize,
    /// Number of split points.
    pub(crate) points: usize,
    /// The direction of each key, and the place of its nulls.
    pub(crate) options: Vec<SortOptions>,
}

/// Row-wise operators over the merge of a result, and the writing of its rows, outermost first.
struct SortedRoot {
    above: Vec<Plan>,
    merge: Plan,
}

impl Cutter {
    /// Cuts a plan whose rows are the job's result.
    pub(super) fn cut_result(&mut self, plan: Plan) -> Result<()> {
        let Some(root) = sorted_root(&plan) else {
            self.cut_root(plan, DraftOutput::Result)?;
            return Ok(());
        };
        let merge = root.merge.downcast_ref::<SortPreservingMergeExec>().expect("looked for");
        let stage = self.add_sorted(Arc::clone(merge.input()), merge.expr())?;
        let sorted = Arc::clone(&self.drafts[stage].plan);
        let runs = Runs { stage, sorted, ordering: merge.expr().clone() };
        self.merge_in_one_task(&root, &runs)?;
        let points = self.bind_points(&runs, runs.count() - 1)?;
        self.sample(&runs, &points)?;
        self.merge_ranges(&root, &runs, points)
    }

    fn merge_in_one_task(&mut self, root: &SortedRoot, runs: &Runs) -> Result<()> {
        let mut inputs = Inputs::new();
        let kept = runs.read(&mut inputs, runs.stage, ReadMode::Merge);
        let plan =
            root.rebuild(Arc::new(SortPreservingMergeExec::new(runs.ordering.clone(), kept)))?;
        self.push(CutStage {
            plan,
            placement: Placement::Single,
            output: DraftOutput::Result,
            inputs,
            tasks: None,
            when: Some(When { stage: runs.stage, is_large: false }),
        });
        Ok(())
    }

    /// Holes for the stride and the split points, filled when the runs and the sample are there.
    fn bind_points(&mut self, runs: &Runs, points: usize) -> Result<Points> {
        let schema = runs.sorted.schema();
        let keys = runs.ordering.iter().map(|key| key.expr.data_type(&schema));
        let keys = keys.collect::<Result<Vec<DataType>>>()?;
        let results = ScalarSubqueryResults::new(1 + points * keys.len());
        let first = self.bindings;
        self.bindings += 1 + points * keys.len();
        self.encoder.bind_subqueries(results.clone(), first);
        let hole = |data_type: &DataType, at: usize| -> Arc<dyn PhysicalExpr> {
            let at = SubqueryIndex::new(at);
            Arc::new(ScalarSubqueryExpr::new(data_type.clone(), true, at, results.clone()))
        };
        let values = (0..points).map(|point| {
            let first = 1 + point * keys.len();
            keys.iter().enumerate().map(|(key, of_type)| hole(of_type, first + key)).collect()
        });
        let split_points = values.collect();
        self.sorts.push(RangeSort {
            runs: runs.stage,
            stride: first,
            first_point: first + 1,
            points,
            options: runs.ordering.iter().map(|key| key.options).collect(),
        });
        Ok(Points { stride: hole(&DataType::UInt64, 0), split_points })
    }

    fn sample(&mut self, runs: &Runs, points: &Points) -> Result<()> {
        let mut inputs = Inputs::new();
        let run = runs.read(&mut inputs, runs.stage, ReadMode::Each);
        let rows = Arc::new(SampleExec::new(run, Arc::clone(&points.stride)));
        let keys = runs.ordering.iter().enumerate();
        let keys = keys.map(|(at, key)| (Arc::clone(&key.expr), format!("key_{at}")));
        let plan = ProjectionExec::try_new(keys.collect::<Vec<_>>(), rows)?;
        self.push(CutStage {
            plan: Arc::new(plan),
            placement: Placement::Single,
            output: DraftOutput::Sample { sort: self.sorts.len() - 1 },
            inputs,
            tasks: None,
            when: Some(When { stage: runs.stage, is_large: true }),
        });
        Ok(())
    }

    fn merge_ranges(&mut self, root: &SortedRoot, runs: &Runs, points: Points) -> Result<()> {
        let when = Some(When { stage: runs.stage, is_large: true });
        let ranges = points.split_points.len() + 1;
        let mut inputs = Inputs::new();
        let plan = runs.read(&mut inputs, runs.stage, ReadMode::Each);
        let ordering = runs.ordering.clone();
        let placement = Placement::Ranges(Ranges { ordering, split_points: points.split_points });
        let output = DraftOutput::Exchange;
        let split = self.push(CutStage { plan, placement, output, inputs, tasks: None, when });

        let mut inputs = Inputs::new();
        let pieces = runs.read(&mut inputs, split, ReadMode::Runs);
        let merge = SortPreservingMergeExec::new(runs.ordering.clone(), pieces);
        self.push(CutStage {
            plan: root.rebuild(Arc::new(merge))?,
            placement: Placement::Single,
            output: DraftOutput::Result,
            inputs,
            tasks: Some(ranges),
            when,
        });
        Ok(())
    }
}

/// The sorted runs.
struct Runs {
    stage: usize,
    sorted: Plan,
    ordering: LexOrdering,
}

impl Runs {
    /// Number of runs, and of ranges they are cut into.
    fn count(&self) -> usize {
        self.sorted.output_partitioning().partition_count()
    }

    /// Reads `stage`, whose blocks are sorted as the runs are.
    fn read(&self, inputs: &mut Inputs, stage: usize, mode: ReadMode) -> Plan {
        let runs = self.count();
        let equivalence = self.sorted.equivalence_properties().clone();
        reader(inputs, stage, mode, equivalence, Partitioning::UnknownPartitioning(runs))
    }
}

/// Expressions whose values are bound while the job runs.
struct Points {
    stride: Arc<dyn PhysicalExpr>,
    split_points: Vec<Vec<Arc<dyn PhysicalExpr>>>,
}

impl SortedRoot {
    fn rebuild(&self, merge: Plan) -> Result<Plan> {
        self.above
            .iter()
            .rev()
            .try_fold(merge, |below, node| with_children(Arc::clone(node), vec![below]))
    }
}

/// The merge of a result. None where a key is a struct, a list or a map: split points are compared value by
/// value, which is another order than that of a sort then.
fn sorted_root(plan: &Plan) -> Option<SortedRoot> {
    let mut above = Vec::new();
    let mut node = plan;
    while node.is::<ProjectionExec>()
        || node.is::<CooperativeExec>()
        || node.is::<UnclaimedExec>()
        || node.is::<WriteExec>()
    {
        // A task for each range would make a file for each.
        if node.downcast_ref::<WriteExec>().is_some_and(WriteExec::makes_one_file) {
            return None;
        }
        above.push(Arc::clone(node));
        node = node.children().first().copied()?;
    }
    let merge = node.downcast_ref::<SortPreservingMergeExec>()?;
    let is_whole = merge.fetch().is_none();
    let is_many = merge.input().output_partitioning().partition_count() > 1;
    let schema = node.schema();
    let is_nested = merge.expr().iter().any(|key| match key.expr.data_type(&schema) {
        Ok(of) => of.is_nested(),
        Err(_) => true,
    });
    (is_whole && is_many && !is_nested).then(|| SortedRoot { above, merge: Arc::clone(node) })
}
