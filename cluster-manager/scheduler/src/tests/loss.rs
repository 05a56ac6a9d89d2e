//! Lost workers, recomputation by lineage, and roll-back.

use super::harness::*;
use crate::{Action, Event};
use gnist_common::error::ErrorKind;
use gnist_common::graph::{Repeatability, Stage, StageOutput};
use gnist_common::ids::AttemptId;
use gnist_common::task::{AttemptEnd, TaskOutput};

const SHUFFLE: StageOutput = StageOutput::Shuffle { partitions: 4 };

fn cancelled_on_a(attempt: AttemptId) -> Event {
    Event::AttemptEnded { worker: A, attempt, end: AttemptEnd::Cancelled }
}

fn indeterminate(stage: Stage) -> Stage {
    Stage { repeatability: Repeatability::Indeterminate, ..stage }
}

#[test]
fn lost_map_output_reruns_only_its_partitions() {
    let mut harness = Harness::new(&[2, 2]);
    harness.submit(vec![map(0, 4, 4), result(1, 4, &[0])], true);
    harness.finish_stage(0);
    harness.clear();
    let actions = harness.lose(B);
    assert_eq!(launched(&actions), [], "A is full");
    assert!(actions.contains(&Action::WorkerLost {
        application: APP,
        worker: B,
        reason: "it was killed".to_owned()
    }));
    let stats = harness.run_to_end();
    assert_eq!(harness.launches_of(0), [1, 3], "the map tasks that ran on B");
    assert_eq!(stats.workers_lost, 1);
    // Two map tasks that had ended, and two result tasks that ran on B.
    assert_eq!((stats.tasks, stats.recomputed, stats.attempts), (8, 4, 12));
}

#[test]
fn missing_ancestors_are_found_in_one_pass() {
    let mut harness = Harness::new(&[1, 1]);
    let middle = stage(1, 2, &[0], SHUFFLE);
    harness.submit(vec![map(0, 2, 2), middle, result(2, 2, &[1])], true);
    harness.finish_stage(0);
    harness.finish_stage(1);
    harness.clear();
    harness.lose(B);
    harness.run_to_end();
    let order: Vec<_> =
        harness.launches.iter().map(|(_, launch)| launch.attempt.task.stage.ordinal).collect();
    assert_eq!(order[..2], [0, 1], "first the map output, then the one made of it");
    assert_eq!((harness.launches_of(0), harness.launches_of(1)), (vec![1], vec![1]));
}

#[test]
fn an_output_that_nothing_needs_any_more_is_not_recomputed() {
    let mut harness = Harness::new(&[1, 1]);
    let middle = stage(1, 1, &[0], SHUFFLE);
    harness.submit(vec![map(0, 2, 1), middle, result(2, 2, &[1])], true);
    harness.finish_stage(0);
    assert_eq!(harness.running.get(&attempt(1, 0, 0)), Some(&A));
    harness.finish_stage(1);
    harness.clear();
    harness.lose(B);
    harness.run_to_end();
    assert_eq!(harness.launches_of(0), [], "its consumer is done and holds its output on A");
    assert_eq!(harness.launches_of(2), [0], "it ran on B");
}

#[test]
fn a_recomputation_that_its_consumer_did_without_is_let_go() {
    let mut harness = Harness::new(&[1, 1]);
    let middle = stage(1, 1, &[0], SHUFFLE);
    harness.submit(vec![map(0, 2, 1), middle, result(2, 1, &[1])], true);
    harness.finish_stage(0);
    assert_eq!(launched(&harness.lose(B)), [], "wanted, but A is busy with the consumer");
    let actions = harness.finish(attempt(1, 0, 0));
    assert_eq!(launched(&actions), [(A, attempt(2, 0, 1))], "the consumer had read it in time");
    let stats = harness.run_to_end();
    assert_eq!((stats.recomputed, stats.attempts), (0, 5), "one had started early, on B");
}

#[test]
fn an_unneeded_lost_output_is_recomputed_once_a_later_stage_needs_it() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1)], false);
    harness.finish_all();
    assert_eq!(launched(&harness.lose(B)), [], "nobody reads it");
    harness.clear();
    harness.submit(vec![result(1, 1, &[0])], true);
    harness.run_to_end();
    assert_eq!((harness.launches_of(0), harness.launches_of(1)), (vec![1], vec![0]));
}

#[test]
fn a_stage_that_was_never_complete_is_completed_though_nothing_reads_it() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1)], false);
    harness.finish(attempt(0, 1, 0));
    let actions = harness.lose(B);
    assert_eq!(launched(&actions), []);
    let actions = harness.finish_all();
    assert_eq!(harness.launches_of(0), [0, 1, 1]);
    assert_eq!(finished_stages(&actions), [0]);
}

