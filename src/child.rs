//! Processes that this program starts of itself: the cluster manager and the workers of a
//! `local-cluster`.
//!
//! A child is the same executable with [`CHILD_ENV`] set to what it is to be, as JSON; whoever
//! composes a program ([`crate::run()`], the command) looks there first, so a child never becomes a
//! driver that starts children of its own.
//!
//! ```text
//! parent ── stdin (held open) ──▶ child      its end of file ends the child: no orphans
//! parent ◀── stdout, one line ─── child      "HOST:PORT" once it is ready
//! ```

use std::env;
use std::io::{Read, Write};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::cluster::{self, ManagerParts, WorkerParts};
use crate::threads;

/// The environment variable that tells a child its role. Set by Gnist itself, never by users.
pub(crate) const CHILD_ENV: &str = "GNIST_CHILD";

/// Time that a child may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Time that a child whose parent is gone, or wants it to go, may take to delete its files.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// A child's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// A cluster manager on a free port.
    Manager {
        /// Milliseconds between heartbeats.
        heartbeat_ms: u64,
        /// Milliseconds of silence after which a worker is lost.
        lease_ms: u64,
    },
    /// A worker.
    Worker {
        /// `HOST:PORT` of the manager.
        manager: String,
        /// Tasks it runs at once.
        slots: u32,
        /// Memory budget, in bytes.
        memory_bytes: u64,
        /// The folder in which it spills.
        work_dir: std::path::PathBuf,
        /// Rows of a batch.
        batch_rows: usize,
    },
}

/// A child that is ready.
#[derive(Debug)]
pub(crate) struct ReadyChild {
    pub(crate) process: Child,
    /// `HOST:PORT` at which it listens.
    pub(crate) address: String,
}

/// The children of a session. Dropped, they end: each finds its pipe closed and leaves in good
/// order, or is killed.
#[derive(Debug, Default)]
pub(crate) struct Children(pub(crate) Vec<ReadyChild>);

impl Drop for Children {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.process.stdin.take()));
        let deadline = Instant::now() + LEAVE_WITHIN;
        let runs = |child: &mut ReadyChild| matches!(child.process.try_wait(), Ok(None));
        while self.0.iter_mut().any(runs) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts a child and waits until it is ready.
///
/// # Errors
/// `Cluster`, when it can't be started or ends before it is ready.
pub(crate) async fn start(role: &Role) -> Result<ReadyChild, Failure> {
    let failed = |what: String| Failure::new(ErrorKind::Cluster, what);
    let program = env::current_exe()
        .map_err(|error| failed(format!("finding this program's own file: {error}")))?;
    // Only a path can be something else than text.
    let role = serde_json::to_string(role).map_err(|_| {
        let folder = env::temp_dir();
        let message = format!("the folder `{}` has a name that is not UTF-8", folder.display());
        Failure::new(ErrorKind::Cluster, message).with_help("set TMPDIR to another folder")
    })?;
    let mut process = Command::new(program)
        .env(CHILD_ENV, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for the parent, which tells its children in its own way.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("starting a process of the local cluster: {error}")))?;
    let stdout = process.stdout.take().expect("stdout is piped");
    let mut lines = BufReader::new(stdout).lines();
    match tokio::time::timeout(READY_WITHIN, lines.next_line()).await {
        Ok(Ok(Some(address))) => Ok(ReadyChild { process, address }),
        Ok(_) => Err(failed("a process of the local cluster ended before it was ready".to_owned())),
        Err(_) => Err(failed("a process of the local cluster was not ready in 30 s".to_owned())),
    }
}

/// Runs this process as the child it is, if it is one.
pub(crate) fn run_if_child() -> Option<ExitCode> {
    let role = env::var(CHILD_ENV).ok()?;
    Some(match serde_json::from_str::<Role>(&role) {
        Ok(role) => run(role),
        Err(error) => {
            eprintln!("error: `{CHILD_ENV}` is set by Gnist itself and does not parse: {error}");
            ExitCode::from(2)
        }
    })
}

fn run(role: Role) -> ExitCode {
    let parent_gone = end_with_parent();
    let runtime = threads::runtime().worker_threads(2).build().expect("threads can be started");
    match runtime.block_on(run_role(role, parent_gone)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run_role(role: Role, parent_gone: oneshot::Receiver<()>) -> Result<(), Failure> {
    let parent_gone = async move {
        // The thread that sends lives as long as this process.
        let _ = parent_gone.await;
    };
    match role {
        Role::Manager { heartbeat_ms, lease_ms } => {
            let parts = ManagerParts {
                listen: "127.0.0.1:0".to_owned(),
                ui: None,
                heartbeat_interval: Duration::from_millis(heartbeat_ms),
                lease: Duration::from_millis(lease_ms),
                no_worker_timeout: Duration::from_secs(60),
                worker_can_return: false,
            };
            tokio::select! {
                outcome = cluster::run_manager(parts, |address, _| ready(address)) => outcome,
                () = parent_gone => Ok(()),
            }
        }
        Role::Worker { manager, slots, memory_bytes, work_dir, batch_rows } => {
            let parts = WorkerParts {
                manager: vec![manager],
                listen: "127.0.0.1:0".to_owned(),
                slots,
                memory: ByteSize(memory_bytes),
                work_dir,
                batch_rows,
            };
            let stop = async {
                tokio::select! {
                    () = cluster::terminated() => {}
                    () = parent_gone => {}
                }
            };
            cluster::run_worker_until(parts, ready, stop).await
        }
    }
}

#[expect(clippy::print_stdout, reason = "the line that the parent waits for")]
fn ready(address: &str) {
    println!("{address}");
    // A parent that is gone is noticed by `end_with_parent`.
    let _ = std::io::stdout().flush();
}

/// Ends this process when the parent does, however it ends: the kernel closes its end of the pipe.
/// What runs here is told first, and has a moment to leave.
fn end_with_parent() -> oneshot::Receiver<()> {
    let (tell, parent_gone) = oneshot::channel();
    std::thread::spawn(|| {
        let mut byte = [0_u8; 1];
        // Anything but more bytes means that nobody holds the other end.
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        // Nobody listens when it is over already.
        let _ = tell.send(());
        std::thread::sleep(LEAVE_WITHIN);
        std::process::exit(0);
    });
    parent_gone
}
