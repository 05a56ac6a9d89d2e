//! Jobs that grow, broken graphs, and messages for what is gone.

use super::harness::*;
use crate::{Event, StageStatus};
use gnist_common::error::ErrorKind;
use gnist_common::graph::StageOutput;

const SHUFFLE: StageOutput = StageOutput::Shuffle { partitions: 1 };

#[test]
fn an_unsealed_job_waits_for_more() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![map(0, 1, 1)], false);
    let actions = harness.finish_all();
    assert_eq!(finished_stages(&actions), [0]);
    assert!(ended(&actions).is_none());
    assert!(ended(&harness.pass(1_000_000)).is_none());
    harness.submit(vec![result(1, 1, &[0])], true);
    assert_eq!(harness.run_to_end().stages, 2);
}

#[test]
fn a_job_may_be_sealed_by_an_empty_message() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![map(0, 1, 1)], false);
    harness.finish_all();
    let (outcome, stats) = ended(&harness.submit(vec![], true)).expect("nothing is left");
    assert_eq!((outcome, stats.tasks), (Ok(()), 1));
}

#[test]
fn stages_may_come_in_any_order_within_a_message() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![result(1, 1, &[0]), map(0, 1, 1)], true);
    assert_eq!(harness.run_to_end().tasks, 2);
}

#[test]
fn a_stage_waits_until_all_its_inputs_are_complete() {
    let mut harness = Harness::new(&[3]);
    harness.submit(vec![map(0, 3, 1), map(1, 2, 1), result(2, 1, &[0, 1])], true);
    assert_eq!(harness.running.len(), 3);
    harness.finish(attempt(0, 0, 0));
    harness.finish(attempt(0, 1, 0));
    assert_eq!(harness.launches_of(2), []);
    let status = harness.scheduler.snapshot().jobs[0].stages[2].status;
    assert_eq!(status, StageStatus::Waiting);
    harness.finish_stage(0);
    assert!(harness.is_early(attempt(2, 0, 0)), "every other task runs");
    harness.finish_stage(1);
    assert!(!harness.is_early(attempt(2, 0, 0)));
    assert_eq!(harness.launches_of(2), [0]);
}

#[test]
fn broken_graphs_fail_their_job() {
    let broken = [
        (vec![result(0, 1, &[5])], "reads app-1.job-0.stage-5, which is not known"),
        (vec![map(0, 0, 1)], "has no tasks"),
        (vec![map(0, 1, 1), map(0, 1, 1)], "was submitted twice"),
        (vec![stage(0, 1, &[1], SHUFFLE), stage(1, 1, &[0], SHUFFLE)], "lead back to it"),
        (vec![stage(0, 1, &[0], SHUFFLE)], "lead back to it"),
        (vec![result(0, 1, &[]), result(1, 1, &[0])], "whose output goes to the driver"),
    ];
    for (stages, message) in broken {
        let mut harness = Harness::new(&[1]);
        let failure = failed(&harness.submit(stages, true));
        assert_eq!(failure.kind, ErrorKind::Internal);
        assert!(failure.message.contains(message), "{}", failure.message);
    }
}

#[test]
fn stages_after_the_seal_fail_the_job() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![map(0, 1, 1)], true);
    assert!(failed(&harness.submit(vec![map(1, 1, 1)], true)).message.contains("was sealed"));
}

#[test]
fn stages_of_an_ended_job_do_not_open_it_again() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![map(0, 1, 1)], false);
    let actions = harness.send(Event::JobCancelled { job: JOB });
    assert_eq!(failed(&actions).kind, ErrorKind::Cancelled);
    assert_eq!(harness.submit(vec![map(1, 1, 1)], true), []);
    assert_eq!(harness.send(Event::JobCancelled { job: JOB }), []);
}

#[test]
fn a_closed_application_takes_its_jobs_with_it() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![map(0, 2, 1)], false);
    let actions = harness.send(Event::ApplicationClosed { application: APP });
    assert_eq!(cancelled(&actions), [attempt(0, 0, 0)]);
    assert_eq!(failed(&actions).kind, ErrorKind::Cancelled);
    assert_eq!(harness.submit(vec![map(0, 1, 1)], true), [], "it is not known any more");
}

#[test]
fn progress_covers_the_stages_that_started() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 3, 1), result(1, 1, &[0])], true);
    harness.finish(attempt(0, 0, 0));
    let progress = harness.scheduler.progress(JOB);
    assert_eq!(progress.len(), 1);
    let stage = progress[0];
    assert_eq!((stage.done, stage.running, stage.tasks), (1, 2, 3));
    assert_eq!((stage.rows, stage.bytes), (1, 10));
}
