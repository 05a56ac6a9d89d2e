//! Attempts that start before their inputs are there, and give way.

use super::harness::*;
use crate::{Action, Event, TaskStatus};
use gnist_common::error::ErrorKind;
use gnist_common::graph::{Stage, StageOutput};
use gnist_common::ids::{ApplicationId, AttemptId, WorkerId};
use gnist_common::task::AttemptEnd;

const SHUFFLE: StageOutput = StageOutput::Shuffle { partitions: 1 };

/// A job of another application, of so many tasks of so many slots.
fn submit_other(harness: &mut Harness, tasks: u32, slots: u32) -> Vec<Action> {
    let job = ApplicationId(2).job(0);
    harness.send(Event::ApplicationOpened { application: job.application });
    let stage = Stage { id: job.stage(0), slots_per_task: slots, ..map(0, tasks, 1) };
    harness.send(Event::StagesSubmitted { job, stages: vec![stage], sealed: true })
}

fn other(partition: u32) -> AttemptId {
    ApplicationId(2).job(0).stage(0).task(partition).attempt(0)
}

/// A worker says that a cancelled attempt has stopped.
fn stopped(harness: &mut Harness, worker: WorkerId, attempt: AttemptId) -> Vec<Action> {
    harness.send(Event::AttemptEnded { worker, attempt, end: AttemptEnd::Cancelled })
}

/// One worker of two slots: in one runs the last of two map tasks, in the other their consumer,
/// early.
fn one_early() -> Harness {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 2, 1), result(1, 1, &[0])], true);
    let actions = harness.finish(attempt(0, 0, 0));
    assert_eq!(launched(&actions), [(A, attempt(1, 0, 0))]);
    assert!(harness.is_early(attempt(1, 0, 0)));
    harness
}

#[test]
fn an_early_attempt_is_like_any_other_once_its_inputs_are_there() {
    let mut harness = one_early();
    let actions = harness.finish(attempt(0, 1, 0));
    assert_eq!((launched(&actions), cancelled(&actions)), (vec![], vec![]));
    assert!(!harness.is_early(attempt(1, 0, 0)));
    let actions = submit_other(&mut harness, 3, 1);
    assert_eq!(cancelled(&actions), [], "two of its tasks wait");
    (0..3).for_each(|partition| drop(harness.finish(other(partition))));
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (3, 3, 0));
}

#[test]
fn an_early_attempt_makes_no_progress() {
    let mut harness = one_early();
    let running = |harness: &Harness| {
        harness.scheduler.progress(JOB).iter().map(|stage| stage.running).collect::<Vec<_>>()
    };
    assert_eq!(running(&harness), [1, 0]);
    harness.finish(attempt(0, 1, 0));
    assert_eq!(running(&harness), [0, 1]);
}

#[test]
fn nothing_starts_early_while_a_producer_waits() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 3, 1), result(1, 1, &[0])], true);
    harness.finish(attempt(0, 0, 0));
    assert_eq!(harness.launches_of(1), []);
    let failure = failure(ErrorKind::Transient);
    harness.end(attempt(0, 1, 0), AttemptEnd::Transient(failure));
    assert_eq!(harness.launches_of(1), [], "its retry will need the slot soon");
    harness.pass(100);
    assert_eq!(harness.launches_of(0), [0, 1, 2, 1]);
    harness.finish(attempt(0, 2, 0));
    assert_eq!(harness.launches_of(1), [0]);
}

#[test]
fn nothing_starts_early_while_another_application_waits() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 2, 1), result(1, 1, &[0])], true);
    submit_other(&mut harness, 2, 1);
    let actions = harness.finish(attempt(0, 0, 0));
    assert_eq!(launched(&actions), [(A, other(0))]);
    let actions = harness.finish(other(0));
    assert_eq!(launched(&actions), [(A, other(1))]);
    let actions = harness.finish(other(1));
    assert_eq!(launched(&actions), [(A, attempt(1, 0, 0))]);
}

