//! The source of programs and bindings: handed over inside one process, or pulled by hash and
//! decoded once per executor (see [`crate::pulled`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use gnist_common::error::Failure;
use gnist_common::graph::{ContentHash, ProgramRef};
use gnist_operators::bindings::Bindings;
use gnist_operators::program::Program;
use gnist_proto::link::ContentSource;

use crate::memory::MemoryBudget;
use crate::pulled::Counted;

/// The rows that a task scans, counted as long as this lives.
#[derive(Default)]
pub struct TaskRows {
    /// The batches, by leaf and partition.
    pub(crate) rows: HashMap<(u32, u32), Vec<RecordBatch>>,
    /// Handles that keep the rows counted.
    pub(crate) held: Vec<Arc<Counted<Vec<RecordBatch>>>>,
}

/// The source of an executor's programs.
#[async_trait]
pub trait ProgramSource: Send + Sync {
    /// The decoded program.
    ///
    /// # Errors
    /// When it can't be had or does not decode.
    async fn program(&self, program: ProgramRef) -> Result<Arc<Counted<Program>>, Failure>;

    /// The decoded bindings; empty ones when there are none.
    ///
    /// # Errors
    /// When they can't be had or do not decode.
    async fn bindings(
        &self,
        program: ProgramRef,
        bindings: Option<ContentHash>,
    ) -> Result<Arc<Counted<Bindings>>, Failure>;

    /// The rows that a task scans, by leaf and partition.
    ///
    /// # Errors
    /// When they can't be had, do not decode, or there is no memory for them.
    async fn rows(
        &self,
        _program: &Program,
        _bindings: &Bindings,
        _task: u32,
    ) -> Result<TaskRows, Failure> {
        Ok(TaskRows::default())
    }

    /// Counts what it keeps in this budget.
    fn count_in(self: Arc<Self>, _budget: &Arc<MemoryBudget>) {}

    /// Gives up what it keeps beyond its part of the budget: an attempt has ended, which may have
    /// used it.
    fn settle(&self) {}

    /// Pulls from here from now on: the cluster manager was reconnected or replaced.
    fn pull_from(&self, _content: Arc<dyn ContentSource>) {}
}

/// Programs handed over inside one process, kept until they are taken back.
#[derive(Default)]
pub struct OneProcessPrograms {
    programs: Mutex<HashMap<ContentHash, Handed>>,
}

#[derive(Clone)]
struct Handed {
    program: Arc<Counted<Program>>,
    bindings: Arc<Counted<Bindings>>,
}

impl OneProcessPrograms {
    /// Hands over a program and what fills its holes, under a hash that only has to be unique in
    /// this process.
    pub fn put(&self, hash: ContentHash, program: Program, bindings: Bindings) {
        let (program, bindings) = (Counted::free(program), Counted::free(bindings));
        self.programs().insert(hash, Handed { program, bindings });
    }

    /// Takes a program back.
    pub fn take(&self, hash: ContentHash) {
        let taken = self.programs().remove(&hash);
        drop(taken);
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<ContentHash, Handed>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, hash: ContentHash) -> Result<Handed, Failure> {
        self.programs().get(&hash).cloned().ok_or_else(|| {
            let kind = gnist_common::error::ErrorKind::NotFound;
            Failure::new(kind, format!("nobody handed over `{hash}`"))
        })
    }
}

#[async_trait]
impl ProgramSource for OneProcessPrograms {
    async fn program(&self, program: ProgramRef) -> Result<Arc<Counted<Program>>, Failure> {
        Ok(self.get(program.hash)?.program)
    }

    async fn bindings(
        &self,
        program: ProgramRef,
        _: Option<ContentHash>,
    ) -> Result<Arc<Counted<Bindings>>, Failure> {
        Ok(self.get(program.hash)?.bindings)
    }
}
