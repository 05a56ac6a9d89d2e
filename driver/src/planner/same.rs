//! Stages that are the same run once.
//!
//! Two drafts are the same when their programs (plan and placement), bindings, tasks and,
//! recursively, inputs are equal: a common table expression that is read twice, the two sides of a
//! self-join. One whose rows are a matter of chance, as of a `LIMIT` without an order, has to be the
//! same for both readers too, or the expression would disagree with itself. Only volatile functions
//! are called anew for each.

use super::{DraftOutput, JobPlan, StageDraft};

/// The plan with every draft that equals an earlier one left out, and its readers reading that.
pub(super) fn once(plan: JobPlan) -> JobPlan {
    let JobPlan { drafts, bindings, mut sorts } = plan;
    let mut kept: Vec<StageDraft> = Vec::with_capacity(drafts.len());
    let mut now_at = Vec::with_capacity(drafts.len());
    for mut draft in drafts {
        for (input, _) in &mut draft.inputs {
            *input = now_at[*input];
        }
        if let Some(when) = &mut draft.when {
            when.stage = now_at[when.stage];
        }
        let equal = kept.iter().position(|earlier| are_same(earlier, &draft));
        now_at.push(equal.unwrap_or(kept.len()));
        if equal.is_none() {
            kept.push(draft);
        }
    }
    for sort in &mut sorts {
        sort.runs = now_at[sort.runs];
    }
    JobPlan { drafts: kept, bindings, sorts }
}

fn are_same(one: &StageDraft, other: &StageDraft) -> bool {
    matches!(one.output, DraftOutput::Exchange | DraftOutput::Broadcast)
        && !one.is_volatile
        && one.output == other.output
        && one.tasks == other.tasks
        && one.inputs == other.inputs
        && one.when == other.when
        && one.values == other.values
        && one.program == other.program
        && one.scanned.len() == other.scanned.len()
        && one.scanned.iter().zip(&other.scanned).all(|(one, other)| one.is_same(other))
}
