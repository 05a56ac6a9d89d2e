//! `EXPLAIN` and `EXPLAIN ANALYZE`: the stage graph as a tree, with partition counts and, once it
//! ran, with what was measured in all of its tasks.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use gnist_common::bytes::ByteSize;
use gnist_common::protocol::StageSummary;

use crate::planner::{DraftOutput, JobPlan, StageDraft};
use crate::result::{JobReport, ResultStream};

/// The answer of an explanation: 2 text columns, a row per kind of plan.
pub(crate) fn answer(rows: &[(&str, String)]) -> ResultStream {
    let schema = Arc::new(Schema::new(vec![
        Field::new("plan_type", DataType::Utf8, false),
        Field::new("plan", DataType::Utf8, false),
    ]));
    let kinds: ArrayRef =
        Arc::new(rows.iter().map(|(kind, _)| Some(*kind)).collect::<StringArray>());
    let plans: ArrayRef =
        Arc::new(rows.iter().map(|(_, plan)| Some(plan.as_str())).collect::<StringArray>());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![kinds, plans])
        .expect("two columns of one length");
    ResultStream::ready(schema, vec![batch])
}

/// The graph of a query that is one stage, in one process.
pub(crate) fn one_stage(
    plan: &dyn ExecutionPlan,
    slots: u32,
    report: Option<&JobReport>,
) -> String {
    let mut text = format!("stage 0: 1 task of {slots} slots -> result");
    if let Some(summary) = report.and_then(|report| report.stages.first()) {
        write_measured(&mut text, summary);
    }
    text.push('\n');
    write_plan(&mut text, plan, 1);
    text
}

/// The graph of a query on a cluster, consumers above their producers.
pub(crate) fn stage_graph(
    job: &JobPlan,
    sort_threshold: ByteSize,
    report: Option<&JobReport>,
) -> String {
    let mut text = String::new();
    for (at, draft) in job.drafts.iter().enumerate().rev() {
        write_stage(&mut text, at, draft, sort_threshold);
        match report.map(|report| summary_of(report, at)) {
            Some(Some(summary)) => write_measured(&mut text, summary),
            Some(None) => text.push_str(" [not needed]"),
            None => {}
        }
        text.push('\n');
        write_plan(&mut text, draft.plan.as_ref(), 1);
    }
    text
}

fn write_stage(text: &mut String, at: usize, draft: &StageDraft, sort_threshold: ByteSize) {
    let plural = if draft.tasks == 1 { "" } else { "s" };
    let partitions = draft.placement.partitions();
    let _ = write!(text, "stage {at}: {} task{plural} -> ", draft.tasks);
    let _ = match draft.output {
        DraftOutput::Exchange => write!(text, "exchange of {partitions}"),
        DraftOutput::Broadcast => write!(text, "broadcast"),
        DraftOutput::Value { binding } => write!(text, "value {binding}"),
        DraftOutput::Sample { .. } => write!(text, "sample"),
        DraftOutput::Result => write!(text, "result"),
    };
    if !draft.inputs.is_empty() {
        let inputs: Vec<String> = draft.inputs.iter().map(|(at, _)| at.to_string()).collect();
        let _ = write!(text, ", reads stages {}", inputs.join(", "));
    }
    if let Some(when) = draft.when {
        let than = if when.is_large { "above" } else { "up to" };
        let _ = write!(text, ", if stage {} makes {than} {sort_threshold}", when.stage);
    }
}

fn summary_of(report: &JobReport, at: usize) -> Option<&StageSummary> {
    let stage = report.drafts[at]?;
    report.stages.iter().find(|summary| summary.stage == stage)
}

fn write_measured(text: &mut String, summary: &StageSummary) {
    let metrics = &summary.metrics;
    let (shortest, median, longest) = summary.run_us_min_median_max;
    let _ = write!(
        text,
        " [rows={}, bytes={}, read={}, spill={}, task ms min/median/max={}/{}/{}]",
        metrics.output_rows,
        ByteSize(metrics.output_bytes),
        ByteSize(metrics.input_bytes),
        ByteSize(metrics.spill_bytes),
        shortest / 1000,
        median / 1000,
        longest / 1000,
    );
}

fn write_plan(text: &mut String, plan: &dyn ExecutionPlan, indent: usize) {
    for line in displayable(plan).indent(false).to_string().lines() {
        let _ = writeln!(text, "{}{line}", "  ".repeat(indent));
    }
}
