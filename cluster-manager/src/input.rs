//! Inputs of the shell, and the tasks that carry a conversation's messages to it.

use gnist_common::ids::{ApplicationId, WorkerId};
use gnist_common::protocol::{DriverToManager, ManagerToDriver, ManagerToWorker, WorkerToManager};
use gnist_proto::connect::Reach;
use tokio::sync::{mpsc, oneshot, watch};

use crate::shell::Shell;

/// Inputs that the shell's inbox holds before those who say them wait. Each may carry a batch.
pub(crate) const INBOX_INPUTS_MAX: usize = 4096;

/// Messages that travel as one input.
const BATCH_MESSAGES_MAX: usize = 1024;

/// One conversation, for the life of the manager: a worker that comes back has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// The carrier of a conversation, which decides what the end of the conversation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Channels of this process: an end is final, for the peer can't be anywhere else.
    Channels,
    /// A connection: the peer may still live when it breaks, so its lease decides.
    Connection,
}

/// A worker that has connected.
pub(crate) struct WorkerPeer {
    pub(crate) carrier: Carrier,
    pub(crate) outbox: mpsc::Sender<ManagerToWorker>,
}

/// A driver that has connected.
pub(crate) struct DriverPeer {
    pub(crate) carrier: Carrier,
    pub(crate) outbox: mpsc::Sender<ManagerToDriver>,
    /// Tells the content sink of the same link its application.
    pub(crate) opened: watch::Sender<Option<ApplicationId>>,
}

/// The inputs of the shell.
pub(crate) enum Input {
    WorkerConnected {
        session: SessionId,
        peer: WorkerPeer,
    },
    WorkerSaid {
        session: SessionId,
        messages: Vec<WorkerToManager>,
    },
    DriverConnected {
        session: SessionId,
        peer: DriverPeer,
    },
    DriverSaid {
        session: SessionId,
        messages: Vec<DriverToManager>,
    },
    /// The peer's end of the conversation is gone.
    Disconnected {
        session: SessionId,
    },
    /// The answer to a probe of a worker's data plane. `session` is the session that the worker had
    /// when the probe began.
    Probed {
        worker: WorkerId,
        session: Option<SessionId>,
        reach: Reach,
    },
    /// The supervisor of a process saw it exit.
    ProcessGone {
        process_id: u32,
        reason: String,
    },
    /// A user asks for the end of an application. The reply says whether it ran; nothing if there
    /// is no such application.
    Kill {
        application: ApplicationId,
        reply: oneshot::Sender<Option<bool>>,
    },
    /// A caller looks at the state.
    Read(Box<dyn FnOnce(&mut Shell) + Send>),
    /// The end of the manager.
    Stop,
}

/// Carries what a worker says to the shell, in order and in batches, until either is gone.
pub(crate) async fn carry_worker(
    session: SessionId,
    peer: WorkerPeer,
    mut said: mpsc::Receiver<WorkerToManager>,
    inbox: mpsc::Sender<Input>,
) {
    let mut input = Input::WorkerConnected { session, peer };
    while inbox.send(input).await.is_ok() {
        let mut messages = Vec::new();
        if said.recv_many(&mut messages, BATCH_MESSAGES_MAX).await == 0 {
            // The shell may have stopped: then nobody needs to know.
            let _ = inbox.send(Input::Disconnected { session }).await;
            return;
        }
        input = Input::WorkerSaid { session, messages };
    }
}

/// Carries what a driver says to the shell, in order and in batches, until either is gone.
pub(crate) async fn carry_driver(
    session: SessionId,
    peer: DriverPeer,
    mut said: mpsc::Receiver<DriverToManager>,
    inbox: mpsc::Sender<Input>,
) {
    let mut input = Input::DriverConnected { session, peer };
    while inbox.send(input).await.is_ok() {
        let mut messages = Vec::new();
        if said.recv_many(&mut messages, BATCH_MESSAGES_MAX).await == 0 {
            let _ = inbox.send(Input::Disconnected { session }).await;
            return;
        }
        input = Input::DriverSaid { session, messages };
    }
}