#[test]
fn a_stage_that_completes_again_says_so_again() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1), result(1, 1, &[0])], true);
    assert_eq!(finished_stages(&harness.finish_stage(0)), [0]);
    harness.lose(B);
    let missing = vec![attempt(0, 1, 0).block(0)];
    let end = AttemptEnd::BlocksMissing { blocks: missing };
    harness.end(attempt(1, 0, 0), end);
    assert_eq!(finished_stages(&harness.finish_stage(0)), [0]);
}

#[test]
fn running_attempts_of_a_lost_worker_go_elsewhere_uncounted() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![result(0, 2, &[])], true);
    harness.finish(attempt(0, 0, 0));
    let actions = harness.lose(B);
    assert_eq!(launched(&actions), [(A, attempt(0, 1, 1))]);
    assert_eq!(harness.scheduler.tasks(JOB.stage(0))[1].failures, 0);
}

#[test]
fn a_task_that_loses_every_worker_it_runs_on_fails_its_job() {
    let mut harness = Harness::new(&[2]);
    harness.submit(vec![result(0, 2, &[])], true);
    for id in 2..20 {
        let worker = gnist_common::ids::WorkerId(id);
        harness.join(worker, 2);
        let actions = harness.lose(gnist_common::ids::WorkerId(id - 1));
        if ended(&actions).is_some() {
            assert_eq!(id - 1, 16);
            assert_eq!(failed(&actions).kind, ErrorKind::Cluster);
            return;
        }
    }
    panic!("the job went on for ever");
}

#[test]
fn a_lost_indeterminate_output_rolls_back_its_users() {
    let mut harness = Harness::new(&[2, 2]);
    harness.submit(vec![indeterminate(map(0, 4, 4)), result(1, 4, &[0])], true);
    harness.finish_stage(0);
    let done_early = harness.finish(attempt(1, 0, 0));
    assert_eq!(results(&done_early), [], "held back: it could still be rolled back");
    harness.clear();
    let actions = harness.lose(B);
    assert_eq!(cancelled(&actions), [attempt(1, 2, 0)], "it has read the old output, on A");
    assert_eq!(dropped(&actions).len(), 3, "two old map outputs and a result on A");
    harness.send(cancelled_on_a(attempt(1, 2, 0)));
    let stats = harness.run_to_end();
    assert_eq!(harness.launches_of(0), [0, 1, 2, 3]);
    assert_eq!(harness.launches_of(1), [0, 1, 2, 3]);
    assert!(harness.launches.iter().all(|(_, launch)| launch.generation.0 == 1));
    assert_eq!(stats.tasks, 8);
}

#[test]
fn a_lost_equivalent_output_rolls_back_nothing() {
    let mut harness = Harness::new(&[2, 2]);
    let maps = Stage { repeatability: Repeatability::Equivalent, ..map(0, 4, 4) };
    harness.submit(vec![maps, result(1, 4, &[0])], true);
    harness.finish_stage(0);
    assert_eq!(results(&harness.finish(attempt(1, 0, 0))), [(attempt(1, 0, 0), true)]);
    harness.clear();
    assert_eq!(cancelled(&harness.lose(B)), []);
    harness.run_to_end();
    assert_eq!(harness.launches_of(0), [1, 3]);
    assert!(harness.launches.iter().all(|(_, launch)| launch.generation.0 == 0));
}

#[test]
fn rounding_rolls_back_only_where_it_places_rows() {
    let relaunched = |repeatability, places_rows| {
        let mut harness = Harness::new(&[2, 2]);
        let partials = Stage { repeatability, ..map(0, 4, 4) };
        let mut stages = vec![partials];
        if places_rows {
            stages.push(stage(1, 4, &[0], SHUFFLE));
            stages.push(result(2, 1, &[1]));
        } else {
            stages.push(result(1, 4, &[0]));
        }
        harness.submit(stages, true);
        harness.finish_stage(0);
        harness.finish(attempt(1, 0, 0));
        harness.clear();
        let actions = harness.lose(B);
        for attempt in cancelled(&actions) {
            harness.send(cancelled_on_a(attempt));
        }
        harness.run_to_end();
        harness.launches_of(0).len()
    };
    assert_eq!(relaunched(Repeatability::Rounding, false), 2);
    assert_eq!(relaunched(Repeatability::Rounding, true), 4);
    assert_eq!(relaunched(Repeatability::Exact, true), 2);
}

#[test]
fn an_indeterminate_output_lost_before_anyone_used_it_is_recomputed_in_part() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![indeterminate(map(0, 4, 1)), result(1, 1, &[0])], true);
    harness.finish(attempt(0, 0, 0));
    harness.finish(attempt(0, 1, 0));
    harness.lose(B);
    harness.run_to_end();
    assert_eq!(harness.launches_of(0), [0, 1, 2, 3, 1, 3]);
    assert!(harness.launches.iter().all(|(_, launch)| launch.generation.0 == 0));
}

