//! One test per row of the table of ends, and per kind of stale end.

use super::harness::*;
use crate::{Action, Event, SchedulerConfig};
use gnist_common::error::ErrorKind;
use gnist_common::task::AttemptEnd;

fn one_task(slots: &[u32]) -> Harness {
    let mut harness = Harness::new(slots);
    harness.submit(vec![result(0, 1, &[])], true);
    harness
}

#[test]
fn a_transient_failure_is_retried_after_a_backoff_on_another_worker() {
    let mut harness = one_task(&[1, 1]);
    let actions =
        harness.end(attempt(0, 0, 0), AttemptEnd::Transient(failure(ErrorKind::Transient)));
    assert_eq!(launched(&actions), []);
    assert_eq!(harness.scheduler.next_deadline(), Some(gnist_common::time::Time(100)));
    assert_eq!(launched(&harness.pass(99)), []);
    assert_eq!(launched(&harness.pass(1)), [(B, attempt(0, 0, 1))]);
    let stats = harness.run_to_end();
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (1, 2, 0));
}

#[test]
fn the_only_worker_takes_the_retry_itself() {
    let mut harness = one_task(&[1]);
    harness.end(attempt(0, 0, 0), AttemptEnd::Transient(failure(ErrorKind::Transient)));
    assert_eq!(launched(&harness.pass(100)), [(A, attempt(0, 0, 1))]);
}

#[test]
fn a_retry_waits_for_the_other_worker_while_that_is_busy() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![result(0, 2, &[])], true);
    harness.end(attempt(0, 0, 0), AttemptEnd::Transient(failure(ErrorKind::Transient)));
    assert_eq!(launched(&harness.pass(100)), [], "worker A is free, and was where it failed");
    let actions = harness.finish(attempt(0, 1, 0));
    assert_eq!(launched(&actions), [(B, attempt(0, 0, 1))]);
}

#[test]
fn the_fourth_transient_failure_fails_the_job() {
    let mut harness = one_task(&[1]);
    for number in 0..3 {
        let actions = harness
            .end(attempt(0, 0, number), AttemptEnd::Transient(failure(ErrorKind::Transient)));
        assert!(ended(&actions).is_none());
        harness.pass(100 << number);
    }
    let end = AttemptEnd::Transient(failure(ErrorKind::Transient));
    let failure = failed(&harness.end(attempt(0, 0, 3), end));
    assert_eq!(failure.kind, ErrorKind::Transient);
    assert_eq!(failure.help.as_deref(), Some("the task failed 4 times"));
    assert_eq!((failure.blame.attempt, failure.blame.worker), (Some(attempt(0, 0, 3)), Some(A)));
    assert_eq!(harness.launches_of(0), [0; 4]);
}

#[test]
fn out_of_memory_is_retried_once_alone_and_then_fails_naming_the_operator() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 3, 1), result(1, 1, &[0])], true);
    let oom = || {
        let failure = failure(ErrorKind::OutOfMemory).in_operator("HashJoinExec", Some(1 << 20));
        AttemptEnd::OutOfMemory(failure)
    };
    let actions = harness.end(attempt(0, 0, 0), oom());
    assert_eq!(launched(&actions), [(A, attempt(0, 2, 0))]);
    assert_eq!(launched(&harness.pass(100)), [], "two others run");
    assert_eq!(launched(&harness.finish(attempt(0, 1, 0))), [], "the free slot is kept for it");
    assert_eq!(launched(&harness.finish(attempt(0, 2, 0))), [(A, attempt(0, 0, 1))]);
    let failure = failed(&harness.end(attempt(0, 0, 1), oom()));
    assert_eq!(failure.blame.operator.as_deref(), Some("HashJoinExec"));
    assert_eq!(failure.blame.peak_bytes, Some(1 << 20));
}

#[test]
fn nothing_else_is_launched_beside_a_task_that_runs_alone() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![result(0, 4, &[])], true);
    harness.end(attempt(0, 0, 0), AttemptEnd::OutOfMemory(failure(ErrorKind::OutOfMemory)));
    harness.pass(100);
    harness.finish(attempt(0, 1, 0));
    assert_eq!(launched(&harness.finish(attempt(0, 2, 0))), [(A, attempt(0, 0, 1))]);
    assert_eq!(launched(&harness.pass(1_000)), []);
    assert_eq!(launched(&harness.finish(attempt(0, 0, 1))), [(A, attempt(0, 3, 0))]);
}

#[test]
fn a_panic_is_retried_once_elsewhere_and_then_fails() {
    let mut harness = one_task(&[1, 1]);
    harness.end(attempt(0, 0, 0), AttemptEnd::Panic(failure(ErrorKind::Panic)));
    assert_eq!(launched(&harness.pass(100)), [(B, attempt(0, 0, 1))]);
    let actions = harness.end(attempt(0, 0, 1), AttemptEnd::Panic(failure(ErrorKind::Panic)));
    assert_eq!(failed(&actions).kind, ErrorKind::Panic);
}

