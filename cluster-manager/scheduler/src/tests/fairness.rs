//! Fairness and placement: the job that gets the next slot, and the worker that the slot is on.

use super::harness::*;
use crate::Event;
use gnist_common::graph::{InputMode, Stage, StageInput};
use gnist_common::ids::{ApplicationId, JobId};
use gnist_common::task::{AttemptEnd, TaskOutput};

fn submit(harness: &mut Harness, job: JobId, tasks: u32) {
    harness.send(Event::ApplicationOpened { application: job.application });
    let stage = Stage { id: job.stage(0), ..map(0, tasks, 1) };
    harness.send(Event::StagesSubmitted { job, stages: vec![stage], sealed: true });
}

fn jobs(harness: &Harness) -> Vec<(u64, u32)> {
    let job = |attempt: gnist_common::ids::AttemptId| attempt.task.stage.job;
    let jobs = harness.launches.iter().map(|(_, launch)| job(launch.attempt));
    jobs.map(|job| (job.application.0, job.ordinal)).collect()
}

fn finish_first(harness: &mut Harness) {
    let attempt = harness.launches.iter().map(|(_, launch)| launch.attempt);
    let first = attempt.into_iter().find(|attempt| harness.running.contains_key(attempt));
    harness.end(first.expect("something runs"), done(1));
}

#[test]
fn applications_share_by_running_slots() {
    let mut harness = Harness::new(&[4]);
    submit(&mut harness, ApplicationId(1).job(0), 8);
    submit(&mut harness, ApplicationId(2).job(0), 8);
    assert_eq!(jobs(&harness), [(1, 0); 4]);
    harness.clear();
    for attempt in harness.running.keys().copied().collect::<Vec<_>>() {
        harness.end(attempt, done(1));
    }
    assert_eq!(jobs(&harness), [(2, 0), (2, 0), (1, 0), (1, 0)], "two slots each");
}

#[test]
fn jobs_of_one_application_go_in_order() {
    let mut harness = Harness::new(&[2]);
    submit(&mut harness, ApplicationId(1).job(1), 2);
    submit(&mut harness, ApplicationId(1).job(2), 2);
    submit(&mut harness, ApplicationId(1).job(0), 2);
    finish_first(&mut harness);
    finish_first(&mut harness);
    finish_first(&mut harness);
    assert_eq!(jobs(&harness), [(1, 1), (1, 1), (1, 0), (1, 0), (1, 2)]);
}

#[test]
fn tasks_spread_over_workers_by_free_slots() {
    let mut harness = Harness::new(&[2, 3]);
    harness.submit(vec![map(0, 5, 1)], true);
    let workers: Vec<_> = harness.launches.iter().map(|(worker, _)| *worker).collect();
    assert_eq!(workers, [B, A, B, A, B]);
}

/// A map stage of two tasks, of which the one on B made nearly everything, and its consumer.
fn uneven(harness: &mut Harness, mode: InputMode, tasks: u32, bytes: u64) {
    let input = StageInput { stage: JOB.stage(0), mode };
    harness.submit(vec![map(0, 2, tasks)], false);
    let end = |bytes| {
        let sizes = vec![bytes; tasks as usize];
        AttemptEnd::Done(TaskOutput { bytes: sizes, ..TaskOutput::default() })
    };
    harness.end(attempt(0, 0, 0), end(bytes / 100));
    harness.end(attempt(0, 1, 0), end(bytes));
    harness.clear();
    harness.submit(vec![Stage { inputs: vec![input], ..result(1, tasks, &[]) }], true);
}

#[test]
fn a_task_goes_where_most_of_its_input_is() {
    let mut harness = Harness::new(&[2, 2]);
    uneven(&mut harness, InputMode::Partition, 3, 8 << 20);
    let workers: Vec<_> = harness.launches.iter().map(|(worker, _)| *worker).collect();
    assert_eq!(workers, [B, B, A], "an idle worker takes the third though its input is elsewhere");
}

#[test]
fn the_reader_of_one_task_goes_where_that_ran() {
    let mut harness = Harness::new(&[2, 2]);
    uneven(&mut harness, InputMode::Task, 2, 800 << 20);
    let launches = harness.launches.iter();
    let placed: Vec<_> =
        launches.map(|(worker, launch)| (*worker, launch.attempt.task.partition)).collect();
    assert_eq!(placed, [(A, 0), (B, 1)]);
}

#[test]
fn small_inputs_and_broadcasts_pull_nothing() {
    for (mode, bytes) in [(InputMode::Partition, 800), (InputMode::All, 8 << 20)] {
        let mut harness = Harness::new(&[2, 2]);
        uneven(&mut harness, mode, 2, bytes);
        let workers: Vec<_> = harness.launches.iter().map(|(worker, _)| *worker).collect();
        assert_eq!(workers, [A, B], "{mode:?}: by free slots, then by id");
    }
}

#[test]
fn a_gather_goes_where_most_of_its_input_is() {
    let mut harness = Harness::new(&[2, 2]);
    uneven(&mut harness, InputMode::All, 1, 800);
    assert_eq!(harness.launches[0].0, B);
}

#[test]
fn a_wide_task_is_not_starved_by_narrow_ones() {
    let mut harness = Harness::new(&[2]);
    submit(&mut harness, ApplicationId(2).job(0), 20);
    let wide = Stage { slots_per_task: 2, ..result(0, 1, &[]) };
    harness.submit(vec![wide], true);
    finish_first(&mut harness);
    assert_eq!(harness.launches.len(), 2, "the slot is kept");
    finish_first(&mut harness);
    assert_eq!(harness.launches[2].1.attempt, attempt(0, 0, 0));
    assert_eq!(harness.launches[2].1.slots, 2);
}

#[test]
fn a_task_wider_than_every_worker_takes_a_whole_one() {
    let mut harness = Harness::new(&[2, 3]);
    harness.submit(vec![Stage { slots_per_task: 8, ..result(0, 2, &[]) }], true);
    let launches: Vec<_> = harness.launches.iter().map(|(w, launch)| (*w, launch.slots)).collect();
    assert_eq!(launches, [(B, 3)], "the widest there is");
    harness.run_to_end();
    assert_eq!(harness.launches.len(), 2);
}

#[test]
fn a_worker_on_which_tasks_keep_failing_is_set_aside() {
    let mut harness = Harness::new(&[3, 3]);
    harness.submit(vec![map(0, 12, 1)], true);
    let failure = || AttemptEnd::Transient(failure(gnist_common::error::ErrorKind::Transient));
    let on_a = |harness: &Harness| {
        harness.running.iter().find(|(_, worker)| **worker == A).map(|(attempt, _)| *attempt)
    };
    for _ in 0..3 {
        let attempt = on_a(&harness).expect("A has work");
        harness.end(attempt, failure());
    }
    let view = |harness: &Harness| harness.scheduler.snapshot().workers[0].status;
    assert_eq!(view(&harness), crate::WorkerStatus::SetAside);
    while let Some(attempt) = on_a(&harness) {
        harness.finish(attempt);
    }
    assert_eq!(on_a(&harness), None, "no further launches");
    harness.pass(60_000);
    assert_eq!(view(&harness), crate::WorkerStatus::Usable);
}
