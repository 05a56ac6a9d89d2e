//! The pure lineage functions on small graphs, and on random ones against a naive oracle.

use super::*;
use proptest::prelude::*;

/// Stages from `(inputs, lost, used_inputs, unfinished, indeterminate)`, all complete before.
fn facts(stages: &[(&[usize], bool, bool, bool, bool)]) -> Vec<StageFacts> {
    let fact = |at: usize| {
        let (inputs, lost, used_inputs, unfinished, indeterminate) = stages[at];
        let reads = |other: &usize| stages[*other].0.contains(&at);
        StageFacts {
            inputs: inputs.to_vec(),
            consumers: (0..stages.len()).filter(reads).collect(),
            unfinished,
            lost,
            reported: true,
            used_inputs,
            indeterminate,
        }
    };
    (0..stages.len()).map(fact).collect()
}

fn found(recompute: &[usize], roll_back: &[usize]) -> Recovery {
    Recovery {
        recompute: recompute.iter().copied().collect(),
        roll_back: roll_back.iter().copied().collect(),
    }
}

#[test]
fn lost_outputs_are_found_through_the_whole_lineage() {
    let chain = facts(&[
        (&[], true, true, false, false),
        (&[0], true, true, false, false),
        (&[1], false, true, true, false),
    ]);
    assert_eq!(recovery(&chain), found(&[0, 1], &[]));
}

#[test]
fn a_lost_output_that_nothing_unfinished_reads_stays_lost() {
    let chain = facts(&[
        (&[], true, true, false, false),
        (&[0], false, true, false, false),
        (&[1], false, true, true, false),
    ]);
    assert_eq!(recovery(&chain), found(&[], &[]), "stage 1 still holds what stage 2 reads");
}

#[test]
fn a_stage_that_was_never_complete_is_wanted_for_its_own_sake() {
    let mut single = facts(&[(&[], true, true, false, false)]);
    assert_eq!(recovery(&single), found(&[], &[]));
    single[0].reported = false;
    assert_eq!(recovery(&single), found(&[0], &[]));
}

#[test]
fn an_indeterminate_output_rolls_back_all_that_used_it_and_nothing_else() {
    // 0 -> 1 -> 2 (result so far unfinished), 0 -> 3 (has not started)
    let graph = facts(&[
        (&[], true, true, false, true),
        (&[0], false, true, false, false),
        (&[1], false, true, true, false),
        (&[0], false, false, true, false),
    ]);
    assert_eq!(recovery(&graph), found(&[], &[0, 1, 2]));
}

#[test]
fn an_indeterminate_output_that_nobody_used_is_recomputed_in_part() {
    let graph = facts(&[(&[], true, true, false, true), (&[0], false, false, true, false)]);
    assert_eq!(recovery(&graph), found(&[0], &[]));
}

#[test]
fn a_roll_back_needs_the_other_inputs_of_what_it_rolls_back() {
    // 2 reads the indeterminate 0 and the lost 1, and was done; 3 reads 0 and is unfinished.
    let graph = facts(&[
        (&[], true, true, false, true),
        (&[], true, true, false, false),
        (&[0, 1], false, true, false, false),
        (&[0], false, false, true, false),
    ]);
    assert_eq!(recovery(&graph), found(&[1], &[0, 2]));
}

const SHUFFLE: StageOutput = StageOutput::Shuffle { partitions: 2 };

/// Stages of the given inputs and outputs, the first of which rounds.
fn rounding_first(stages: &[(&[usize], StageOutput)]) -> Vec<Shape> {
    let shape = |(at, (inputs, output)): (usize, &(&[usize], StageOutput))| Shape {
        inputs: inputs.to_vec(),
        consumers: (0..stages.len()).filter(|to| stages[*to].0.contains(&at)).collect(),
        repeatability: if at == 0 { Repeatability::Rounding } else { Repeatability::Exact },
        output: *output,
    };
    stages.iter().enumerate().map(shape).collect()
}

