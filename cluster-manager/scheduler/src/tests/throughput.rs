//! The work per event does not grow with the stage.

use super::harness::*;
use crate::{Action, Event, Scheduler, SchedulerConfig};
use gnist_common::time::Time;
use std::collections::VecDeque;

const TASKS: u32 = 10_000;

/// Runs two stages of `TASKS` tasks on 16 workers of 8 slots, and counts the events.
fn run() -> (usize, usize) {
    let mut scheduler = Scheduler::new(SchedulerConfig::default());
    for id in 0..16 {
        let worker = gnist_common::ids::WorkerId(id);
        let (running, held, address) = (vec![], vec![], String::new());
        scheduler.handle(Time(0), Event::WorkerJoined { worker, slots: 8, address, running, held });
    }
    scheduler.handle(Time(0), Event::ApplicationOpened { application: APP });
    let stages = vec![map(0, TASKS, 8), result(1, TASKS, &[0])];
    let submitted = Event::StagesSubmitted { job: JOB, stages, sealed: true };
    let mut todo: VecDeque<_> = scheduler.handle(Time(1), submitted).into();
    let (mut launches, mut results) = (0, 0);
    while let Some(action) = todo.pop_front() {
        match action {
            Action::Launch { worker, launch } => {
                launches += 1;
                let attempt = launch.attempt;
                let end = if attempt.task.stage.ordinal == 0 { done(8) } else { inline() };
                todo.extend(
                    scheduler.handle(Time(2), Event::AttemptEnded { worker, attempt, end }),
                );
            }
            Action::ResultReady { .. } => results += 1,
            _ => {}
        }
    }
    assert!(scheduler.snapshot().jobs.is_empty(), "the job ended");
    (launches, results)
}

#[test]
fn twenty_thousand_tasks_are_launched_once_each() {
    assert_eq!(run(), (2 * TASKS as usize, TASKS as usize));
}

/// Prints launches and ends per second: `cargo test --release -- --ignored --nocapture per_second`.
#[test]
#[ignore = "a measurement, not a check"]
#[expect(clippy::print_stdout, reason = "it is for reading")]
fn launches_and_ends_per_second() {
    let before = std::time::Instant::now();
    let (launches, _) = run();
    println!(
        "{:.0} launches and ends per second",
        launches as f64 / before.elapsed().as_secs_f64()
    );
}
