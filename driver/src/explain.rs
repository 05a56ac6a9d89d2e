//! `EXPLAIN` and `EXPLAIN ANALYZE`: the stage graph as a tree, with partition counts and, once it
//! ran, with what was measured in all of its tasks.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ExplainOptions;
use datafusion::common::format::ExplainFormat;
use datafusion::logical_expr::{Analyze, Explain};
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, displayable};
use gnist_common::bytes::ByteSize;
use gnist_common::protocol::StageSummary;
use gnist_common::task::OperatorMetrics;

use crate::planner::{DraftOutput, JobPlan, StageDraft};
use crate::result::{JobReport, ResultStream};
use crate::sql;

/// The form in which plans are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// True if each plan is drawn as a tree of boxes.
    pub(crate) is_tree: bool,
    is_verbose: bool,
    with_statistics: bool,
    with_schema: bool,
    /// Columns that a tree may take.
    width: usize,
}

impl Shown {
    /// The form that a statement asks for, else the session.
    pub(crate) fn of(explain: &Explain, options: &ExplainOptions) -> Self {
        Self {
            is_tree: explain.explain_format == ExplainFormat::Tree,
            is_verbose: explain.verbose,
            with_statistics: explain.show_statistics.unwrap_or(options.show_statistics),
            with_schema: options.show_schema,
            width: options.tree_maximum_render_width,
        }
    }

    /// The form of a plan that ran.
    pub(crate) fn of_analyze(analyze: &Analyze, options: &ExplainOptions) -> Self {
        Self {
            is_tree: false,
            is_verbose: analyze.verbose,
            with_statistics: options.show_statistics,
            with_schema: options.show_schema,
            width: options.tree_maximum_render_width,
        }
    }
}

/// The answer of an explanation: 2 text columns, a row per kind of plan.
pub(crate) fn answer(rows: &[(&str, String)]) -> ResultStream {
    let schema = Arc::new(Schema::new(vec![
        Field::new("plan_type", DataType::Utf8, false),
        Field::new("plan", DataType::Utf8, false),
    ]));
    let kinds: ArrayRef =
        Arc::new(rows.iter().map(|(kind, _)| Some(*kind)).collect::<StringArray>());
    let plans: ArrayRef = Arc::new(
        rows.iter().map(|(_, plan)| Some(sql::shown(plan.trim_end()))).collect::<StringArray>(),
    );
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![kinds, plans])
        .expect("two columns of one length");
    ResultStream::ready(schema, vec![batch])
}

/// The graph of a query that is one stage, in one process.
pub(crate) fn one_stage(
    plan: &dyn ExecutionPlan,
    slots: u32,
    shown: &Shown,
    report: Option<&JobReport>,
) -> String {
    let mut text = format!("stage 0: 1 task of {slots} slots -> result");
    let summary = report.and_then(|report| report.stages.first());
    if let Some(summary) = summary {
        write_measured(&mut text, summary);
    }
    text.push('\n');
    match summary {
        Some(summary) => write_operators(&mut text, plan, shown, 1, summary),
        None => write_plan(&mut text, plan, shown, 1),
    }
    text
}

/// The plan of a query that the driver answers itself, without a job.
pub(crate) fn in_driver(plan: &dyn ExecutionPlan, shown: &Shown) -> String {
    let mut text = "in the driver -> result\n".to_owned();
    write_plan(&mut text, plan, shown, 1);
    text
}

/// The graph of a query on a cluster as a tree: below each stage its plan, and then the stages it
/// reads. One that several stages read is shown at the first of them.
pub(crate) fn stage_graph(
    job: &JobPlan,
    sort_threshold: ByteSize,
    shown: &Shown,
    report: Option<&JobReport>,
) -> String {
    let (written, text) = (BTreeSet::new(), String::new());
    let mut tree = Tree { job, sort_threshold, shown, report, written, text };
    for (at, draft) in job.drafts.iter().enumerate() {
        if draft.output == DraftOutput::Result {
            tree.write(at, 0);
        }
    }
    tree.text
}

struct Tree<'a> {
    job: &'a JobPlan,
    sort_threshold: ByteSize,
    shown: &'a Shown,
    report: Option<&'a JobReport>,
    written: BTreeSet<usize>,
    text: String,
}

