//! The gRPC ends of the links: what a worker or a driver in a process of its own holds.
//!
//! Each conversation is one stream on a connection of its own; what is pulled by name goes over a
//! second connection, so that a heartbeat never waits behind a large program.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::ContentHash;
use gnist_common::ids::{ApplicationId, StageId};
use gnist_common::protocol::{ManagerToDriver, PROTOCOL_VERSION};
use gnist_common::stores::StoreSettings;
use gnist_common::task::OutputTable;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::answer::manager_answer;
use crate::connect::{CHUNK_BYTES, connect_lazily, connect_manager, control_client};
use crate::convert::{
    ConvertError, driver_messages, failure_from_status, hash_to_wire, outputs_from_parts,
};
use crate::link::{ContentSink, ContentSource, DriverLink, LINK_MESSAGES_MAX, WorkerLink};
use crate::view::ClusterState;
use crate::wire::control as wire;
use crate::wire::control::control_client::ControlClient;

/// The header of both conversations that carries the protocol's version, so that a peer of another
/// version is refused before it has said anything.
pub const VERSION_HEADER: &str = "gnist-protocol-version";

/// Content from this size is offered by hash before it is sent.
const OFFER_BYTES_MIN: usize = 64 << 10;

/// Limit of the memory, in bytes, that is reserved because a peer announces so much. Content that
/// is longer grows as it comes.
const CONTENT_RESERVE_MAX: usize = 256 << 20;

/// Times in a row that a call for outputs may break before its attempt fails. An attempt that was
/// launched early waits in such calls most of its time: a connection that breaks for a moment must
/// not cost it one of its tries.
const OUTPUTS_RETRIES: u32 = 5;

/// Pause between two of those calls.
const OUTPUTS_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Opens a worker's conversation with the first cluster manager that answers.
///
/// # Errors
/// `Cluster` when none answers or it speaks another version.
pub async fn connect_worker(addresses: &[String]) -> Result<WorkerLink, Failure> {
    let (channel, address) = connect_manager(addresses).await?;
    let content = Arc::new(GrpcContent { client: content_client(&address)? });
    let (to_manager, said) = mpsc::channel(LINK_MESSAGES_MAX);
    let (hear, from_manager) = mpsc::channel(LINK_MESSAGES_MAX);
    let outbound = ReceiverStream::new(said).map(wire::WorkerMessage::from);
    let mut client = control_client(channel);
    let inbound = manager_answer(&address, client.worker(versioned(outbound))).await?;
    tokio::spawn(pump(inbound, hear, |_| ()));
    Ok(WorkerLink { to_manager, from_manager, content })
}

/// Opens a driver's conversation with the first cluster manager that answers.
///
/// # Errors
/// `Cluster` when none answers or it speaks another version.
pub async fn connect_driver(addresses: &[String]) -> Result<DriverLink, Failure> {
    let (channel, address) = connect_manager(addresses).await?;
    let (opened, application) = watch::channel(None);
    let content = Arc::new(GrpcSink { client: content_client(&address)?, application });
    let (to_manager, said) = mpsc::channel(LINK_MESSAGES_MAX);
    let (hear, from_manager) = mpsc::channel(LINK_MESSAGES_MAX);
    let outbound =
        ReceiverStream::new(said).flat_map(|message| stream::iter(driver_messages(message)));
    let mut client = control_client(channel);
    let inbound = manager_answer(&address, client.driver(versioned(outbound))).await?;
    let note = move |message: &ManagerToDriver| {
        if let ManagerToDriver::ApplicationOpened { application, .. } = message {
            opened.send_replace(Some(*application));
        }
    };
    tokio::spawn(pump(inbound, hear, note));
    Ok(DriverLink { to_manager, from_manager, content })
}

/// Workers and applications of the first cluster manager that answers.
///
/// # Errors
/// `Cluster` when none answers.
pub async fn cluster_state(addresses: &[String]) -> Result<ClusterState, Failure> {
    let (channel, address) = connect_manager(addresses).await?;
    let mut client = control_client(channel);
    let state = manager_answer(&address, client.cluster(wire::ClusterRequest {})).await?;
    Ok(ClusterState::try_from(state)?)
}

