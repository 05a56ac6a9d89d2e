//! Recovery: the outputs that are missing and the stages that must be rolled back, as pure
//! functions over a few facts per stage.
//!
//! Recomputation by lineage is that of Zaharia et al., "Resilient Distributed Datasets" (NSDI
//! 2012, section 5.1); the roll-back of what an unrepeatable stage fed is described in `recovery`. Every
//! task of a stage reads from every task of the stages before it, so need is a fact of stages:
//! a stage is needed whole while one task of a consumer is unfinished.

use std::collections::BTreeSet;

use gnist_common::graph::{Repeatability, StageOutput};

/// The part of a stage's place in the graph that recovery looks at: its edges, and how second runs
/// of its tasks may differ.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Indexes of the stages it reads.
    pub(crate) inputs: Vec<usize>,
    /// Indexes of the stages that read it.
    pub(crate) consumers: Vec<usize>,
    /// The differences that a second run of a task may make.
    pub(crate) repeatability: Repeatability,
    /// The destination of its rows.
    pub(crate) output: StageOutput,
}

/// True if a second run of a task of stage `at` can contradict what later stages made of the first.
/// A rounding stage can as soon as a value derived from it may place rows or meet itself, which
/// [`may_compare`] tells of the stages after it; while the graph may grow, any may follow.
pub(crate) fn is_indeterminate(shapes: &[Shape], is_sealed: bool, at: usize) -> bool {
    match shapes[at].repeatability {
        Repeatability::Exact | Repeatability::Equivalent => false,
        Repeatability::Indeterminate => true,
        Repeatability::Rounding => !is_sealed || may_compare(shapes, at),
    }
}

/// True if a value out of stage `at` may be compared with the same value of another run: a stage
/// after it, at any distance, writes a shuffle, which may place rows by it, or gives the driver a
/// value that filters others; or it goes two ways, which may meet.
fn may_compare(shapes: &[Shape], at: usize) -> bool {
    let after = reachable(at, |stage| &shapes[stage].consumers);
    let goes_two_ways = |from: usize| {
        let consumers = shapes[from].consumers.iter();
        let reads = |&at: &usize| shapes[at].inputs.iter().filter(|&&input| input == from).count();
        consumers.map(reads).sum::<usize>() > 1
    };
    let places = |stage: &usize| {
        matches!(shapes[*stage].output, StageOutput::Shuffle { .. } | StageOutput::Value)
    };
    after.iter().any(places) || goes_two_ways(at) || after.into_iter().any(goes_two_ways)
}

/// True if the stage, or any stage that it reads at any distance, is indeterminate: its results are
/// then held back until nothing is left that could roll them back.
pub(crate) fn has_indeterminate_lineage(shapes: &[Shape], is_sealed: bool, at: usize) -> bool {
    is_indeterminate(shapes, is_sealed, at)
        || reachable(at, |stage| &shapes[stage].inputs)
            .into_iter()
            .any(|before| is_indeterminate(shapes, is_sealed, before))
}

/// True if every run of a task makes the same rows: the stage, and every stage that it reads at any
/// distance, is declared exact.
pub(crate) fn has_exact_lineage(shapes: &[Shape], at: usize) -> bool {
    let mut stages = reachable(at, |stage| &shapes[stage].inputs);
    stages.insert(at);
    stages.into_iter().all(|stage| shapes[stage].repeatability == Repeatability::Exact)
}

/// Every stage reached over one or more edges.
fn reachable<'a>(from: usize, edges: impl Fn(usize) -> &'a Vec<usize>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut stack = edges(from).clone();
    while let Some(stage) = stack.pop() {
        if found.insert(stage) {
            stack.extend(edges(stage));
        }
    }
    found
}

/// The facts of one stage that decide what runs again after outputs were lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageFacts {
    /// Indexes of the stages it reads.
    pub(crate) inputs: Vec<usize>,
    /// Indexes of the stages that read it.
    pub(crate) consumers: Vec<usize>,
    /// Some task is wanted and not done.
    pub(crate) unfinished: bool,
    /// Some task was done and its blocks are gone.
    pub(crate) lost: bool,
    /// The stage was complete before; if not, it is wanted for its own sake.
    pub(crate) reported: bool,
    /// Some task runs, is done or was done since the last roll-back: it has used what its inputs
    /// held, and what later stages made of it may still be there even if its own output is not.
    pub(crate) used_inputs: bool,
    /// The result of [`is_indeterminate`] for the stage.
    pub(crate) indeterminate: bool,
}

/// The stages to run again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Stages whose lost tasks run again.
    pub(crate) recompute: BTreeSet<usize>,
    /// Stages of which every task runs again, as a new generation.
    pub(crate) roll_back: BTreeSet<usize>,
}

/// Finds, in one pass up the lineage, the lost outputs that unfinished tasks need, and what the
/// recomputation of an indeterminate one rolls back. O(stages + inputs).
pub(crate) fn recovery(facts: &[StageFacts]) -> Recovery {
    let mut search = Search::new(facts);
    for (at, stage) in facts.iter().enumerate() {
        if stage.unfinished {
            search.open.push(at);
        }
        if stage.lost && !stage.reported {
            search.recompute(at);
        }
    }
    search.run()
}

/// Finds what starts over because a task of stage `at`, which is indeterminate, made other rows
/// than before: nothing, unless something used those.
pub(crate) fn contradiction(facts: &[StageFacts], at: usize, driver_used: bool) -> Recovery {
    let mut search = Search::new(facts);
    if driver_used || search.was_used(at) {
        search.roll_back(at);
    }
    search.run()
}

struct Search<'a> {
    facts: &'a [StageFacts],
    /// Stages that something unfinished reads.
    needed: Vec<bool>,
    /// Stages with work whose inputs have yet to be looked at.
    open: Vec<usize>,
    found: Recovery,
}

impl<'a> Search<'a> {
    fn new(facts: &'a [StageFacts]) -> Self {
        let needed = vec![false; facts.len()];
        Self { facts, needed, open: Vec::new(), found: Recovery::default() }
    }

    fn run(mut self) -> Recovery {
        while let Some(at) = self.open.pop() {
            for &input in &self.facts[at].inputs {
                if !std::mem::replace(&mut self.needed[input], true) && self.facts[input].lost {
                    self.recompute(input);
                }
            }
        }
        assert!(self.found.recompute.is_disjoint(&self.found.roll_back), "one fate per stage");
        self.found
    }

    fn was_used(&self, at: usize) -> bool {
        self.facts[at].consumers.iter().any(|&consumer| self.facts[consumer].used_inputs)
    }

    fn recompute(&mut self, at: usize) {
        if self.facts[at].indeterminate && self.was_used(at) {
            self.roll_back(at);
        } else if !self.found.roll_back.contains(&at) && self.found.recompute.insert(at) {
            self.open.push(at);
        }
    }

    fn roll_back(&mut self, root: usize) {
        let mut stack = vec![root];
        while let Some(at) = stack.pop() {
            if !self.found.roll_back.insert(at) {
                continue;
            }
            self.found.recompute.remove(&at);
            self.open.push(at);
            let users = self.facts[at].consumers.iter();
            stack.extend(users.filter(|&&consumer| self.facts[consumer].used_inputs));
        }
    }
}

#[cfg(test)]
#[path = "lineage/tests.rs"]
mod tests;