#[test]
fn an_early_attempt_gives_way_to_another_application_uncounted() {
    let mut harness = one_early();
    let actions = submit_other(&mut harness, 1, 1);
    assert_eq!(cancelled(&actions), [attempt(1, 0, 0)]);
    assert_eq!(launched(&actions), [], "its slot is free when it has stopped");
    let task = &harness.scheduler.tasks(JOB.stage(1))[0];
    assert_eq!((task.status, task.failures), (TaskStatus::Queued, 0));
    let actions = stopped(&mut harness, A, attempt(1, 0, 0));
    assert_eq!(launched(&actions), [(A, other(0))]);
    harness.finish(other(0));
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (3, 3, 0));
}

#[test]
fn giving_way_again_and_again_fails_nothing() {
    let mut harness = one_early();
    for number in 0..100 {
        let early = attempt(1, 0, number);
        let job = ApplicationId(2).job(number);
        harness.send(Event::ApplicationOpened { application: job.application });
        let stages = vec![Stage { id: job.stage(0), ..map(0, 1, 1) }];
        let actions = harness.send(Event::StagesSubmitted { job, stages, sealed: true });
        assert_eq!(cancelled(&actions), [early]);
        stopped(&mut harness, A, early);
        harness.end(job.stage(0).task(0).attempt(0), done(1));
    }
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (3, 3, 0));
}

#[test]
fn as_many_give_way_as_tasks_wait_the_latest_first() {
    let mut harness = Harness::new(&[5]);
    harness.submit(vec![map(0, 2, 1), result(1, 4, &[0])], true);
    assert_eq!(harness.launches_of(1), [0, 1, 2]);
    let actions = submit_other(&mut harness, 2, 1);
    assert_eq!(cancelled(&actions), [attempt(1, 2, 0), attempt(1, 1, 0)]);
    let beat = Event::Heartbeat { worker: A, running: harness.running.keys().copied().collect() };
    assert_eq!(cancelled(&harness.send(beat)), [], "two slots are coming free already");
    let actions = stopped(&mut harness, A, attempt(1, 2, 0));
    assert_eq!((launched(&actions), cancelled(&actions)), (vec![(A, other(0))], vec![]));
}

#[test]
fn early_attempts_give_way_to_a_wide_task_on_one_worker() {
    let mut harness = Harness::new(&[2, 3]);
    harness.submit(vec![map(0, 1, 1), result(1, 4, &[0])], true);
    assert_eq!(harness.running[&attempt(0, 0, 0)], B);
    assert_eq!(harness.launches_of(1), [0, 1, 2, 3]);
    let actions = submit_other(&mut harness, 1, 2);
    let stopping = cancelled(&actions);
    let workers: Vec<_> = harness
        .launches
        .iter()
        .filter(|(_, l)| stopping.contains(&l.attempt))
        .map(|(w, _)| *w)
        .collect();
    assert!(workers == [A, A] || workers == [B, B], "{workers:?}");
    for early in stopping {
        stopped(&mut harness, workers[0], early);
    }
    assert_eq!(harness.running.get(&other(0)), Some(&workers[0]));
}

#[test]
fn an_early_attempt_gives_way_to_a_retry_of_its_producer() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 1, 1), result(1, 1, &[0])], true);
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&B));
    let failure = failure(ErrorKind::Transient);
    harness.end(attempt(0, 0, 0), AttemptEnd::Transient(failure));
    let actions = harness.pass(100);
    assert_eq!(cancelled(&actions), [attempt(1, 0, 0)], "the retry is best made on B");
    let actions = stopped(&mut harness, B, attempt(1, 0, 0));
    assert_eq!(launched(&actions), [(B, attempt(0, 0, 1)), (A, attempt(1, 0, 1))]);
    assert_eq!(harness.run_to_end().attempts, 3);
}