/// Ends an application; false when it had ended before.
///
/// # Errors
/// `Cluster` when no cluster manager answers, `NotFound` when it knows no such application.
pub async fn kill_application(
    addresses: &[String],
    application: ApplicationId,
) -> Result<bool, Failure> {
    let (channel, address) = connect_manager(addresses).await?;
    let request = wire::KillRequest { application: application.0 };
    let mut client = control_client(channel);
    Ok(manager_answer(&address, client.kill(request)).await?.killed)
}

/// The connection for what is pulled by name.
fn content_client(address: &str) -> Result<ControlClient<Channel>, Failure> {
    connect_lazily(address).map(control_client)
}

/// A request that says which version this process speaks.
fn versioned<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(VERSION_HEADER, PROTOCOL_VERSION.into());
    request
}

/// Carries messages from the stream to the link until either ends; `note` sees each on its way.
async fn pump<W, D>(mut inbound: Streaming<W>, link: mpsc::Sender<D>, note: impl Fn(&D))
where
    D: TryFrom<W, Error = ConvertError>,
{
    loop {
        let message = tokio::select! {
            message = inbound.message() => message,
            () = link.closed() => return,
        };
        let Ok(Some(message)) = message else { return };
        // A message of a newer peer that can't be understood breaks the conversation: going on
        // without it would be worse.
        let Ok(message) = D::try_from(message) else { return };
        note(&message);
        if link.send(message).await.is_err() {
            return;
        }
    }
}

/// The content that an executor pulls, over gRPC.
struct GrpcContent {
    client: ControlClient<Channel>,
}

