//! The planner of stages: from a DataFusion physical plan to drafts of stages.
//!
//! ```text
//! physical plan ──rewrite──▶ plan whose joins tasks can run ──cut──▶ drafts ──encode──▶ programs
//! ```
//!
//! A draft is a stage before it has an id and a hash. Drafts are in topological order: inputs name
//! earlier drafts. The graph grows while it runs: a draft that needs the value of a scalar
//! subquery is submitted when the subquery's stage has ended, with the value bound, and a large sort
//! goes on otherwise than a small one. Equal drafts run once.

mod apart;
mod around;
mod arrays;
mod collected;
mod cooperative;
mod cut;
mod frames;
mod held_limits;
mod held_sorts;
mod kept_orders;
mod long_limits;
mod namesakes;
mod nullability;
mod one_sided;
mod order;
mod own_statistics;
mod partitions;
mod projections;
mod promised_inputs;
mod repeatability;
mod rewrite;
mod row_order;
mod same;
mod scan_statistics;
mod shown_ranks;
mod soft_limits;
mod sort;
mod sources;
mod unique;
mod unnest_names;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use gnist_common::graph::{InputMode, Repeatability};
use gnist_operators::encoder::Encoder;
use gnist_operators::guard::Guard;
use gnist_operators::placement::Placement;
use gnist_operators::program::{Encoded, encode_program};
use gnist_operators::source::Scanned;

use repeatability::is_volatile;

pub(crate) use apart::JoinsApart;
pub(crate) use arrays::with_whole_arrays;
pub(crate) use cooperative::CooperativeJoins;
pub(crate) use frames::WholeFrames;
pub(crate) use held_limits::with_held_limits;
pub(crate) use kept_orders::with_kept_orders;
pub(crate) use namesakes::with_namesakes;
pub(crate) use one_sided::with_one_sided;
pub(crate) use own_statistics::with_own_statistics;
pub(crate) use partitions::{input_bytes, partitions_for};
pub(crate) use projections::with_kept_projections;
pub(crate) use promised_inputs::with_promised_inputs;
pub(crate) use repeatability::{Draws, repeatability_of};
use row_order::RowOrder;
pub(crate) use scan_statistics::with_scan_statistics;
pub(crate) use shown_ranks::ShownRanks;
pub(crate) use soft_limits::SoftLimits;
pub(crate) use sort::RangeSort;
pub(crate) use unique::with_unique_columns;
pub(crate) use unnest_names::with_unnest_names;

pub(crate) use sources::refuse_unknown;

/// A stage before it has an id.
#[derive(Debug)]
pub(crate) struct StageDraft {
    /// The plan that its tasks run; its readers name `inputs` by position.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// The placement of its rows.
    pub(crate) placement: Placement,
    /// The destination of its rows.
    pub(crate) output: DraftOutput,
    /// Earlier drafts it reads, by position in the job plan, and how.
    pub(crate) inputs: Vec<(usize, InputMode)>,
    /// Number of tasks.
    pub(crate) tasks: u32,
    /// The differences that a second run of a task may make.
    pub(crate) repeatability: Repeatability,
    /// True if it needs the job's seed.
    pub(crate) is_volatile: bool,
    /// The condition on which the job has this draft; always if none.
    pub(crate) when: Option<When>,
    /// Bindings it needs, by ordinal; ascending.
    pub(crate) values: Vec<usize>,
    /// The plan, encoded.
    pub(crate) program: Bytes,
    /// The files or rows that the leaves of its program scan.
    pub(crate) scanned: Vec<Scanned>,
}

/// The destination of a draft's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DraftOutput {
    /// Later drafts.
    Exchange,
    /// Later drafts, each of which reads all rows, once per executor.
    Broadcast,
    /// The driver, which takes them as the value of a binding.
    Value {
        /// The binding's ordinal.
        binding: usize,
    },
    /// The driver, which chooses split points from them.
    Sample {
        /// The index of the sort among the plan's.
        sort: usize,
    },
    /// The driver, which gives them to the user as the job's result.
    Result,
}

/// A condition on what another draft made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// The draft.
    pub(crate) stage: usize,
    /// True if the draft's output has to be above the threshold, false if not above it.
    pub(crate) is_large: bool,
}

/// All drafts of one query, in topological order.
#[derive(Debug)]
pub(crate) struct JobPlan {
    /// The drafts. One of those that are there makes the result.
    pub(crate) drafts: Vec<StageDraft>,
    /// Number of bindings that scalar subqueries and sorts fill.
    pub(crate) bindings: usize,
    /// Sorts of the result.
    pub(crate) sorts: Vec<RangeSort>,
}

/// The plan of a task, with what its operators hold kept small, or counted. It comes last.
///
/// # Errors
/// When DataFusion refuses an operator over its new input.
pub(crate) fn for_memory(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    collected::with_collected_rows(long_limits::with_long_limits_above(plan)?)
}

/// Plans the stages of a query for a cluster whose executors decode plans in `context`.
///
/// # Errors
/// `NotImplemented` naming an operator, function or field that no executor would get.
pub(crate) fn plan_job(
    plan: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    guard: &Guard,
) -> Result<JobPlan> {
    let plan = rewrite::for_tasks(plan)?;
    let mut cutter = cut::Cutter::new(Encoder::new(Arc::clone(context)));
    cutter.cut_result(plan)?;
    let cut::Cutter { mut drafts, encoder, bindings, sorts } = cutter;
    for draft in &mut drafts {
        draft.plan = for_memory(Arc::clone(&draft.plan))?;
    }
    let mut orders = Vec::with_capacity(drafts.len());
    let drafts = drafts.into_iter().map(|draft| {
        let (encoded, values) =
            encoder.recording(|encoder| encode_program(&draft.plan, &draft.placement, encoder))?;
        guard.check(&draft.plan, &draft.placement, &encoded, context)?;
        Ok(finish(draft, encoded, values, &mut orders))
    });
    let drafts = drafts.collect::<Result<_>>()?;
    Ok(same::once(JobPlan { drafts, bindings, sorts }))
}

/// `orders` has the order of the rows of every draft before this one.
fn finish(
    draft: cut::CutStage,
    encoded: Encoded,
    values: Vec<usize>,
    orders: &mut Vec<RowOrder>,
) -> StageDraft {
    let partitions = draft.plan.output_partitioning().partition_count();
    let tasks = draft.tasks.unwrap_or(partitions);
    let Encoded { bytes: program, scanned } = encoded;
    let inputs: Vec<RowOrder> = draft.inputs.iter().map(|(input, _)| orders[*input]).collect();
    // The limit of a value decides nothing: a second row is an error, whichever it is.
    let plan = match draft.plan.downcast_ref::<GlobalLimitExec>() {
        Some(limit) if matches!(draft.output, DraftOutput::Value { .. }) => limit.input(),
        _ => &draft.plan,
    };
    let (repeatability, order) = repeatability_of(plan, &draft.placement, &inputs, Draws::ByRow);
    orders.push(order);
    StageDraft {
        repeatability,
        is_volatile: is_volatile(&draft.plan),
        tasks: u32::try_from(tasks).expect("partition counts are u32"),
        plan: draft.plan,
        placement: draft.placement,
        output: draft.output,
        inputs: draft.inputs,
        when: draft.when,
        values,
        program,
        scanned,
    }
}

#[cfg(test)]
mod tests;
