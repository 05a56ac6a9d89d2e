//! The gRPC service: streams and calls, carried to and from the same handle that is used inside one
//! process.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{ApplicationId, StageId};
use gnist_common::protocol::{ManagerToWorker, PROTOCOL_VERSION};
use gnist_proto::client::{VERSION_HEADER, content_chunks};
use gnist_proto::connect::{Listener, control_server, server};
use gnist_proto::convert::{
    ConvertError, FirstMessage, hash_from_wire, manager_to_worker_messages, outputs_to_parts,
    status_from_failure,
};
use gnist_proto::link::ContentSource;
use gnist_proto::wire::control as wire;
use gnist_proto::wire::control::control_server::Control;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::handle::ManagerHandle;
use crate::input::Carrier;

/// Limit of the memory, in bytes, that is reserved because a peer announces so much. Content that
/// is longer grows as it comes.
const CONTENT_RESERVE_MAX: u64 = 256 << 20;

/// Time that a call waits for a stage to be complete before its caller has to ask again. Calls that
/// wait are open at the same time as any others.
const OUTPUTS_WAIT: Duration = Duration::from_secs(2);

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves a manager at a port until it stops.
///
/// # Errors
/// `Cluster` when the port fails.
pub async fn serve(handle: ManagerHandle, listener: Listener) -> Result<(), Failure> {
    let address = listener.address;
    let stopped = {
        let handle = handle.clone();
        async move { handle.stopped().await }
    };
    let router = server().add_service(control_server(Service { handle }));
    let served = router.serve_with_incoming_shutdown(listener.into_incoming(), stopped).await;
    served.map_err(|error| {
        Failure::new(ErrorKind::Cluster, format!("can't serve at `{address}`: {error}"))
    })
}

/// The service.
struct Service {
    handle: ManagerHandle,
}

#[tonic::async_trait]
impl Control for Service {
    type WorkerStream = Answer<wire::ManagerToWorkerMessage>;
    type DriverStream = Answer<wire::ManagerToDriverMessage>;
    type GetContentStream = Answer<wire::ContentChunk>;
    type GetOutputsStream = Answer<wire::OutputsPart>;

