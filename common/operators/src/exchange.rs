//! The reading half of an exchange: the blocks of other stages that a program reads, and its
//! failure when they are not there.
//!
//! The worker installs a [`StageInputs`] in the task's session config; the readers of the program
//! find it there. A reader never knows where a block is, how it travels, or whether it was copied.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result as DataFusionResult, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use gnist_common::error::Failure;
use gnist_common::ids::{BlockId, WorkerId};

/// The blocks of an input that one reader partition takes. They are always read in task order of
/// the producer, so that a second attempt sees the same rows in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockSelection {
    /// One output partition of every task of the producer.
    Partition(u32),
    /// Every output partition of every task: a broadcast or a gather.
    All,
    /// Every output partition of one task of the producer: one run of a merge.
    Task(u32),
    /// One output partition of one task of the producer: a piece of a run.
    Block {
        /// The task.
        task: u32,
        /// The output partition of the task.
        partition: u32,
    },
}

/// The inputs of one attempt, as its executor reaches them.
pub trait StageInputs: fmt::Debug + Send + Sync {
    /// Streams the rows of input number `input` of the stage. Lazy: nothing is fetched before the
    /// first poll.
    ///
    /// # Errors
    /// The stream fails with [`FetchError`] inside `DataFusionError::External` when a block can't
    /// be had.
    fn read(
        &self,
        input: usize,
        selection: BlockSelection,
        schema: SchemaRef,
    ) -> DataFusionResult<SendableRecordBatchStream>;
}

/// The extension of a task's session config that holds its inputs.
#[derive(Debug)]
pub struct TaskInputs(pub Arc<dyn StageInputs>);

impl TaskInputs {
    /// The inputs installed in a task's context.
    ///
    /// # Errors
    /// Internal, when the program runs outside an executor.
    pub fn of(context: &TaskContext) -> DataFusionResult<Arc<Self>> {
        context.session_config().get_extension::<Self>().ok_or_else(|| {
            internal_datafusion_err!("a stage's program ran without its inputs installed")
        })
    }
}

/// Reasons why a block of another stage can't be had. They stay typed through DataFusion's errors,
/// so that recovery never depends on a message.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The worker of the blocks answered, and does not have them or found them damaged.
    #[error("input blocks are missing or damaged: {}", shown(blocks))]
    Missing {
        /// The blocks; none when the producer is being computed again and has no table now.
        blocks: Vec<BlockId>,
    },
    /// The worker of the blocks did not answer.
    #[error("{worker} did not answer: {failure}")]
    Unreachable {
        /// The worker.
        worker: WorkerId,
        /// The failure of the fetch, as its reader saw it.
        failure: Failure,
    },
}

/// The first of them, and how many there are.
fn shown(blocks: &[BlockId]) -> String {
    match blocks {
        [] => "their stage is being computed again".to_owned(),
        [first, ..] => format!("{} of them, the first is `{first}`", blocks.len()),
    }
}

impl From<FetchError> for DataFusionError {
    fn from(error: FetchError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
