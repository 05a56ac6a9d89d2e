//! A job: its stages, their shape, and which of them can run.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::graph::{Repeatability, Stage, StageOutput};
use gnist_common::ids::{JobId, StageId, WorkerId};
use gnist_common::protocol::JobStats;
use gnist_common::time::Time;

use crate::lineage::{self, Recovery, Shape, StageFacts};
use crate::stage::StageRun;

/// Reasons to refuse submitted stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GraphError {
    #[error("stages were added to {job} after it was sealed")]
    Sealed { job: JobId },
    #[error("{stage} does not belong to {job}")]
    ForeignStage { stage: StageId, job: JobId },
    #[error("{stage} was submitted twice")]
    Twice { stage: StageId },
    #[error("{stage} has no tasks")]
    NoTasks { stage: StageId },
    #[error("{stage} reads {input}, which is not known")]
    UnknownInput { stage: StageId, input: StageId },
    #[error("{stage} reads {input}, whose output goes to the driver")]
    ResultAsInput { stage: StageId, input: StageId },
    #[error("the stages that {stage} reads lead back to it")]
    Cycle { stage: StageId },
}

/// A job and its stages.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) sealed: bool,
    /// Time when the job last got stages: without workers, its wait for one counts from here at the
    /// earliest.
    pub(crate) submitted_at: Time,
    /// Workers that ran something of it and are not lost.
    pub(crate) workers: BTreeSet<WorkerId>,
    /// Attempts, recomputed tasks and lost workers; the rest is counted at the end.
    pub(crate) stats: JobStats,
    stages: Vec<StageRun>,
    shapes: Vec<Shape>,
    by_ordinal: BTreeMap<u32, usize>,
}

impl Job {
    pub(crate) fn new(id: JobId, now: Time) -> Self {
        Self {
            id,
            sealed: false,
            submitted_at: now,
            workers: BTreeSet::new(),
            stats: JobStats::default(),
            stages: Vec::new(),
            shapes: Vec::new(),
            by_ordinal: BTreeMap::new(),
        }
    }

    /// Adds stages whose inputs are among them or were added before.
    ///
    /// # Errors
    /// If the graph would not be one. The job is then of no further use.
    pub(crate) fn grow(&mut self, stages: Vec<Stage>, sealed: bool) -> Result<(), GraphError> {
        if self.sealed && !stages.is_empty() {
            return Err(GraphError::Sealed { job: self.id });
        }
        let first = self.stages.len();
        for stage in stages {
            self.add(stage)?;
        }
        for at in first..self.stages.len() {
            self.connect(at)?;
        }
        self.check_acyclic(first)?;
        self.sealed |= sealed;
        self.classify();
        Ok(())
    }

    fn add(&mut self, stage: Stage) -> Result<(), GraphError> {
        if stage.id.job != self.id {
            return Err(GraphError::ForeignStage { stage: stage.id, job: self.id });
        }
        if stage.tasks == 0 {
            return Err(GraphError::NoTasks { stage: stage.id });
        }
        if self.by_ordinal.insert(stage.id.ordinal, self.stages.len()).is_some() {
            return Err(GraphError::Twice { stage: stage.id });
        }
        self.shapes.push(Shape {
            inputs: Vec::new(),
            consumers: Vec::new(),
            repeatability: stage.repeatability,
            output: stage.output,
        });
        self.stages.push(StageRun::new(stage));
        Ok(())
    }

    fn connect(&mut self, at: usize) -> Result<(), GraphError> {
        let stage = self.stages[at].stage.id;
        for index in 0..self.stages[at].stage.inputs.len() {
            let input = self.stages[at].stage.inputs[index].stage;
            let Some(from) = self.index_of(input) else {
                return Err(GraphError::UnknownInput { stage, input });
            };
            if self.stages[from].is_for_driver() {
                return Err(GraphError::ResultAsInput { stage, input });
            }
            self.shapes[at].inputs.push(from);
            if self.shapes[from].consumers.last() != Some(&at) {
                self.shapes[from].consumers.push(at);
            }
        }
        Ok(())
    }

    /// Earlier stages never gain inputs, so a cycle is among the new ones (Kahn's algorithm).
    fn check_acyclic(&self, first: usize) -> Result<(), GraphError> {
        let count = self.stages.len();
        let new_inputs = |at: usize| self.shapes[at].inputs.iter().filter(|&&from| from >= first);
        let mut waits_for: Vec<usize> =
            (0..count).map(|at| if at < first { 0 } else { new_inputs(at).count() }).collect();
        let mut open: Vec<usize> = (first..count).filter(|&at| waits_for[at] == 0).collect();
        while let Some(at) = open.pop() {
            for &consumer in &self.shapes[at].consumers {
                let edges = self.shapes[consumer].inputs.iter().filter(|&&from| from == at).count();
                waits_for[consumer] -= edges;
                if waits_for[consumer] == 0 {
                    open.push(consumer);
                }
            }
        }
        let stuck = (first..count).find(|&at| waits_for[at] > 0);
        stuck.map_or(Ok(()), |at| Err(GraphError::Cycle { stage: self.stages[at].stage.id }))
    }