#[async_trait]
impl ContentSource for GrpcContent {
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        let request = wire::ContentRequest { hash: hash_to_wire(hash) };
        let answer = self.client.clone().get_content(request).await;
        let mut chunks = answer.map_err(|status| failure_from_status(&status))?.into_inner();
        let mut content = Content::default();
        while let Some(chunk) = next(&mut chunks).await? {
            content.push(&chunk);
        }
        content.whole()
    }

    async fn outputs(&self, stage: StageId, version: u32) -> Result<Arc<OutputTable>, Failure> {
        let mut broken = 0;
        loop {
            match self.outputs_parts(stage, version).await {
                Ok(parts) if parts.is_empty() => broken = 0, // The stage still runs.
                Ok(parts) => return Ok(Arc::new(outputs_from_parts(stage, parts)?)),
                Err(failure) if failure.kind == ErrorKind::Cluster && broken < OUTPUTS_RETRIES => {
                    broken += 1;
                    tokio::time::sleep(OUTPUTS_RETRY_WAIT).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn stores(&self, application: ApplicationId) -> Result<StoreSettings, Failure> {
        let request = wire::StoresRequest { application: application.0 };
        let answer = self.client.clone().get_stores(request).await;
        Ok(answer.map_err(|status| failure_from_status(&status))?.into_inner().into())
    }
}

impl GrpcContent {
    /// One answer to where the outputs of a stage are; no parts if it says to ask again.
    async fn outputs_parts(
        &self,
        stage: StageId,
        version: u32,
    ) -> Result<Vec<wire::OutputsPart>, Failure> {
        let request = wire::OutputsRequest { stage: Some(stage.into()), version };
        let answer = self.client.clone().get_outputs(request).await;
        let mut stream = answer.map_err(|status| failure_from_status(&status))?.into_inner();
        let mut parts = Vec::new();
        while let Some(part) = next(&mut stream).await? {
            parts.push(part);
        }
        Ok(parts)
    }
}

/// The next message of a stream, its errors as failures.
async fn next<W>(stream: &mut Streaming<W>) -> Result<Option<W>, Failure> {
    stream.message().await.map_err(|status| failure_from_status(&status))
}

/// Content that comes in chunks, whose first one tells the length of all.
#[derive(Default)]
struct Content {
    /// In memory of its own: a chunk is part of the buffer that its connection read into, which may be twice as large.
    bytes: Vec<u8>,
    length: Option<u64>,
}

impl Content {
    fn push(&mut self, chunk: &wire::ContentChunk) {
        if self.length.is_none() {
            self.length = Some(chunk.length_bytes);
            let whole = usize::try_from(chunk.length_bytes).unwrap_or(usize::MAX);
            self.bytes.reserve_exact(whole.min(CONTENT_RESERVE_MAX));
        }
        self.bytes.extend_from_slice(&chunk.data);
    }

    /// All bytes, if as many came as were announced.
    fn whole(self) -> Result<Bytes, Failure> {
        let came = self.bytes.len() as u64;
        match self.length {
            Some(length) if length == came => Ok(self.bytes.into()),
            length => {
                let length = length.unwrap_or_default();
                let message = format!("{came} bytes of content came, and {length} were announced");
                Err(Failure::new(ErrorKind::Cluster, message))
            }
        }
    }
}

/// The store into which a driver puts programs, over gRPC.
struct GrpcSink {
    client: ControlClient<Channel>,
    /// Known once the conversation is open; ends with it.
    application: watch::Receiver<Option<ApplicationId>>,
}

#[async_trait]
impl ContentSink for GrpcSink {
    async fn put_content(&self, hash: ContentHash, bytes: Bytes) -> Result<(), Failure> {
        let application = self.application().await?;
        let large = bytes.len() >= OFFER_BYTES_MIN;
        if !(large && self.is_kept(application, hash).await?) {
            let chunks = stream::iter(content_chunks(Some(application), hash, bytes));
            let answer = self.client.clone().put_content(chunks).await;
            answer.map_err(|status| failure_from_status(&status))?;
        }
        Ok(())
    }

    async fn release_content(&self, hash: ContentHash) -> Result<(), Failure> {
        let application = self.application().await?;
        let hash = hash_to_wire(hash);
        let request = wire::ReleaseContentRequest { application: application.0, hash };
        let answer = self.client.clone().release_content(request).await;
        answer.map(|_| ()).map_err(|status| failure_from_status(&status))
    }
}

impl GrpcSink {
    /// Returns this driver's application, once it is open.
    async fn application(&self) -> Result<ApplicationId, Failure> {
        let mut application = self.application.clone();
        let opened = application.wait_for(Option::is_some).await;
        opened.ok().and_then(|opened| *opened).ok_or_else(|| {
            Failure::new(ErrorKind::Cluster, "the cluster manager closed the conversation")
        })
    }

    /// Asks whether the manager has the content already, and has it kept for this application.
    async fn is_kept(
        &self,
        application: ApplicationId,
        hash: ContentHash,
    ) -> Result<bool, Failure> {
        let hash = hash_to_wire(hash);
        let request = wire::KeepContentRequest { application: application.0, hash };
        let answer = self.client.clone().keep_content(request).await;
        Ok(answer.map_err(|status: Status| failure_from_status(&status))?.into_inner().present)
    }
}

/// Cuts content into the chunks that carry it; there is always a first one, which names it.
pub fn content_chunks(
    application: Option<ApplicationId>,
    hash: ContentHash,
    bytes: Bytes,
) -> impl Iterator<Item = wire::ContentChunk> + Send {
    let length = bytes.len();
    (0..length.div_ceil(CHUNK_BYTES).max(1)).map(move |index| {
        let start = index * CHUNK_BYTES;
        let data = bytes.slice(start..length.min(start + CHUNK_BYTES));
        if index > 0 {
            return wire::ContentChunk { data, ..Default::default() };
        }
        wire::ContentChunk {
            application: application.map_or(0, |application| application.0),
            hash: hash_to_wire(hash),
            length_bytes: length as u64,
            data,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(chunks: &[&'static str], length_bytes: u64) -> Result<Bytes, Failure> {
        let mut content = Content::default();
        for data in chunks {
            let data = Bytes::from_static(data.as_bytes());
            content.push(&wire::ContentChunk { data, length_bytes, ..Default::default() });
        }
        content.whole()
    }

    #[test]
    fn content_that_ends_early_is_an_error() {
        assert_eq!(content(&["ab", "c"], 3).as_deref(), Ok("abc".as_bytes()));
        assert_eq!(content(&[""], 0).as_deref(), Ok("".as_bytes()));
        for (chunks, length) in [(&["ab"][..], 3), (&["ab", "cd"], 3), (&[], 0)] {
            let failure = content(chunks, length).expect_err("another length");
            assert_eq!(failure.kind, ErrorKind::Cluster);
        }
    }
}