#[test]
fn rounding_is_indeterminate_once_it_may_place_rows() {
    let to_result = rounding_first(&[(&[], SHUFFLE), (&[0], StageOutput::Result)]);
    assert!(!is_indeterminate(&to_result, true, 0));
    assert!(!has_indeterminate_lineage(&to_result, true, 1));
    let to_shuffle =
        rounding_first(&[(&[], SHUFFLE), (&[0], SHUFFLE), (&[1], StageOutput::Result)]);
    assert!(is_indeterminate(&to_shuffle, true, 0));
    assert!(has_indeterminate_lineage(&to_shuffle, true, 2));
}

#[test]
fn rounding_is_indeterminate_once_a_value_comes_of_it() {
    let shapes = rounding_first(&[(&[], SHUFFLE), (&[0], StageOutput::Value)]);
    assert!(is_indeterminate(&shapes, true, 0));
}

#[test]
fn rounding_is_indeterminate_once_it_goes_two_ways() {
    use StageOutput::{Broadcast, Result};
    let diamond = [(&[][..], SHUFFLE), (&[0], Broadcast), (&[1], Broadcast), (&[1, 2], Result)];
    assert!(is_indeterminate(&rounding_first(&diamond), true, 0));
    let read_twice = [(&[][..], SHUFFLE), (&[0], Broadcast), (&[1, 1], Result)];
    assert!(is_indeterminate(&rounding_first(&read_twice), true, 0));
    let chain = [(&[][..], SHUFFLE), (&[0], Broadcast), (&[1], Result)];
    assert!(!is_indeterminate(&rounding_first(&chain), true, 0));
}

#[test]
fn rounding_is_indeterminate_while_stages_may_follow() {
    let to_result = rounding_first(&[(&[], SHUFFLE), (&[0], StageOutput::Result)]);
    assert!(is_indeterminate(&to_result, false, 0));
}

/// Random graphs in which every edge goes from a lower to a higher index.
fn any_facts() -> impl Strategy<Value = Vec<StageFacts>> {
    let stage = (any::<u16>(), any::<[bool; 5]>());
    proptest::collection::vec(stage, 1..9).prop_map(|stages| {
        let edge = |at: usize, from: usize| from < at && (stages[at].0 >> from) & 1 == 1;
        let count = stages.len();
        let fact = |at: usize| {
            let [unfinished, lost, reported, used_inputs, indeterminate] = stages[at].1;
            StageFacts {
                inputs: (0..count).filter(|from| edge(at, *from)).collect(),
                consumers: (0..count).filter(|to| edge(*to, at)).collect(),
                unfinished,
                lost,
                reported,
                used_inputs: used_inputs || lost,
                indeterminate,
            }
        };
        (0..count).map(fact).collect()
    })
}

/// The same answer by repeating the rules until nothing changes.
fn naive(facts: &[StageFacts]) -> Recovery {
    let mut found = Recovery::default();
    loop {
        let before = found.clone();
        for (at, stage) in facts.iter().enumerate() {
            let has_work = |other: usize| {
                facts[other].unfinished
                    || found.recompute.contains(&other)
                    || found.roll_back.contains(&other)
            };
            let wanted = !stage.reported || stage.consumers.iter().any(|&c| has_work(c));
            let used = stage.consumers.iter().any(|&c| facts[c].used_inputs);
            let fed_by_rolled_back =
                stage.used_inputs && stage.inputs.iter().any(|i| found.roll_back.contains(i));
            if fed_by_rolled_back || (stage.lost && wanted && stage.indeterminate && used) {
                found.roll_back.insert(at);
            } else if stage.lost && wanted {
                found.recompute.insert(at);
            }
        }
        found.recompute = &found.recompute - &found.roll_back;
        if found == before {
            return found;
        }
    }
}

proptest! {
    #[test]
    fn one_pass_finds_what_repetition_finds(facts in any_facts()) {
        prop_assert_eq!(recovery(&facts), naive(&facts));
    }
}
