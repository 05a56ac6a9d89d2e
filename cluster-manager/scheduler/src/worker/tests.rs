//! Slots, reconciliation and pauses of workers.

use super::*;
use gnist_common::ids::ApplicationId;

const A: WorkerId = WorkerId(1);
const B: WorkerId = WorkerId(2);

fn task(partition: u32) -> TaskId {
    ApplicationId(1).job(0).stage(0).task(partition)
}

fn workers(slots: &[(WorkerId, u32)]) -> Workers {
    let mut workers = Workers::default();
    for (id, slots) in slots {
        workers.join(*id, *slots, format!("{id}"));
    }
    workers
}

fn free(workers: &Workers) -> Vec<(WorkerId, u32)> {
    workers.check();
    workers.free().map(|(id, worker)| (id, worker.free())).collect()
}

#[test]
fn free_workers_come_by_free_slots_then_id() {
    let mut workers = workers(&[(A, 2), (B, 3)]);
    assert_eq!(free(&workers), [(B, 3), (A, 2)]);
    workers.occupy(B, task(0).attempt(0), 1);
    assert_eq!(free(&workers), [(A, 2), (B, 2)]);
    workers.occupy(A, task(1).attempt(0), 2);
    assert_eq!(free(&workers), [(B, 2)]);
    assert!(workers.release(A, task(1).attempt(0)));
    assert!(!workers.release(A, task(1).attempt(0)), "slots are given back once");
    assert_eq!(free(&workers), [(A, 2), (B, 2)]);
}

#[test]
fn an_attempt_left_out_of_two_heartbeats_in_a_row_is_gone() {
    let mut workers = workers(&[(A, 2)]);
    let (kept, lost) = (task(0).attempt(0), task(1).attempt(0));
    workers.occupy(A, kept, 1);
    workers.occupy(A, lost, 1);
    assert_eq!(workers.reconcile(A, &[kept]), Reconciled::default());
    assert_eq!(workers.reconcile(A, &[kept, lost]), Reconciled::default(), "it was on its way");
    assert_eq!(workers.reconcile(A, &[kept]), Reconciled::default());
    let found = workers.reconcile(A, &[kept]);
    assert_eq!(found, Reconciled { gone: vec![lost], unwanted: vec![] });
    assert_eq!(free(&workers), [(A, 1)]);
}

#[test]
fn an_attempt_that_is_unknown_or_cancelled_is_unwanted() {
    let mut workers = workers(&[(A, 2)]);
    let (cancelled, unknown) = (task(0).attempt(0), task(1).attempt(4));
    workers.occupy(A, cancelled, 1);
    workers.mark_cancelled(A, cancelled);
    let found = workers.reconcile(A, &[cancelled, unknown]);
    assert_eq!(found, Reconciled { gone: vec![], unwanted: vec![cancelled, unknown] });
    assert_eq!(free(&workers), [(A, 1)], "it holds its slot until it has stopped");
}

#[test]
fn three_failing_tasks_set_a_worker_aside_unless_it_is_the_only_one() {
    let config = SchedulerConfig::default();
    let mut both = workers(&[(A, 1), (B, 1)]);
    assert_eq!(both.note_failure(A, task(0), Time(0), &config), None);
    assert_eq!(both.note_failure(A, task(1), Time(1), &config), None);
    assert_eq!(both.note_failure(A, task(1), Time(2), &config), None, "the same task again");
    let until = both.note_failure(A, task(2), Time(3), &config).expect("the third task");
    assert_eq!(until, Time(60_003));
    assert_eq!(free(&both), [(B, 1)]);
    both.resume(A, Time(60_002));
    assert_eq!(free(&both), [(B, 1)]);
    both.resume(A, until);
    assert_eq!(free(&both), [(A, 1), (B, 1)]);

    let mut single = workers(&[(A, 1)]);
    for partition in 0..9 {
        assert_eq!(single.note_failure(A, task(partition), Time(0), &config), None);
    }
}

#[test]
fn old_failures_are_forgotten() {
    let config = SchedulerConfig::default();
    let mut workers = workers(&[(A, 1), (B, 1)]);
    for (partition, at) in [(0, 0), (1, 50_000), (2, 61_000)] {
        assert_eq!(workers.note_failure(A, task(partition), Time(at), &config), None);
    }
}

#[test]
fn a_worker_set_aside_is_better_than_none() {
    let mut workers = workers(&[(A, 1), (B, 1)]);
    workers.pause(A, Pause::SetAside { until: Time(60_000) });
    assert_eq!(free(&workers), [(B, 1)]);
    workers.remove(B);
    assert_eq!(free(&workers), [(A, 1)]);
}
