//! `gnist cluster-manager` and `gnist worker`: the processes of a standing cluster.

use std::env;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gnist_common::bytes::ByteSize;
use gnist_common::master::{MasterUrl, parse_slots};

use super::error::CliError;
use super::exit::Exit;
use super::logs;
use super::settings::{ConfArgs, merge_config, parse_memory};
use super::signals::{block_on, interruptible, stop_signal};
use super::standing;
use crate::cluster::{self, ManagerParts, WorkerParts};
use crate::machine;
use crate::state_dir::StateDir;

/// Arguments of `gnist cluster-manager`.
#[derive(Args)]
pub(super) struct ManagerArgs {
    /// Address for workers and drivers; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7077")]
    listen: String,
    /// Address of the JSON interface `/api/v1`; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    ui: String,
    /// Directory for state that survives a restart [default: $XDG_STATE_HOME/gnist, else
    /// ~/.local/state/gnist].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    conf: ConfArgs,
}

/// Arguments of `gnist worker`.
#[derive(Args)]
pub(super) struct WorkerArgs {
    /// Cluster to work for: `gnist://HOST:PORT[,HOST:PORT...]`
    /// [default: GNIST_MASTER, else gnist.toml, else gnist://127.0.0.1:7077].
    #[arg(long, value_name = "URL")]
    master: Option<MasterUrl>,
    /// Address at which other workers fetch blocks; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Number of tasks that run at once [default: the CPUs that affinity and cgroup allow].
    #[arg(long, value_name = "N", value_parser = parse_slots)]
    slots: Option<NonZeroU32>,
    /// Memory budget, such as `4GiB`; 16 MiB or more [default: 60 % of RAM or cgroup limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<ByteSize>,
    /// Directory for spilled blocks [default: $TMPDIR/gnist].
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    conf: ConfArgs,
}

pub(super) fn run_manager(args: ManagerArgs) -> Result<Exit, CliError> {
    logs::init("info");
    let config = merge_config(&args.conf)?;
    // Nothing has to outlive a cluster manager yet; the folder is made and locked all the same.
    let state_dir = args.state_dir.map_or_else(default_state_dir, Ok)?;
    let parts = ManagerParts {
        listen: loopback("--listen", &args.listen)?.to_string(),
        ui: Some(loopback("--ui", &args.ui)?.to_string()),
        heartbeat_interval: config.scheduler_heartbeat_interval(),
        lease: config.scheduler_lease(),
        no_worker_timeout: config.scheduler_no_worker_timeout(),
        worker_can_return: true,
    };
    let _state_dir = StateDir::open(&state_dir)?;
    block_on(interruptible(async {
        let ready = |address: &str, ui: Option<&str>| {
            eprintln!("cluster manager at gnist://{address}");
            if let Some(ui) = ui {
                eprintln!("state at http://{ui}/api/v1");
            }
        };
        Ok(cluster::run_manager(parts, ready).await?)
    }))?;
    Ok(Exit::Success)
}

pub(super) fn run_worker(args: WorkerArgs) -> Result<Exit, CliError> {
    logs::init("info");
    let config = merge_config(&args.conf)?;
    let parts = WorkerParts {
        manager: standing::addresses(args.master.as_ref())?,
        listen: loopback("--listen", &args.listen)?.to_string(),
        slots: args.slots.map_or_else(machine::available_slots, Into::into),
        memory: args.memory.unwrap_or_else(machine::default_memory),
        work_dir: args.work_dir.unwrap_or_else(|| env::temp_dir().join("gnist")),
        batch_rows: usize::try_from(config.execution_batch_rows().get()).unwrap_or(usize::MAX),
    };
    block_on(async {
        // The worker itself leaves the cluster in good order on a signal; it is only noted here.
        let signal = tokio::spawn(stop_signal());
        let ready = |address: &str| eprintln!("worker at {address}");
        cluster::run_worker(parts, ready).await?;
        match tokio::time::timeout(Duration::ZERO, signal).await {
            Ok(Ok(Ok(exit))) => Err(CliError::Stopped { exit }),
            _ => Ok(Exit::Success),
        }
    })
}

/// An address on this machine alone: others need tokens, which come later.
fn loopback(flag: &str, text: &str) -> Result<SocketAddr, CliError> {
    let resolved = match text.parse() {
        Ok(address) => Some(address),
        Err(_) if text.starts_with("localhost:") => {
            text.to_socket_addrs().ok().and_then(|mut found| found.next())
        }
        Err(_) => None,
    };
    let Some(address): Option<SocketAddr> = resolved else {
        return Err(CliError::usage(format!("{flag}: `{text}` is not `ADDRESS:PORT`")));
    };
    let is_loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if is_loopback {
        return Ok(address);
    }
    let message = format!("{flag}: `{text}` is not on loopback, and there are no tokens yet");
    Err(CliError::usage(message).with_help("listen on `127.0.0.1:PORT`"))
}

fn default_state_dir() -> Result<PathBuf, CliError> {
    let state = env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).map(|dir| dir.join("gnist")).ok_or_else(|| {
        CliError::usage("no home folder to keep state in").with_help("give `--state-dir DIR`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for text in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:7077", "localhost:1"] {
            assert!(loopback("--listen", text).is_ok(), "{text}");
        }
        for text in ["0.0.0.0:1", "8.8.8.8:53", "[::]:1", "7077", "host", "127.0.0.1:x"] {
            let error = loopback("--listen", text).expect_err(text);
            assert_eq!(error.exit().code(), 2, "{text}");
        }
    }
}
