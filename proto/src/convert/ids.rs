//! Ids and content hashes. Every id is flat on the wire: one level of nesting, not five.

use bytes::Bytes;
use gnist_common::graph::ContentHash;
use gnist_common::ids::{ApplicationId, AttemptId, BlockId, JobId, StageId};

use super::{ConvertError, required};
use crate::wire::control as wire;

impl From<JobId> for wire::Job {
    fn from(id: JobId) -> Self {
        Self { application: id.application.0, job: id.ordinal }
    }
}

impl From<wire::Job> for JobId {
    fn from(id: wire::Job) -> Self {
        ApplicationId(id.application).job(id.job)
    }
}

impl From<StageId> for wire::StageName {
    fn from(id: StageId) -> Self {
        Self { application: id.job.application.0, job: id.job.ordinal, stage: id.ordinal }
    }
}

impl From<wire::StageName> for StageId {
    fn from(id: wire::StageName) -> Self {
        ApplicationId(id.application).job(id.job).stage(id.stage)
    }
}

impl From<AttemptId> for wire::Attempt {
    fn from(id: AttemptId) -> Self {
        let stage = id.task.stage;
        Self {
            application: stage.job.application.0,
            job: stage.job.ordinal,
            stage: stage.ordinal,
            task: id.task.partition,
            attempt: id.attempt,
        }
    }
}

impl From<wire::Attempt> for AttemptId {
    fn from(id: wire::Attempt) -> Self {
        ApplicationId(id.application).job(id.job).stage(id.stage).task(id.task).attempt(id.attempt)
    }
}

impl From<BlockId> for wire::Block {
    fn from(id: BlockId) -> Self {
        Self { attempt: Some(id.attempt.into()), partition: id.partition }
    }
}

impl TryFrom<wire::Block> for BlockId {
    type Error = ConvertError;

    fn try_from(id: wire::Block) -> Result<Self, ConvertError> {
        let attempt = AttemptId::from(required(id.attempt, "Block.attempt")?);
        Ok(attempt.block(id.partition))
    }
}

impl From<BlockId> for crate::wire::data::Block {
    fn from(id: BlockId) -> Self {
        let stage = id.attempt.task.stage;
        Self {
            application: stage.job.application.0,
            job: stage.job.ordinal,
            stage: stage.ordinal,
            task: id.attempt.task.partition,
            attempt: id.attempt.attempt,
            partition: id.partition,
        }
    }
}

impl From<crate::wire::data::Block> for BlockId {
    fn from(id: crate::wire::data::Block) -> Self {
        let stage = ApplicationId(id.application).job(id.job).stage(id.stage);
        stage.task(id.task).attempt(id.attempt).block(id.partition)
    }
}

/// The wire's form of a content hash.
pub fn hash_to_wire(hash: ContentHash) -> Bytes {
    Bytes::copy_from_slice(&hash.0)
}

/// The content hash that came over the wire.
///
/// # Errors
/// `HashLength` when it is no SHA-256.
pub fn hash_from_wire(bytes: &Bytes) -> Result<ContentHash, ConvertError> {
    let hash = <[u8; 32]>::try_from(bytes.as_ref());
    hash.map(ContentHash).map_err(|_| ConvertError::HashLength { length: bytes.len() })
}
