//! Results on their way to the driver.

use super::harness::*;
use crate::TableLookup;
use crate::{Action, Event};
use gnist_common::graph::{Repeatability, Stage};

#[test]
fn inline_results_are_delivered_as_tasks_end() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![result(0, 2, &[])], true);
    assert_eq!(results(&harness.end(attempt(0, 1, 0), inline())), [(attempt(0, 1, 0), false)]);
    let actions = harness.end(attempt(0, 0, 0), inline());
    assert_eq!(results(&actions), [(attempt(0, 0, 0), false)]);
    let (outcome, stats) = ended(&actions).expect("the job ended");
    assert_eq!(outcome, Ok(()));
    assert_eq!((stats.stages, stats.tasks, stats.attempts), (1, 2, 2));
}

#[test]
fn a_job_ends_when_the_driver_has_its_results() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![result(0, 1, &[])], true);
    let first = attempt(0, 0, 0);
    let actions = harness.finish(first);
    assert_eq!(results(&actions), [(first, true)]);
    assert!(ended(&actions).is_none());
    let stale = harness.send(Event::ResultTaken { attempt: attempt(0, 0, 7) });
    assert_eq!(stale, []);
    let actions = harness.send(Event::ResultTaken { attempt: first });
    assert_eq!(actions[0], Action::DropAttempt { worker: A, attempt: first });
    assert_eq!(ended(&actions).expect("the job ended").0, Ok(()));
    assert_eq!(actions.last(), Some(&Action::DropJob { worker: A, job: JOB }));
    assert_eq!(harness.send(Event::ResultTaken { attempt: first }), []);
}

#[test]
fn a_result_lost_before_the_driver_had_it_is_computed_and_announced_again() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![result(0, 2, &[])], true);
    harness.finish(attempt(0, 0, 0));
    harness.finish(attempt(0, 1, 0));
    assert_eq!(launched(&harness.lose(B)), [(A, attempt(0, 1, 1))]);
    assert_eq!(results(&harness.finish(attempt(0, 1, 1))), [(attempt(0, 1, 1), true)]);
    assert_eq!(harness.send(Event::ResultTaken { attempt: attempt(0, 1, 0) }), []);
}

#[test]
fn a_result_missing_from_its_worker_is_computed_and_announced_again() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![result(0, 1, &[])], true);
    harness.finish(attempt(0, 0, 0));
    let actions = harness.send(Event::ResultMissing { attempt: attempt(0, 0, 0) });
    assert_eq!(launched(&actions), [(A, attempt(0, 0, 1))]);
    assert_eq!(harness.send(Event::ResultMissing { attempt: attempt(0, 0, 0) }), []);
    assert_eq!(results(&harness.finish(attempt(0, 0, 1))), [(attempt(0, 0, 1), true)]);
}

#[test]
fn a_result_the_driver_has_needs_no_worker() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![result(0, 3, &[])], true);
    harness.end(attempt(0, 1, 0), inline());
    harness.finish(attempt(0, 2, 0));
    harness.send(Event::ResultTaken { attempt: attempt(0, 2, 0) });
    assert_eq!(launched(&harness.lose(B)), []);
    assert_eq!(harness.run_to_end().recomputed, 0);
}

#[test]
fn results_of_an_indeterminate_lineage_wait_for_the_whole_job() {
    let mut harness = Harness::new(&[2]);
    let limit = Stage { repeatability: Repeatability::Indeterminate, ..map(0, 1, 2) };
    harness.submit(vec![limit, result(1, 2, &[0])], true);
    harness.finish_stage(0);
    assert_eq!(results(&harness.end(attempt(1, 0, 0), inline())), []);
    let actions = harness.end(attempt(1, 1, 0), inline());
    assert_eq!(results(&actions), [(attempt(1, 0, 0), false), (attempt(1, 1, 0), false)]);
    assert_eq!(ended(&actions).expect("the job ended").0, Ok(()));
}

#[test]
fn a_held_inline_result_survives_its_worker() {
    let mut harness = Harness::new(&[1, 1]);
    let first = Stage { repeatability: Repeatability::Indeterminate, ..result(0, 3, &[]) };
    harness.submit(vec![first], true);
    harness.end(attempt(0, 1, 0), inline());
    harness.lose(B);
    harness.end(attempt(0, 0, 0), inline());
    let actions = harness.end(attempt(0, 2, 1), inline());
    assert_eq!(results(&actions).len(), 3);
    assert_eq!(harness.launches_of(0), [0, 1, 2, 2]);
}

#[test]
fn a_summary_adds_up_the_winners() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 3, 2), result(1, 1, &[0])], true);
    let actions = harness.finish_stage(0);
    let summary = actions.iter().find_map(|action| match action {
        Action::StageFinished { summary } => Some(summary),
        _ => None,
    });
    let summary = summary.expect("the stage finished");
    assert_eq!((&summary.bytes, &summary.rows), (&vec![30, 30], &vec![3, 3]));
    assert_eq!(summary.winners, [0, 1, 2].map(|partition| attempt(0, partition, 0)));
    assert_eq!((summary.metrics.run_us, summary.metrics.output_rows), (21_000, 3));
    assert_eq!(summary.run_us_min_median_max, (7_000, 7_000, 7_000));
}

#[test]
fn an_output_table_is_served_while_its_stage_is_complete() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1), result(1, 2, &[0])], true);
    let lookup = |harness: &Harness, version| harness.scheduler.output_table(JOB.stage(0), version);
    let table = |harness: &Harness, version| match lookup(harness, version) {
        TableLookup::Complete(table) => table,
        other => panic!("not complete: {other:?}"),
    };
    assert_eq!(lookup(&harness, 0), TableLookup::Pending);
    assert_eq!(lookup(&harness, 1), TableLookup::Gone, "nothing was lost yet");
    harness.finish_stage(0);
    let first = table(&harness, 0);
    assert_eq!(first.outputs.iter().map(|output| output.worker).collect::<Vec<_>>(), [A, B]);
    assert_eq!(first.workers.len(), 2);
    harness.lose(B);
    assert_eq!(lookup(&harness, 0), TableLookup::Gone);
    assert_eq!(lookup(&harness, 1), TableLookup::Pending);
    harness.finish(attempt(1, 0, 0));
    let missing = harness.scheduler.snapshot().jobs[0].stages[0].lost;
    assert_eq!(missing, 0, "a task of the consumer ran on B, and needs it");
    harness.finish(attempt(0, 1, 1));
    let second = table(&harness, first.version + 1);
    assert_eq!(second.outputs[1].attempt, attempt(0, 1, 1));
    assert_eq!(table(&harness, 0), second, "whoever names an earlier version reads this one");
    assert_eq!(lookup(&harness, second.version + 1), TableLookup::Gone);
}