#[test]
fn a_users_error_fails_the_job_at_once_and_cancels_the_rest() {
    let mut harness = Harness::new(&[3]);
    harness.submit(vec![result(0, 5, &[])], true);
    let actions = harness.end(attempt(0, 1, 0), AttemptEnd::User(failure(ErrorKind::User)));
    assert_eq!(failed(&actions).kind, ErrorKind::User);
    assert_eq!(cancelled(&actions), [attempt(0, 0, 0), attempt(0, 2, 0)]);
    assert_eq!(actions.last(), Some(&Action::DropJob { worker: A, job: JOB }));
    assert_eq!(harness.launches.len(), 3, "nothing was launched again");
}

#[test]
fn cancelled_attempts_hold_their_slots_until_they_stop() {
    let mut harness = one_task(&[1]);
    harness.send(Event::JobCancelled { job: JOB });
    assert_eq!(harness.scheduler.snapshot().workers[0].used, 1);
    let (worker, end) = (A, AttemptEnd::Cancelled);
    harness.send(Event::AttemptEnded { worker, attempt: attempt(0, 0, 0), end });
    assert_eq!(harness.scheduler.snapshot().workers[0].used, 0);
}

#[test]
fn a_worker_with_a_full_disk_takes_no_launches_for_a_while() {
    let mut harness = one_task(&[2, 1]);
    harness.end(attempt(0, 0, 0), AttemptEnd::DiskFull(failure(ErrorKind::DiskFull)));
    assert_eq!(launched(&harness.pass(100)), [(B, attempt(0, 0, 1))]);
    let status = |harness: &Harness| harness.scheduler.snapshot().workers[0].status;
    assert_eq!(status(&harness), crate::WorkerStatus::DiskFull);
    harness.pass(10_000);
    assert_eq!(status(&harness), crate::WorkerStatus::Usable);
}

#[test]
fn a_worker_whose_disk_refuses_task_after_task_is_set_aside() {
    let mut harness = Harness::new(&[3, 3]);
    harness.submit(vec![result(0, 6, &[])], true);
    let on_a = harness.launches.iter().filter(|(worker, _)| *worker == A);
    let on_a: Vec<_> = on_a.map(|(_, launch)| launch.attempt).collect();
    for attempt in on_a {
        harness.end(attempt, AttemptEnd::DiskFull(failure(ErrorKind::DiskFull)));
    }
    harness.pass(10_000);
    let snapshot = harness.scheduler.snapshot();
    assert_eq!(snapshot.workers[0].status, crate::WorkerStatus::SetAside);
    harness.run_to_end();
}

#[test]
fn a_missing_block_reruns_only_the_task_that_made_it() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 3, 2), result(1, 2, &[0])], true);
    harness.finish_stage(0);
    assert_eq!(harness.launches_of(1), [0, 1]);
    harness.clear();
    let missing = vec![attempt(0, 1, 0).block(0)];
    let actions = harness.end(attempt(1, 0, 0), AttemptEnd::BlocksMissing { blocks: missing });
    assert_eq!(launched(&actions), [(A, attempt(0, 1, 1))]);
    assert_eq!(dropped(&actions), [attempt(0, 1, 0)], "the damaged copy goes");
    let stats = harness.run_to_end();
    assert_eq!((harness.launches_of(0), harness.launches_of(1)), (vec![1], vec![0]));
    assert_eq!((stats.tasks, stats.attempts, stats.recomputed), (5, 7, 1));
    let retry = &harness.launches.last().expect("the consumer ran again").1;
    assert_eq!(retry.inputs[0].version, 1, "it reads the table with the new location");
}

#[test]
fn a_block_that_was_recomputed_since_is_not_recomputed_again() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 1, 2), result(1, 2, &[0])], true);
    harness.finish_stage(0);
    let missing = || AttemptEnd::BlocksMissing { blocks: vec![attempt(0, 0, 0).block(0)] };
    harness.end(attempt(1, 0, 0), missing());
    harness.end(attempt(1, 1, 0), missing());
    harness.run_to_end();
    assert_eq!(harness.launches_of(0), [0, 0]);
}

#[test]
fn missing_blocks_do_not_loop_for_ever() {
    let config = SchedulerConfig { max_uncounted: 3, ..SchedulerConfig::default() };
    let mut harness = Harness::with(config, &[1]);
    harness.submit(vec![map(0, 1, 1), result(1, 1, &[0])], true);
    let mut rounds = 0;
    let failure = loop {
        harness.finish_stage(0);
        let blocks = vec![attempt(0, 0, rounds).block(0)];
        let actions = harness.end(attempt(1, 0, rounds), AttemptEnd::BlocksMissing { blocks });
        rounds += 1;
        if ended(&actions).is_some() {
            break failed(&actions);
        }
    };
    assert_eq!((rounds, failure.kind), (3, ErrorKind::Transient));
}