#[test]
fn an_early_attempt_gives_way_when_an_input_loses_an_output() {
    let mut harness = Harness::new(&[2, 1]);
    harness.submit(vec![map(0, 3, 1), result(1, 1, &[0])], true);
    assert_eq!(harness.running.get(&attempt(0, 2, 0)), Some(&B));
    harness.finish(attempt(0, 0, 0));
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&A));
    harness.finish(attempt(0, 2, 0));
    let actions = harness.lose(B);
    assert_eq!(cancelled(&actions), [attempt(1, 0, 0)]);
    let actions = stopped(&mut harness, A, attempt(1, 0, 0));
    assert_eq!(launched(&actions), [(A, attempt(0, 2, 1))]);
    harness.finish(attempt(0, 1, 0));
    let (_, again) = harness.launches.last().expect("the consumer starts early again");
    assert_eq!((again.attempt, again.inputs[0].version), (attempt(1, 0, 1), 1));
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (4, 5, 1));
}

#[test]
fn what_was_early_once_runs_on_when_its_inputs_are_lost() {
    let mut harness = Harness::new(&[2, 1]);
    harness.submit(vec![map(0, 3, 1), result(1, 1, &[0])], true);
    harness.finish_stage(0);
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&A));
    let actions = harness.lose(B);
    assert_eq!(cancelled(&actions), [], "it may have read all it needs");
}

#[test]
fn what_an_early_attempt_reads_does_not_start_early() {
    let mut harness = Harness::new(&[4]);
    let middle = stage(1, 1, &[0], SHUFFLE);
    harness.submit(vec![map(0, 1, 1), middle, result(2, 1, &[1])], true);
    assert_eq!((harness.launches_of(1), harness.launches_of(2)), (vec![0], vec![]));
    harness.finish_stage(0);
    assert_eq!(harness.launches_of(2), [0]);
}

#[test]
fn an_early_attempt_goes_where_most_of_what_is_known_is() {
    let mut harness = Harness::new(&[1, 2]);
    harness.submit(vec![map(0, 3, 1), result(1, 1, &[0])], true);
    let on_b = harness.running.iter().find(|(_, worker)| **worker == B).map(|(a, _)| *a);
    harness.finish(on_b.expect("B has two tasks"));
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&B));
}

#[test]
fn a_lost_worker_takes_its_early_attempts_along() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 1, 1), result(1, 1, &[0])], true);
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&B));
    assert_eq!(launched(&harness.lose(B)), []);
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (2, 3, 0));
}

#[test]
fn any_job_finishes_with_one_slot() {
    let mut harness = Harness::new(&[1]);
    let stages = vec![
        map(0, 3, 2),
        stage(1, 2, &[0], SHUFFLE),
        stage(2, 2, &[0, 1], SHUFFLE),
        result(3, 3, &[1, 2]),
    ];
    harness.submit(stages, true);
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts), (10, 10));
}

/// Every worker has one slot, and half of them are lost when consumers hold them.
#[test]
fn one_slot_workers_finish_whatever_is_lost() {
    let mut harness = Harness::new(&[1; 6]);
    let middle = stage(1, 3, &[0], SHUFFLE);
    harness.submit(vec![map(0, 3, 1), middle, result(2, 3, &[0, 1])], true);
    let early: Vec<_> = (0..3).map(|partition| attempt(1, partition, 0)).collect();
    assert!(early.iter().all(|attempt| harness.is_early(*attempt)));
    harness.finish(attempt(0, 0, 0));
    for worker in [A, B, C] {
        for attempt in cancelled(&harness.lose(worker)) {
            let on = harness.launches.iter().find(|(_, launch)| launch.attempt == attempt);
            let on = on.expect("it was launched").0;
            stopped(&mut harness, on, attempt);
        }
    }
    let actions = harness.finish_stage(0);
    assert_eq!(finished_stages(&actions), [0]);
    assert_eq!(harness.run_to_end().tasks, 9);
}
