//! Workers that come, fall silent, leave and are missed.

use super::harness::*;
use crate::{Action, Event, SchedulerConfig, TableLookup};
use gnist_common::error::ErrorKind;

#[test]
fn a_job_without_workers_fails_after_its_patience() {
    let mut harness = Harness::new(&[]);
    harness.now = gnist_common::time::Time(5_000);
    harness.submit(vec![map(0, 1, 1)], true);
    assert!(ended(&harness.pass(59_999)).is_none());
    let failure = failed(&harness.pass(1));
    assert_eq!(failure.kind, ErrorKind::Cluster);
    assert_eq!(failure.message, "no worker has registered for 60 s");
}

#[test]
fn a_worker_that_comes_in_time_saves_the_job() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![result(0, 1, &[])], true);
    harness.lose(A);
    harness.pass(59_000);
    harness.join(B, 1);
    assert!(ended(&harness.pass(100_000)).is_none());
    harness.lose(B);
    assert!(ended(&harness.pass(59_999)).is_none(), "patience begins anew");
    let failure = failed(&harness.pass(1));
    assert_eq!(failure.message, "no worker is left: the last one was lost (it was killed)");
}

#[test]
fn an_unsealed_job_without_work_waits_without_workers() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![map(0, 1, 1)], false);
    harness.finish_all();
    harness.lose(A);
    assert!(ended(&harness.pass(1_000_000)).is_none());
}

#[test]
fn when_no_worker_can_return_the_loss_of_the_last_fails_jobs_at_once() {
    let config = SchedulerConfig { worker_can_return: false, ..SchedulerConfig::default() };
    let mut harness = Harness::with(config, &[1, 1]);
    harness.submit(vec![result(0, 1, &[])], true);
    assert!(ended(&harness.lose(A)).is_none());
    assert_eq!(failed(&harness.lose(B)).kind, ErrorKind::Cluster);
    let later = Event::StagesSubmitted { job: APP.job(1), stages: vec![], sealed: false };
    assert!(ended(&harness.send(later)).is_none(), "nothing to run yet");
}

#[test]
fn a_suspect_worker_gets_no_launches_until_it_is_heard() {
    let mut harness = Harness::new(&[1]);
    harness.send(Event::WorkerSuspect { worker: A });
    assert_eq!(launched(&harness.submit(vec![result(0, 1, &[])], true)), []);
    let actions = harness.send(Event::Heartbeat { worker: A, running: vec![] });
    assert_eq!(launched(&actions), [(A, attempt(0, 0, 0))]);
}

#[test]
fn a_draining_worker_gets_no_launches_and_keeps_its_blocks() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1), result(1, 2, &[0])], true);
    harness.send(Event::WorkerDraining { worker: A });
    harness.finish_stage(0);
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&B));
    let table = harness.scheduler.output_table(JOB.stage(0), 0);
    assert!(matches!(table, TableLookup::Complete(_)));
}

#[test]
fn an_attempt_that_the_scheduler_does_not_know_is_cancelled() {
    let mut harness = Harness::new(&[1]);
    let unknown = attempt(3, 0, 0);
    let actions = harness.send(Event::Heartbeat { worker: A, running: vec![unknown] });
    assert_eq!(actions, [Action::Cancel { worker: A, attempt: unknown }]);
    assert_eq!(harness.send(Event::Heartbeat { worker: B, running: vec![unknown] }), []);
}

#[test]
fn a_worker_that_registers_again_keeps_what_it_still_holds() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 3, 1)], false);
    harness.finish(attempt(0, 0, 0));
    harness.finish(attempt(0, 1, 0));
    harness.clear();
    harness.send(Event::WorkerSuspect { worker: A });
    let stranger = attempt(9, 0, 0);
    let actions = harness.send(Event::WorkerJoined {
        worker: A,
        slots: 2,
        address: "elsewhere:1".to_owned(),
        running: vec![attempt(0, 2, 0)],
        held: vec![attempt(0, 0, 0), stranger],
    });
    assert_eq!(dropped(&actions), [attempt(0, 1, 0), stranger]);
    assert_eq!(launched(&actions), [(A, attempt(0, 1, 1))], "its blocks are gone");
    harness.submit(vec![result(1, 1, &[0])], true);
    harness.run_to_end();
    assert_eq!((harness.launches_of(0), harness.launches_of(1)), (vec![1], vec![0]));
}

#[test]
fn a_late_loss_of_an_unknown_worker_does_nothing() {
    let mut harness = Harness::new(&[1]);
    harness.submit(vec![result(0, 1, &[])], true);
    assert_eq!(harness.lose(C), []);
    harness.run_to_end();
}
