//! The one place where connections are made and accepted, so that every one has the same settings:
//! no delay, keepalive, wide windows, one message limit.
//!
//! Invariant: only loopback is served. Whoever reaches a port may run programs, so another address
//! has to wait until there are tokens.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use gnist_common::error::{ErrorKind, Failure};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

use crate::wire::control::control_client::ControlClient;
use crate::wire::control::control_server::{Control, ControlServer};
use crate::wire::data::data_client::DataClient;
use crate::wire::data::data_server::{Data, DataServer};

/// Bytes of one chunk of a large thing: content, output tables, blocks.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Bound on any one gRPC message; a large one is rare, and must not break a conversation.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 16 << 20;

const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const FRAME_BYTES: u32 = 256 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Time without an answer after which a connection is broken: longer than a busy machine may starve
/// a process; leases notice the dead sooner.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The endpoint at `HOST:PORT`; `gnist://` before it is taken off.
fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let address = address.strip_prefix("gnist://").unwrap_or(address);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| {
        let message = format!("`{address}` is not an address: HOST:PORT was expected");
        Failure::new(ErrorKind::User, message)
    })?;
    Ok(endpoint
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

/// Connects to a peer at `HOST:PORT`.
///
/// # Errors
/// `Transient` with the root cause when it can't be reached, `User` when this is no address.
pub async fn connect(address: &str) -> Result<Channel, Failure> {
    endpoint(address)?.connect().await.map_err(|error| {
        let message = format!("can't reach `{address}`: {}", root_cause(&error));
        Failure::new(ErrorKind::Transient, message)
    })
}

/// A second connection to where one was made before; made when it is first used.
pub(crate) fn connect_lazily(address: &str) -> Result<Channel, Failure> {
    Ok(endpoint(address)?.connect_lazy())
}

/// Connects to the first cluster manager that answers; says at which address.
///
/// # Errors
/// `Cluster` when none answers, naming the last and why.
pub async fn connect_manager(addresses: &[String]) -> Result<(Channel, String), Failure> {
    let mut refusal = Failure::new(ErrorKind::Cluster, "no address of a cluster manager is given");
    for address in addresses {
        let address = address.strip_prefix("gnist://").unwrap_or(address);
        match endpoint(address)?.connect().await {
            Ok(channel) => return Ok((channel, address.to_owned())),
            Err(error) => refusal = unreachable_manager(address, root_cause(&error)).await,
        }
    }
    Err(refusal)
}

/// The failure of not reaching a cluster manager.
async fn unreachable_manager(address: &str, cause: String) -> Failure {
    // The system's code for an unknown name has no text of its own.
    let cause = match lookup_host(address).await {
        Ok(_) => cause,
        Err(_) => "host not found".to_owned(),
    };
    let message = format!("can't reach the cluster manager at `gnist://{address}`: {cause}");
    let help = "start one with `gnist cluster-manager`, or check `--master`";
    Failure::new(ErrorKind::Cluster, message).with_help(help)
}

/// The outcome of a probe: the state of a process as it looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A process listens there.
    Answers,
    /// The machine answers, and nobody listens: the process is gone.
    Refused,
    /// The state is not known: no route, no answer in time, no such name.
    Silent,
}

/// Tries whether anybody listens at `HOST:PORT`.
pub async fn probe(address: &str) -> Reach {
    match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Reach::Answers,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Reach::Refused,
        Ok(Err(_)) | Err(_) => Reach::Silent,
    }
}

/// A port that is listened on.
pub struct Listener {
    /// The address that was bound, with the port that was chosen for port 0.
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Listener {
    /// The connections that come, for a gRPC server.
    pub fn into_incoming(self) -> TcpIncoming {
        TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(KEEPALIVE_INTERVAL))
    }

    /// The bare listener, for an HTTP server.
    pub fn into_inner(self) -> TcpListener {
        self.listener
    }
}

/// Listens at `HOST:PORT`; port 0 takes a free one.
///
/// # Errors
/// `Unsupported` for an address beyond loopback, `User` for text that is no address, `Cluster`
/// when the port is in use or can't be had.
pub async fn listen(address: &str) -> Result<Listener, Failure> {
    let resolved = resolve(address).await?;
    if !resolved.ip().is_loopback() {
        let message = format!("can't listen at `{address}`, which others can reach");
        let help = "another `--listen` needs tokens, which come later: use 127.0.0.1";
        return Err(Failure::new(ErrorKind::Unsupported, message).with_help(help));
    }
    let cannot = |error: std::io::Error| {
        let message = format!("can't listen at `{address}`: {}", io_cause(&error));
        let failure = Failure::new(ErrorKind::Cluster, message);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure.with_help("port 0 takes a free one"),
            _ => failure,
        }
    };
    let listener = TcpListener::bind(resolved).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok(Listener { address, listener })
}

/// The first socket address that a `HOST:PORT` stands for.
async fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let found = lookup_host(address).await.ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        let message = format!("`{address}` is not an address: HOST:PORT was expected");
        Failure::new(ErrorKind::User, message)
    })
}

/// A gRPC server with the same settings as [`connect`].
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// A client of a cluster manager, with the message limit.
pub fn control_client(channel: Channel) -> ControlClient<Channel> {
    ControlClient::new(channel)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

/// A cluster manager's service, with the message limit.
pub fn control_server<C: Control>(service: C) -> ControlServer<C> {
    ControlServer::new(service)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

/// A client of a worker's data plane, with the message limit.
pub fn data_client(channel: Channel) -> DataClient<Channel> {
    DataClient::new(channel)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

/// A worker's data plane, with the message limit.
pub fn data_server<D: Data>(service: D) -> DataServer<D> {
    DataServer::new(service)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

/// The innermost cause of an error, in few words: `connection refused`.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io_cause(io);
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return cause.to_string(),
        }
    }
}

/// An IO error without its number.
fn io_cause(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manager_that_is_not_there_is_named_with_the_cause() {
        let listener = listen("127.0.0.1:0").await.expect("a free port");
        let address = listener.address.to_string();
        drop(listener);
        assert_eq!(probe(&address).await, Reach::Refused);
        let failure =
            connect_manager(&[format!("gnist://{address}")]).await.expect_err("nobody is there");
        assert_eq!(failure.kind, ErrorKind::Cluster);
        let expected =
            format!("can't reach the cluster manager at `gnist://{address}`: connection refused");
        assert_eq!(failure.message, expected);
    }

    #[tokio::test]
    async fn a_host_that_is_not_known_is_said_not_to_be_found() {
        let addresses = ["nohost.invalid:77".to_owned()];
        let failure = connect_manager(&addresses).await.expect_err("there is no such host");
        let expected =
            "can't reach the cluster manager at `gnist://nohost.invalid:77`: host not found";
        assert_eq!(failure.message, expected);
    }

    #[tokio::test]
    async fn only_loopback_is_served() {
        let failure = listen("0.0.0.0:0").await.err().expect("refused");
        assert_eq!(failure.kind, ErrorKind::Unsupported);
        assert!(failure.to_string().contains("needs tokens, which come later"), "{failure}");
        assert!(listen("127.0.0.1").await.is_err());
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_to_be() {
        let first = listen("127.0.0.1:0").await.expect("a free port");
        assert_ne!(first.address.port(), 0);
        let failure = listen(&first.address.to_string()).await.err().expect("in use");
        let expected = format!("can't listen at `{}`: address in use", first.address);
        assert_eq!(failure.message, expected);
    }
}
