//! The first answer on a connection, which tells a cluster manager from whatever else listens there:
//! a web server, another service, a worker.

use std::time::Duration;

use gnist_common::error::{ErrorKind, Failure};
use tonic::{Code, Response, Status};

use crate::convert::failure_from_status;

/// Time that a peer has for its first answer. A cluster manager answers at once, but a machine may
/// stand still for a while.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The type of everything that gRPC answers.
const GRPC: &str = "application/grpc";

/// Waits for the first answer of the peer at an address.
///
/// # Errors
/// `Cluster` when it is no cluster manager, or says nothing; the failure that a manager answers.
pub(crate) async fn manager_answer<T>(
    address: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_WITHIN, call).await {
        Ok(Ok(response)) if is_grpc(&response) => Ok(response.into_inner()),
        Ok(Err(status)) if !is_foreign(&status) => Err(failure_from_status(&status)),
        Ok(Ok(_) | Err(_)) => Err(not_a_manager(address, "is not a Gnist cluster manager")),
        Err(_late) => Err(not_a_manager(address, "accepts connections and says nothing")),
    }
}

fn is_grpc<T>(response: &Response<T>) -> bool {
    let kind = response.metadata().get("content-type").and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with(GRPC))
}

/// Returns true for what no cluster manager says: that it does not know the call, or something that
/// is not HTTP/2. What a manager refuses carries a failure.
fn is_foreign(status: &Status) -> bool {
    status.details().is_empty()
        && matches!(status.code(), Code::Unimplemented | Code::Unknown | Code::Internal)
}

fn not_a_manager(address: &str, what: &str) -> Failure {
    let message = format!("`gnist://{address}` {what}");
    let help = "give the address that `gnist cluster-manager` prints: `--listen`, not `--ui`";
    Failure::new(ErrorKind::Cluster, message).with_help(help)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::client::{cluster_state, connect_driver, connect_worker};
    use crate::connect::listen;

    /// The errors of a command, a driver and a worker at a port that says `greeting` and hangs up.
    async fn told_by(greeting: &'static [u8]) -> [String; 3] {
        let listener = listen("127.0.0.1:0").await.expect("listening");
        let addresses = [format!("gnist://{}", listener.address)];
        let listener = listener.into_inner();
        let serving = tokio::spawn(async move {
            loop {
                let (mut peer, _) = listener.accept().await.expect("a peer");
                let mut read = [0; 16];
                let _any = peer.read(&mut read).await;
                let _gone = peer.write_all(greeting).await;
            }
        });
        let told = [
            cluster_state(&addresses).await.expect_err("refused").message,
            connect_driver(&addresses).await.err().expect("refused").message,
            connect_worker(&addresses).await.err().expect("refused").message,
        ];
        serving.abort();
        told.map(|message| message.replace(&addresses[0], "ADDRESS"))
    }

    #[tokio::test]
    async fn what_is_no_cluster_manager_is_said_to_be_none() {
        for greeting in [
            &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
            b"220 mail ESMTP\r\n",
        ] {
            let expected = "`ADDRESS` is not a Gnist cluster manager";
            assert_eq!(told_by(greeting).await, [expected; 3]);
        }
    }
}
