//! From a DataFusion physical plan to drafts of stages.
//!
//! ```text
//! physical plan ──rewrite──▶ plan whose joins tasks can run ──cut──▶ drafts ──encode──▶ programs
//! ```
//!
//! A draft is a stage before it has an id and a hash. Drafts are in topological order: inputs name
//! earlier drafts. The graph grows while it runs: a draft that needs the value of a scalar
//! subquery is submitted when the subquery's stage has ended, with the value bound.

mod cooperative;
mod cut;
mod repeatability;
mod rewrite;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use gnist_common::graph::{InputMode, Repeatability};
use gnist_operators::codec::Encoder;
use gnist_operators::placement::Placement;
use gnist_operators::program::encode_program;

pub(crate) use cooperative::CooperativeJoins;
pub(crate) use repeatability::repeatability_of;

/// A stage before it has an id.
#[derive(Debug)]
pub(crate) struct StageDraft {
    /// What its tasks run; its readers name `inputs` by position.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// How its rows are placed.
    pub(crate) placement: Placement,
    /// Who reads them.
    pub(crate) output: DraftOutput,
    /// Earlier drafts it reads, by position in the job plan, and how.
    pub(crate) inputs: Vec<(usize, InputMode)>,
    /// Number of tasks.
    pub(crate) tasks: u32,
    /// What a second run of a task may change.
    pub(crate) repeatability: Repeatability,
    /// Bindings it needs, by ordinal; ascending.
    pub(crate) values: Vec<usize>,
    /// Its encoded program.
    pub(crate) program: Bytes,
}

/// Where the rows of a draft go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DraftOutput {
    /// To later drafts.
    Exchange,
    /// To later drafts, whole, once per executor.
    Broadcast,
    /// To the driver, as the value of a binding.
    Value {
        /// The binding's ordinal.
        binding: usize,
    },
    /// To the driver, as the job's result.
    Result,
}

/// All drafts of one query, in topological order; the last one is the result.
#[derive(Debug)]
pub(crate) struct JobPlan {
    /// The drafts.
    pub(crate) drafts: Vec<StageDraft>,
    /// Number of bindings that scalar subqueries fill.
    pub(crate) bindings: usize,
}

/// Plans the stages of a query for a cluster.
///
/// # Errors
/// `NotImplemented` naming an operator that no executor can run yet.
pub(crate) fn plan_job(plan: Arc<dyn ExecutionPlan>, target_partitions: usize) -> Result<JobPlan> {
    let plan = rewrite::for_tasks(plan, target_partitions)?;
    let mut cutter = cut::Cutter::default();
    cutter.cut_root(plan, DraftOutput::Result)?;
    let cut::Cutter { drafts, encoder, bindings } = cutter;
    let drafts = drafts.into_iter().map(|draft| finish(draft, &encoder)).collect::<Result<_>>()?;
    Ok(JobPlan { drafts, bindings })
}

fn finish(draft: cut::CutStage, encoder: &Encoder) -> Result<StageDraft> {
    let tasks = draft.plan.output_partitioning().partition_count();
    let (program, values) =
        encoder.recording(|encoder| encode_program(&draft.plan, &draft.placement, encoder))?;
    Ok(StageDraft {
        repeatability: repeatability_of(&draft.plan),
        tasks: u32::try_from(tasks).expect("partition counts are u32"),
        plan: draft.plan,
        placement: draft.placement,
        output: draft.output,
        inputs: draft.inputs,
        values,
        program,
    })
}