    /// Derives from the graph which stages are held to their first rows, and which results have to
    /// wait. Values never do: the job could not grow.
    fn classify(&mut self) {
        for at in 0..self.stages.len() {
            let is_result = self.stages[at].stage.output == StageOutput::Result;
            self.stages[at].holds_results =
                is_result && lineage::has_indeterminate_lineage(&self.shapes, self.sealed, at);
            self.stages[at].is_exact = lineage::has_exact_lineage(&self.shapes, at);
        }
    }

    fn index_of(&self, stage: StageId) -> Option<usize> {
        (stage.job == self.id).then(|| self.by_ordinal.get(&stage.ordinal).copied()).flatten()
    }

    pub(crate) fn stages(&self) -> &[StageRun] {
        &self.stages
    }

    pub(crate) fn stages_mut(&mut self) -> &mut [StageRun] {
        &mut self.stages
    }

    pub(crate) fn stage(&self, id: StageId) -> Option<&StageRun> {
        self.index_of(id).map(|at| &self.stages[at])
    }

    pub(crate) fn stage_mut(&mut self, id: StageId) -> Option<&mut StageRun> {
        self.index_of(id).map(|at| &mut self.stages[at])
    }

    /// The stages that a stage reads, in the order of its inputs.
    pub(crate) fn inputs(&self, id: StageId) -> impl Iterator<Item = &StageRun> {
        let inputs = self.index_of(id).map_or(&[][..], |at| &self.shapes[at].inputs[..]);
        inputs.iter().map(|&at| &self.stages[at])
    }

    /// The stages that read a stage.
    pub(crate) fn consumers(&self, id: StageId) -> Vec<StageId> {
        let consumers = self.index_of(id).map_or(&[][..], |at| &self.shapes[at].consumers[..]);
        consumers.iter().map(|&at| self.stages[at].stage.id).collect()
    }

    /// True if everything that a stage reads is there. The gate between queued tasks and slots; see
    /// `early` for the attempts that may pass before.
    pub(crate) fn is_runnable(&self, id: StageId) -> bool {
        self.inputs(id).all(StageRun::is_complete)
    }

    /// Some task is wanted and not done.
    pub(crate) fn has_work(&self) -> bool {
        self.stages.iter().any(|stage| stage.unfinished() > 0)
    }

    /// Every result is with the driver.
    pub(crate) fn is_delivered(&self) -> bool {
        self.stages.iter().all(StageRun::is_delivered)
    }

    /// Returns the stages that must run again, given the lost outputs.
    pub(crate) fn recovery(&self) -> Recovery {
        lineage::recovery(&self.all_facts())
    }

    /// Takes a stage for indeterminate from now on. Returns what must start over because it, or
    /// the driver, used what the stage made before.
    pub(crate) fn demote(&mut self, id: StageId) -> Recovery {
        let at = self.index_of(id).expect("only known stages are demoted");
        self.shapes[at].repeatability = Repeatability::Indeterminate;
        self.classify();
        lineage::contradiction(&self.all_facts(), at, self.stages[at].was_announced())
    }

    /// Stops wanting outputs that were queued to be made again only for a stage that has nothing
    /// left to do. Returns the stages whose queue it emptied.
    pub(crate) fn relax(&mut self, done: StageId) -> Vec<StageId> {
        let mut open: Vec<usize> = self.index_of(done).into_iter().collect();
        let mut relaxed = Vec::new();
        while let Some(at) = open.pop() {
            for &input in &self.shapes[at].inputs {
                let mut consumers = self.shapes[input].consumers.iter();
                let is_needed = consumers.any(|&consumer| self.stages[consumer].unfinished() > 0);
                let stage = &mut self.stages[input];
                if is_needed || !stage.reported || stage.queue().is_empty() {
                    continue;
                }
                stage.unwant_queued();
                relaxed.push(stage.stage.id);
                open.extend((stage.unfinished() == 0).then_some(input));
            }
        }
        relaxed
    }

    fn all_facts(&self) -> Vec<StageFacts> {
        (0..self.stages.len()).map(|at| self.facts(at)).collect()
    }

    fn facts(&self, at: usize) -> StageFacts {
        let (stage, shape) = (&self.stages[at], &self.shapes[at]);
        StageFacts {
            inputs: shape.inputs.clone(),
            consumers: shape.consumers.clone(),
            unfinished: stage.unfinished() > 0,
            lost: stage.lost() > 0,
            // A result that is not with the driver is wanted for its own sake.
            reported: stage.reported && !stage.is_for_driver(),
            used_inputs: stage.used_inputs(),
            indeterminate: lineage::is_indeterminate(&self.shapes, self.sealed, at),
        }
    }

    /// Returns the counts of the work done for the job so far.
    pub(crate) fn stats(&self) -> JobStats {
        let started = self.stages.iter().filter(|stage| stage.started);
        let (stages, tasks) =
            started.fold((0, 0), |(stages, tasks), stage| (stages + 1, tasks + stage.stage.tasks));
        JobStats { stages, tasks, ..self.stats }
    }
}
