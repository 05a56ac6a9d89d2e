//! Short tasks are launched ahead of their turn.

use super::harness::*;
use crate::Event;
use gnist_common::graph::Stage;
use gnist_common::ids::{ApplicationId, AttemptId};
use gnist_common::task::{AttemptEnd, TaskMetrics, TaskOutput};

/// Ends `count` attempts of a stage, each having run for so long.
fn finish(harness: &mut Harness, count: u32, run_us: u64) {
    for _ in 0..count {
        let first = harness.running.keys().find(|attempt| attempt.task.stage == JOB.stage(0));
        let AttemptEnd::Done(output) = done(1) else { unreachable!("done is done") };
        let metrics = TaskMetrics { run_us, ..output.metrics };
        let attempt = *first.expect("something runs");
        harness.end(attempt, AttemptEnd::Done(TaskOutput { metrics, ..output }));
    }
}

fn running_on(harness: &Harness, worker: gnist_common::ids::WorkerId) -> usize {
    harness.running.values().filter(|on| **on == worker).count()
}

#[test]
fn a_few_short_tasks_are_on_each_worker_ahead_of_their_turn() {
    let mut harness = Harness::new(&[1, 2]);
    harness.submit(vec![map(0, 100, 1), result(1, 1, &[0])], true);
    assert_eq!(harness.running.len(), 3);
    finish(&mut harness, 4, 20);
    assert_eq!((running_on(&harness, A), running_on(&harness, B)), (8, 16));
    let ahead = harness.launches.iter().filter(|(_, launch)| launch.slots == 0).count();
    assert_eq!(ahead, 21, "they hold no slot");
    assert_eq!(harness.run_to_end().attempts, 101);
}

#[test]
fn longer_tasks_wait_for_a_slot() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 100, 1)], true);
    finish(&mut harness, 20, 1_500);
    assert_eq!(harness.running.len(), 2);
}

#[test]
fn nothing_goes_ahead_of_another_application_whose_turn_it_is() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 100, 1)], true);
    let other = ApplicationId(APP.0 - 1).job(0);
    harness.send(Event::ApplicationOpened { application: other.application });
    let stage = Stage { id: other.stage(0), ..map(0, 2, 1) };
    harness.send(Event::StagesSubmitted { job: other, stages: vec![stage], sealed: true });
    finish(&mut harness, 4, 20);
    let of_other = |attempt: &AttemptId| attempt.task.stage.job == other;
    assert_eq!(harness.running.len(), 2, "the other's second task waits");
    for _ in 0..2 {
        let attempt = harness.running.keys().copied().find(of_other);
        harness.end(attempt.expect("it runs"), done(1));
    }
    assert_eq!(harness.running.len(), 16);
}

#[test]
fn a_lost_worker_takes_its_tasks_ahead_with_it_and_they_run_elsewhere() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 40, 1), result(1, 1, &[0])], true);
    finish(&mut harness, 4, 20);
    let lost = running_on(&harness, B);
    assert_eq!(lost, 8);
    harness.lose(B);
    assert!(running_on(&harness, A) <= 8);
    harness.run_to_end();
}