#[test]
fn a_failed_fetch_probes_the_worker_and_waits() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1), result(1, 1, &[0])], true);
    harness.finish_stage(0);
    let failure = failure(ErrorKind::Transient);
    let actions = harness.end(attempt(1, 0, 0), AttemptEnd::FetchFailed { worker: B, failure });
    assert_eq!(
        actions,
        [Action::Probe { worker: B }],
        "nothing is lost on the word of one consumer"
    );
    assert_eq!(launched(&harness.pass(100)).len(), 1);
    assert_eq!(harness.launches_of(0), [0, 1]);
}

#[test]
fn a_failed_fetch_from_a_lost_worker_waits_for_the_recomputation() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1), result(1, 1, &[0])], true);
    harness.finish_stage(0);
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&A));
    let lost = harness.lose(B);
    assert_eq!(launched(&lost), [], "the only slot is busy");
    let end = AttemptEnd::FetchFailed { worker: B, failure: failure(ErrorKind::Transient) };
    let actions = harness.end(attempt(1, 0, 0), end);
    assert_eq!(launched(&actions), [(A, attempt(0, 1, 1))]);
    let stats = harness.run_to_end();
    assert_eq!((stats.attempts, stats.recomputed, stats.workers_lost), (5, 1, 1));
}

#[test]
fn an_end_that_nobody_asked_for_is_run_again() {
    let mut harness = one_task(&[1]);
    let actions = harness.end(attempt(0, 0, 0), AttemptEnd::Cancelled);
    assert_eq!(launched(&actions), [(A, attempt(0, 0, 1))]);
}

#[test]
fn the_late_success_of_a_given_up_attempt_is_dropped() {
    let mut harness = one_task(&[1]);
    for _ in 0..2 {
        harness.send(Event::Heartbeat { worker: A, running: vec![] });
    }
    assert_eq!(harness.launches_of(0), [0, 0], "two heartbeats left it out");
    let late = attempt(0, 0, 0);
    let actions = harness.send(Event::AttemptEnded { worker: A, attempt: late, end: done(1) });
    assert_eq!(actions, [Action::DropAttempt { worker: A, attempt: late }]);
}

#[test]
fn a_success_said_twice_keeps_its_blocks() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![map(0, 2, 1), result(1, 1, &[0])], true);
    harness.finish(attempt(0, 0, 0));
    let again = Event::AttemptEnded { worker: A, attempt: attempt(0, 0, 0), end: done(1) };
    assert_eq!(harness.send(again), []);
    assert_eq!(harness.run_to_end().attempts, 3);
}

#[test]
fn ends_of_unknown_workers_jobs_and_stages_do_nothing() {
    let mut harness = one_task(&[1]);
    let ends = [(B, attempt(0, 0, 0)), (A, attempt(7, 0, 0)), (A, attempt(0, 9, 0))];
    for (worker, attempt) in ends {
        let end = AttemptEnd::User(failure(ErrorKind::User));
        assert_eq!(harness.send(Event::AttemptEnded { worker, attempt, end }), []);
    }
    assert_eq!(harness.run_to_end().attempts, 1);
}

/// A query whose result is read slowly, and another one inside the loop that reads it.
#[test]
fn released_slots_run_another_job_and_the_attempt_still_ends() {
    let mut harness = Harness::new(&[2]);
    let wide = |stage: gnist_common::graph::Stage| gnist_common::graph::Stage {
        slots_per_task: 2,
        ..stage
    };
    harness.submit(vec![wide(result(0, 1, &[]))], true);
    let outer = attempt(0, 0, 0);
    let inner_job = APP.job(1);
    let inner = gnist_common::graph::Stage { id: inner_job.stage(0), ..wide(result(0, 1, &[])) };
    let submitted = Event::StagesSubmitted { job: inner_job, stages: vec![inner], sealed: true };
    assert_eq!(launched(&harness.send(submitted)), [], "the slots are taken");
    let released = Event::SlotsReleased { worker: A, attempt: outer };
    let inner = inner_job.stage(0).task(0).attempt(0);
    assert_eq!(launched(&harness.send(released.clone())), [(A, inner)]);
    assert_eq!(launched(&harness.send(released)), [], "it had no slots any more");
    harness.send(Event::Heartbeat { worker: A, running: vec![outer, inner] });
    harness.end(inner, inline());
    let (outcome, _) = ended(&harness.end(outer, inline())).expect("its only task has ended");
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_cancelled_attempt_may_release_its_slots_first() {
    let mut harness = one_task(&[1]);
    harness.send(Event::JobCancelled { job: JOB });
    harness.send(Event::SlotsReleased { worker: A, attempt: attempt(0, 0, 0) });
    harness.send(Event::AttemptEnded {
        worker: A,
        attempt: attempt(0, 0, 0),
        end: AttemptEnd::Cancelled,
    });
    assert_eq!(harness.scheduler.workers.get(A).map(crate::worker::Worker::free), Some(1));
}