impl Tree<'_> {
    fn write(&mut self, at: usize, depth: usize) {
        let indent = "  ".repeat(depth);
        if !self.written.insert(at) {
            let _ = writeln!(self.text, "{indent}stage {at}: above");
            return;
        }
        let draft = &self.job.drafts[at];
        self.text.push_str(&indent);
        write_stage(&mut self.text, at, draft, self.sort_threshold);
        let summary = self.report.and_then(|report| summary_of(report, at));
        match summary {
            Some(summary) => write_measured(&mut self.text, summary),
            None if self.report.is_some() => self.text.push_str(" [not needed]"),
            None => {}
        }
        self.text.push('\n');
        let (plan, depth) = (draft.plan.as_ref(), depth + 1);
        match summary {
            Some(summary) => write_operators(&mut self.text, plan, self.shown, depth, summary),
            None => write_plan(&mut self.text, plan, self.shown, depth),
        }
        let depth = depth - 1;
        for below in self.below(draft) {
            self.write(below, depth + 1);
        }
    }

    /// Returns the drafts that a stage waits for: its inputs, and the makers of the values it is
    /// bound to.
    fn below(&self, draft: &StageDraft) -> BTreeSet<usize> {
        let inputs = draft.inputs.iter().map(|(input, _)| *input);
        let makers = self.job.drafts.iter().enumerate().filter(|(_, maker)| match maker.output {
            DraftOutput::Value { binding } => draft.values.contains(&binding),
            DraftOutput::Sample { sort } => {
                draft.values.contains(&self.job.sorts[sort].first_point)
            }
            DraftOutput::Exchange | DraftOutput::Broadcast | DraftOutput::Result => false,
        });
        inputs.chain(makers.map(|(at, _)| at)).collect()
    }
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
    let inputs: BTreeSet<usize> = draft.inputs.iter().map(|(at, _)| *at).collect();
    if !inputs.is_empty() {
        let plural = if inputs.len() == 1 { "" } else { "s" };
        let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", reads stage{plural} {}", inputs.join(", "));
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

fn write_plan(text: &mut String, plan: &dyn ExecutionPlan, shown: &Shown, indent: usize) {
    let plan = displayable(plan)
        .set_show_statistics(shown.with_statistics)
        .set_show_schema(shown.with_schema)
        .set_tree_maximum_render_width(shown.width);
    let plan = if shown.is_tree {
        plan.tree_render().to_string()
    } else {
        plan.indent(shown.is_verbose).to_string()
    };
    for line in plan.lines() {
        let _ = writeln!(text, "{}{line}", "  ".repeat(indent));
    }
}

/// Writes a plan that ran: each operator with its measures over all tasks of the stage.
fn write_operators(
    text: &mut String,
    plan: &dyn ExecutionPlan,
    shown: &Shown,
    indent: usize,
    summary: &StageSummary,
) {
    let mut operators = Operators { text, shown, measures: &summary.operators, position: 0 };
    operators.write(plan, indent);
}

/// The operators of a plan, in pre-order, and their measures.
struct Operators<'a> {
    text: &'a mut String,
    shown: &'a Shown,
    measures: &'a [OperatorMetrics],
    position: u32,
}

impl Operators<'_> {
    fn write(&mut self, plan: &dyn ExecutionPlan, indent: usize) {
        let _ = write!(self.text, "{}{}", "  ".repeat(indent), Operator(plan, self.shown));
        let found = self.measures.binary_search_by_key(&self.position, |one| one.position);
        if let Ok(at) = found {
            write_measures(self.text, &self.measures[at]);
        }
        self.text.push('\n');
        self.position += 1;
        for child in plan.children() {
            self.write(child.as_ref(), indent + 1);
        }
    }
}

fn write_measures(text: &mut String, measures: &OperatorMetrics) {
    let OperatorMetrics { output_rows, compute_us, peak_memory_bytes, spill_bytes, .. } = measures;
    let (ms, memory) = (compute_us / 1000, ByteSize(*peak_memory_bytes));
    let micros = compute_us % 1000 / 100;
    let _ = write!(text, " [rows={output_rows}, time={ms}.{micros} ms, memory={memory}");
    if *spill_bytes > 0 {
        let _ = write!(text, ", spill={}", ByteSize(*spill_bytes));
    }
    text.push(']');
}

/// One operator on one line.
struct Operator<'a>(&'a dyn ExecutionPlan, &'a Shown);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verbose = self.1.is_verbose;
        self.0.fmt_as(
            if verbose { DisplayFormatType::Verbose } else { DisplayFormatType::Default },
            f,
        )
    }
}