    async fn worker(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<Self::WorkerStream>, Status> {
        check_version(&request, "worker")?;
        let link = self.handle.open_worker(Carrier::Connection);
        let (refuse, refused) = oneshot::channel();
        tokio::spawn(carry(request.into_inner(), link.to_manager, refuse));
        let said = ReceiverStream::new(link.from_manager)
            .flat_map(|message| stream::iter(manager_to_worker_messages(message)));
        let shutdown =
            |failure: Failure| Ok(ManagerToWorker::Shutdown { reason: failure.message }.into());
        Ok(Response::new(until_refused(said.map(Ok), refused, shutdown)))
    }

    async fn driver(
        &self,
        request: Request<Streaming<wire::DriverMessage>>,
    ) -> Result<Response<Self::DriverStream>, Status> {
        check_version(&request, "driver")?;
        let link = self.handle.open_driver(Carrier::Connection);
        let (refuse, refused) = oneshot::channel();
        tokio::spawn(carry(request.into_inner(), link.to_manager, refuse));
        let said = ReceiverStream::new(link.from_manager).map(|message| Ok(message.into()));
        let fail = |failure| Err(status_from_failure(failure));
        Ok(Response::new(until_refused(said, refused, fail)))
    }

    async fn put_content(
        &self,
        request: Request<Streaming<wire::ContentChunk>>,
    ) -> Result<Response<wire::PutContentResponse>, Status> {
        self.receive(request.into_inner()).await?;
        Ok(Response::new(wire::PutContentResponse {}))
    }

    async fn keep_content(
        &self,
        request: Request<wire::KeepContentRequest>,
    ) -> Result<Response<wire::KeepContentResponse>, Status> {
        let request = request.into_inner();
        let hash = hash_from_wire(&request.hash).map_err(refusal)?;
        let application = ApplicationId(request.application);
        let kept = self.handle.content_store().keep(application, hash);
        let present = kept.map_err(status_from_failure)?;
        Ok(Response::new(wire::KeepContentResponse { present }))
    }

    async fn release_content(
        &self,
        request: Request<wire::ReleaseContentRequest>,
    ) -> Result<Response<wire::ReleaseContentResponse>, Status> {
        let request = request.into_inner();
        let hash = hash_from_wire(&request.hash).map_err(refusal)?;
        self.handle.content_store().release(ApplicationId(request.application), hash);
        Ok(Response::new(wire::ReleaseContentResponse {}))
    }

    async fn get_content(
        &self,
        request: Request<wire::ContentRequest>,
    ) -> Result<Response<Self::GetContentStream>, Status> {
        let hash = hash_from_wire(&request.into_inner().hash).map_err(refusal)?;
        let bytes = self.handle.content_store().get(hash).map_err(status_from_failure)?;
        let chunks = stream::iter(content_chunks(None, hash, bytes).map(Ok));
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn get_stores(
        &self,
        request: Request<wire::StoresRequest>,
    ) -> Result<Response<wire::Stores>, Status> {
        let application = ApplicationId(request.into_inner().application);
        let stores = self.handle.stores(application).await.map_err(status_from_failure)?;
        Ok(Response::new(stores.into()))
    }

    async fn get_outputs(
        &self,
        request: Request<wire::OutputsRequest>,
    ) -> Result<Response<Self::GetOutputsStream>, Status> {
        let request = request.into_inner();
        let stage = request.stage.ok_or(ConvertError::Missing { field: "OutputsRequest.stage" });
        let stage = StageId::from(stage.map_err(refusal)?);
        let table = timeout(OUTPUTS_WAIT, self.handle.outputs(stage, request.version)).await;
        let parts = match table {
            Ok(table) => outputs_to_parts(&*table.map_err(status_from_failure)?),
            Err(_still_runs) => Vec::new(),
        };
        Ok(Response::new(Box::pin(stream::iter(parts.into_iter().map(Ok)))))
    }

    async fn cluster(
        &self,
        _: Request<wire::ClusterRequest>,
    ) -> Result<Response<wire::ClusterState>, Status> {
        let state = self.handle.state().await.map_err(status_from_failure)?;
        Ok(Response::new(state.into()))
    }

    async fn kill(
        &self,
        request: Request<wire::KillRequest>,
    ) -> Result<Response<wire::KillResponse>, Status> {
        let application = ApplicationId(request.into_inner().application);
        let killed = self.handle.kill(application).await.map_err(status_from_failure)?;
        Ok(Response::new(wire::KillResponse { killed }))
    }
}

impl Service {
    /// Receives content and stores it.
    async fn receive(&self, mut chunks: Streaming<wire::ContentChunk>) -> Result<(), Status> {
        let store = self.handle.content_store();
        let missing = refusal(ConvertError::Missing { field: "ContentChunk.hash" });
        let first = chunks.message().await?.ok_or(missing)?;
        let hash = hash_from_wire(&first.hash).map_err(refusal)?;
        let length = first.length_bytes;
        store.check_room(length).map_err(status_from_failure)?;
        let content = whole(first.data, length, &mut chunks).await?;
        let application = ApplicationId(first.application);
        store.put(application, hash, content).map_err(status_from_failure)
    }
}

/// Puts the chunks of content together, in memory of its own: a chunk is part of the buffer that its
/// connection read into, which may be twice as large.
async fn whole(
    first: Bytes,
    length: u64,
    chunks: &mut Streaming<wire::ContentChunk>,
) -> Result<Bytes, Status> {
    let reserve = usize::try_from(length.min(CONTENT_RESERVE_MAX)).unwrap_or(0);
    let mut whole = Vec::with_capacity(reserve);
    whole.extend_from_slice(&first);
    drop(first);
    while (whole.len() as u64) < length
        && let Some(chunk) = chunks.message().await?
    {
        whole.extend_from_slice(&chunk.data);
    }
    check_length(whole.len() as u64 == length, whole.len(), length)?;
    Ok(whole.into())
}

/// Refuses content of another length than was announced.
fn check_length(is_right: bool, came: usize, announced: u64) -> Result<(), Status> {
    if is_right {
        return Ok(());
    }
    let (came, announced) = (ByteSize(came as u64), ByteSize(announced));
    let message = format!("{announced} of content were announced and {came} came");
    Err(status_from_failure(Failure::new(ErrorKind::Internal, message)))
}

/// Refuses a peer of another version before it has said anything. One that sends no such header is
/// judged by its first message.
fn check_version<T>(request: &Request<T>, peer: &'static str) -> Result<(), Status> {
    let header = request.metadata().get(VERSION_HEADER);
    let theirs = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    match theirs {
        Some(theirs) if theirs != PROTOCOL_VERSION => {
            let ours = PROTOCOL_VERSION;
            Err(refusal(ConvertError::ProtocolVersion { peer, theirs, ours }))
        }
        _ => Ok(()),
    }
}

/// The status for a message that is not understood.
fn refusal(error: ConvertError) -> Status {
    status_from_failure(error.into())
}

/// Carries what a peer says to its link until either ends; says why if a message is not understood.
async fn carry<W, D>(
    mut inbound: Streaming<W>,
    link: mpsc::Sender<D>,
    refuse: oneshot::Sender<Failure>,
) where
    W: FirstMessage,
    D: TryFrom<W, Error = ConvertError>,
{
    let mut is_first = true;
    loop {
        let message = tokio::select! {
            message = inbound.message() => message,
            () = link.closed() => return,
        };
        let Ok(Some(message)) = message else { return };
        let opening = if is_first { message.check_opening() } else { Ok(()) };
        is_first = false;
        let message = match opening.and_then(|()| D::try_from(message)) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "peer refused");
                // A peer that is gone already needs no telling.
                let _ = refuse.send(error.into());
                return;
            }
        };
        if link.send(message).await.is_err() {
            return;
        }
    }
}

/// The messages of the manager, with the refusal as the last one if there is one: a refusal ends
/// the conversation from the peer's side, which makes the shell end it from this one.
fn until_refused<T: Send + 'static>(
    said: impl Stream<Item = Result<T, Status>> + Send + 'static,
    mut refused: oneshot::Receiver<Failure>,
    last_word: impl FnOnce(Failure) -> Result<T, Status> + Send + 'static,
) -> Answer<T> {
    let refusal = stream::once(async move { refused.try_recv().ok().map(last_word) });
    Box::pin(said.chain(refusal.filter_map(std::future::ready)))
}
