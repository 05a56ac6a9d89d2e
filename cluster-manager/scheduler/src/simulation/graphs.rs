//! Random stage graphs, and what their tasks compute.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::graph::{
    ContentHash, InputMode, ProgramKind, ProgramRef, Repeatability, Stage, StageInput, StageOutput,
};
use gnist_common::ids::{AttemptId, JobId, StageId, TaskId};

use super::random::{Random, mix};

/// A job as its driver submits it: in one or more messages.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) batches: Vec<Vec<Stage>>,
    /// A stage that makes other rows in every run, whatever it says.
    liar: Option<StageId>,
}

/// The output of an attempt: a value that follows from what it read, and the attempts of
/// unrepeatable tasks that are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) value: u64,
    pub(super) used: BTreeSet<AttemptId>,
}

impl Plan {
    pub(super) fn random(random: &mut Random, job: JobId) -> Self {
        let count = random.small(1, 6);
        let grows = random.chance(300);
        let mut stages: Vec<Stage> = Vec::new();
        for ordinal in 0..count {
            let is_last = ordinal + 1 == count;
            let stage = random_stage(random, job.stage(ordinal), &stages, is_last, grows);
            stages.push(stage);
        }
        let cut = if grows { random.between(1, count.into()) } else { count.into() };
        let rest = stages.split_off(usize::try_from(cut).expect("few stages"));
        let batches = if rest.is_empty() { vec![stages] } else { vec![stages, rest] };
        let liar = random.chance(100).then(|| job.stage(random.small(0, count - 1)));
        Self { batches, liar }
    }

    pub(super) fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.batches.iter().flatten()
    }

    pub(super) fn stage(&self, id: StageId) -> &Stage {
        self.stages().find(|stage| stage.id == id).expect("a stage of this job")
    }

    pub(super) fn consumers(&self, id: StageId) -> impl Iterator<Item = &Stage> {
        self.stages().filter(move |stage| stage.inputs.iter().any(|input| input.stage == id))
    }

    /// A stage that is held to its word, because all that it is made of is exact, and breaks it.
    pub(super) fn breaks_promise(&self, stage: &Stage) -> bool {
        self.liar == Some(stage.id) && self.is_exact(stage)
    }

    fn is_exact(&self, stage: &Stage) -> bool {
        let mut inputs = stage.inputs.iter().map(|input| self.stage(input.stage));
        stage.repeatability == Repeatability::Exact && inputs.all(|input| self.is_exact(input))
    }

    /// Rows that an attempt makes, per output partition.
    pub(super) fn rows(&self, attempt: AttemptId) -> u64 {
        let breaks_promise = self.breaks_promise(self.stage(attempt.task.stage));
        if breaks_promise { 1 + u64::from(attempt.attempt) } else { 1 }
    }

    /// The second run of a task of this stage may contradict the first.
    pub(super) fn is_volatile(&self, stage: &Stage) -> bool {
        self.breaks_promise(stage) || self.is_said_to_be_volatile(stage)
    }

    fn is_said_to_be_volatile(&self, stage: &Stage) -> bool {
        match stage.repeatability {
            Repeatability::Exact | Repeatability::Equivalent => false,
            Repeatability::Indeterminate => true,
            Repeatability::Rounding => self.is_compared(stage.id),
        }
    }

    /// Rows are placed or filtered by what this stage makes, or it goes two ways, which may meet.
    fn is_compared(&self, id: StageId) -> bool {
        let places = |stage: &Stage| {
            matches!(stage.output, StageOutput::Shuffle { .. } | StageOutput::Value)
        };
        self.consumers(id).count() > 1
            || self.consumers(id).any(|stage| places(stage) || self.is_compared(stage.id))
    }

    /// True if some stage may have to start over. A rounding stage is taken for one that may, as
    /// long as stages may follow.
    pub(super) fn may_start_over(&self) -> bool {
        let grows = self.batches.len() > 1;
        let rounds = |stage: &Stage| stage.repeatability == Repeatability::Rounding;
        self.stages().any(|stage| self.is_volatile(stage) || (grows && rounds(stage)))
    }

    /// The values that the later stages wait for.
    pub(super) fn bound_values(&self) -> impl Iterator<Item = TaskId> {
        let grows = self.batches.len() > 1;
        let values = self.batches[0].iter().filter(|stage| stage.output == StageOutput::Value);
        values
            .filter(move |_| grows)
            .flat_map(|stage| (0..stage.tasks).map(|partition| stage.id.task(partition)))
    }

    /// True if a stage is not in the driver's first message.
    pub(super) fn is_submitted_later(&self, stage: StageId) -> bool {
        self.batches[0].iter().all(|first| first.id != stage)
    }

    /// Returns what a task makes of the outputs it reads, `inputs` being the producers' outputs in
    /// order, and of the values its driver bound.
    pub(super) fn compute(&self, attempt: AttemptId, inputs: &[Vec<Made>], bound: &[Made]) -> Made {
        let stage = self.stage(attempt.task.stage);
        let mut numbers = vec![stage.id.ordinal.into(), attempt.task.partition.into()];
        let mut used = BTreeSet::new();
        for (input, made) in stage.inputs.iter().zip(inputs) {
            let read = match input.mode {
                InputMode::Partition | InputMode::Task => u64::from(attempt.task.partition),
                InputMode::All => u64::MAX,
            };
            for made in made {
                numbers.push(mix(&[made.value, read]));
                used.extend(&made.used);
            }
        }
        for value in bound {
            numbers.push(value.value);
            used.extend(&value.used);
        }
        if self.is_volatile(stage) {
            used.insert(attempt);
        }
        Made { value: mix(&numbers), used }
    }

    /// The right value of every task, computed without a cluster.
    pub(super) fn expected(&self) -> BTreeMap<TaskId, u64> {
        let mut made = BTreeMap::<TaskId, Made>::new();
        for stage in self.stages() {
            let values = self.bound_values().filter(|_| self.is_submitted_later(stage.id));
            let bound: Vec<Made> = values.map(|task| made[&task].clone()).collect();
            for partition in 0..stage.tasks {
                let task = stage.id.task(partition);
                let inputs: Vec<Vec<Made>> =
                    stage.inputs.iter().map(|input| self.all_of(input.stage, &made)).collect();
                made.insert(task, self.compute(task.attempt(0), &inputs, &bound));
            }
        }
        made.into_iter().map(|(task, made)| (task, made.value)).collect()
    }

    fn all_of(&self, id: StageId, made: &BTreeMap<TaskId, Made>) -> Vec<Made> {
        (0..self.stage(id).tasks).map(|partition| made[&id.task(partition)].clone()).collect()
    }
}

