//! Fetching result blocks from the workers that hold them.

use bytes::{Bytes, BytesMut};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::BlockId;
use gnist_proto::connect;
use gnist_proto::wire::data::{Block, FetchRequest};

/// Fetches one block whole.
///
/// # Errors
/// `Transient`, when its worker does not answer or does not have it any more: the manager will
/// have it recomputed, and say where it is then.
pub(crate) async fn fetch_block(address: &str, block: BlockId) -> Result<Bytes, Failure> {
    let task = block.attempt.task;
    let wanted = Block {
        application: task.stage.job.application.0,
        job: task.stage.job.ordinal,
        stage: task.stage.ordinal,
        task: task.partition,
        attempt: block.attempt.attempt,
        partition: block.partition,
    };
    let request = FetchRequest { ticket: Bytes::new(), blocks: vec![wanted] };
    let channel = connect::connect(address).await?;
    let transient = |status: tonic::Status| {
        let message = format!("fetching the result block `{block}` from `{address}`: {status}");
        Failure::new(ErrorKind::Transient, message)
    };
    let mut chunks =
        connect::data_client(channel).fetch(request).await.map_err(transient)?.into_inner();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.message().await.map_err(transient)? {
        if chunk.missing {
            let message = format!("`{address}` does not have the result block `{block}` any more");
            return Err(Failure::new(ErrorKind::Transient, message));
        }
        bytes.extend_from_slice(&chunk.data);
    }
    Ok(bytes.freeze())
}