#[test]
fn delivered_rows_that_would_be_contradicted_fail_the_job() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![indeterminate(map(0, 2, 1)), result(1, 2, &[0])], true);
    harness.finish_stage(0);
    harness.end(attempt(1, 0, 0), inline());
    let actions = harness.end(attempt(1, 1, 0), done(1));
    assert_eq!(results(&actions), [(attempt(1, 0, 0), false), (attempt(1, 1, 0), true)]);
    let failure = failed(&harness.lose(B));
    assert_eq!(failure.kind, ErrorKind::Contradicted);
}

#[test]
fn a_value_is_not_held_back_and_contradicts_a_second_run_of_what_it_is_made_of() {
    for place in [inline(), done(1)] {
        let mut harness = Harness::new(&[1, 1]);
        let value = stage(1, 1, &[0], StageOutput::Value);
        harness.submit(vec![indeterminate(map(0, 2, 1)), value], false);
        harness.finish_stage(0);
        assert_eq!(results(&harness.end(attempt(1, 0, 0), place)).len(), 1);
        assert!(ended(&harness.lose(B)).is_none(), "nothing needs the lost output yet");
        let failure = failed(&harness.submit(vec![result(2, 1, &[0])], true));
        assert_eq!(failure.kind, ErrorKind::Contradicted);
    }
}

#[test]
fn a_value_of_repeatable_stages_stays_what_it_is() {
    let mut harness = Harness::new(&[1, 1]);
    let value = stage(1, 1, &[0], StageOutput::Value);
    harness.submit(vec![map(0, 2, 1), value], false);
    harness.finish_stage(0);
    harness.end(attempt(1, 0, 0), inline());
    harness.lose(B);
    harness.submit(vec![result(2, 1, &[0])], true);
    harness.run_to_end();
    assert_eq!(harness.launches_of(1), [0]);
}

#[test]
fn an_exact_stage_that_makes_other_rows_the_second_time_is_demoted() {
    let more_rows = |attempt: AttemptEnd| match attempt {
        AttemptEnd::Done(output) => AttemptEnd::Done(TaskOutput { rows: vec![2; 4], ..output }),
        end => end,
    };
    let mut harness = Harness::new(&[2, 2]);
    harness.submit(vec![map(0, 4, 4), stage(1, 4, &[0], SHUFFLE), result(2, 1, &[1])], true);
    harness.finish_stage(0);
    harness.finish(attempt(1, 0, 0));
    // The slot of what started early, and gave way, is free once that has ended.
    let gave_way = cancelled(&harness.lose(B))[0];
    harness.send(cancelled_on_a(gave_way));
    let mut running = harness.running.keys().copied();
    let again = running.clone().find(|attempt| attempt.task.stage == JOB.stage(0));
    assert!(running.any(|attempt| attempt.task.stage == JOB.stage(1)), "the old rows are in use");
    harness.clear();
    let actions = harness.end(again.expect("a lost output is made again"), more_rows(done(4)));
    assert!(actions.contains(&Action::StageDemoted { stage: JOB.stage(0) }));
    for attempt in cancelled(&actions) {
        harness.send(cancelled_on_a(attempt));
    }
    harness.run_to_end();
    assert_eq!(harness.launches_of(0), [0, 1, 2, 3]);
    assert_eq!(harness.launches_of(1), [0, 1, 2, 3]);
}

#[test]
fn a_demoted_stage_that_nothing_used_keeps_its_output() {
    let mut harness = Harness::new(&[1, 1]);
    harness.submit(vec![map(0, 2, 1)], true);
    harness.finish(attempt(0, 1, 0));
    harness.lose(B);
    harness.finish(attempt(0, 0, 0));
    let AttemptEnd::Done(output) = done(1) else { unreachable!("done is done") };
    let other = AttemptEnd::Done(TaskOutput { rows: vec![2], ..output });
    let actions = harness.end(attempt(0, 1, 1), other);
    assert!(actions.contains(&Action::StageDemoted { stage: JOB.stage(0) }));
    assert!(matches!(ended(&actions), Some((Ok(()), _))), "{actions:?}");
}

/// Found by the simulation: what was made of a lost output outlives it.
#[test]
fn a_roll_back_reaches_through_a_stage_that_has_lost_everything() {
    let mut harness = Harness::new(&[1]);
    let middle = stage(1, 1, &[0], SHUFFLE);
    harness.submit(vec![indeterminate(map(0, 1, 1)), middle, result(2, 2, &[1])], true);
    harness.send(Event::WorkerDraining { worker: A });
    harness.finish_stage(0);
    harness.join(B, 1);
    harness.finish_stage(1);
    harness.end(attempt(2, 0, 0), inline());
    assert_eq!(results(&harness.finish(attempt(2, 1, 0))).len(), 2, "one of them delivered");
    assert!(ended(&harness.lose(B)).is_none(), "the other can be made again from stage 0");
    let failure = failed(&harness.lose(A));
    assert!(failure.message.starts_with("rows of app-1.job-0.stage-2 were delivered"));
}