fn random_stage(
    random: &mut Random,
    id: StageId,
    before: &[Stage],
    is_last: bool,
    grows: bool,
) -> Stage {
    let readable: Vec<&Stage> =
        before.iter().filter(|stage| !stage.output.is_for_driver()).collect();
    let mut inputs: Vec<StageInput> = Vec::new();
    if !readable.is_empty() {
        for _ in 0..random.between(0, 2) {
            let from = random.pick(&readable);
            let mode = if from.output == StageOutput::Broadcast {
                InputMode::All
            } else {
                InputMode::Partition
            };
            if inputs.iter().all(|input| input.stage != from.id) {
                inputs.push(StageInput { stage: from.id, mode });
            }
        }
        if inputs.is_empty() && is_last {
            inputs
                .push(StageInput { stage: readable[readable.len() - 1].id, mode: InputMode::All });
        }
    }
    let output = match random.between(0, 9) {
        _ if is_last => StageOutput::Result,
        0 => StageOutput::Result,
        1..=2 if grows => StageOutput::Value,
        1..=2 => StageOutput::Broadcast,
        _ => StageOutput::Shuffle { partitions: random.small(1, 6) },
    };
    let repeatability = match random.between(0, 9) {
        0..=5 => Repeatability::Exact,
        6 => Repeatability::Equivalent,
        7 => Repeatability::Rounding,
        _ => Repeatability::Indeterminate,
    };
    Stage {
        id,
        label: String::new(),
        program: ProgramRef {
            hash: ContentHash([0; 32]),
            kind: ProgramKind::Empty,
            length_bytes: 0,
        },
        bindings: None,
        tasks: random.small(1, 6),
        slots_per_task: if random.chance(100) { random.small(2, 4) } else { 1 },
        inputs,
        output,
        repeatability,
    }
}
