//! `gnist cluster-manager` and `gnist worker`: the processes of a standing cluster.

use std::env;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use gnist_common::bytes::ByteSize;
use gnist_common::config::Config;
use gnist_common::master::MasterUrl;

use super::error::CliError;
use super::exit::Exit;
use super::logs;
use super::settings::{ConfArgs, merge_config, parse_memory};
use super::signals::{block_on, interruptible};
use super::standing;
use crate::cluster::{self, ManagerParts, WorkerParts};
use crate::machine;

/// Arguments of `gnist cluster-manager`.
#[derive(Args)]
pub(super) struct ManagerArgs {
    /// Where workers and drivers reach it; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7077")]
    listen: String,
    /// Where it serves `/api/v1` as JSON; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    ui: String,
    /// What must outlive it [default: $XDG_STATE_HOME/gnist, else ~/.local/state/gnist].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    conf: ConfArgs,
}

/// Arguments of `gnist worker`.
#[derive(Args)]
pub(super) struct WorkerArgs {
    /// The cluster it works for: `gnist://HOST:PORT[,HOST:PORT...]`.
    #[arg(long, value_name = "URL")]
    master: Option<MasterUrl>,
    /// Where other workers fetch blocks; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Tasks it runs at once [default: the CPUs that affinity and cgroup allow].
    #[arg(long, value_name = "N")]
    slots: Option<NonZeroU32>,
    /// Memory budget, such as `4GiB` [default: 60 % of RAM or cgroup limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<ByteSize>,
    /// Where it spills [default: $TMPDIR/gnist].
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    conf: ConfArgs,
}

/// A cluster manager to be started.
#[derive(Clone, Debug)]
pub struct ManagerSettings {
    /// Where workers and drivers reach it.
    pub listen: SocketAddr,
    /// Where it serves JSON.
    pub ui: SocketAddr,
    /// What must outlive it.
    pub state_dir: PathBuf,
    /// Every config key.
    pub config: Config,
}

/// A worker to be started.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// `HOST:PORT` of the cluster managers.
    pub master: Vec<String>,
    /// Its data plane.
    pub listen: SocketAddr,
    /// Tasks it runs at once; none means the CPUs it may use.
    pub slots: Option<NonZeroU32>,
    /// Its memory budget; none means the default share of what there is.
    pub memory: Option<ByteSize>,
    /// Where it spills.
    pub work_dir: PathBuf,
    /// Every config key.
    pub config: Config,
}

pub(super) fn run_manager(args: ManagerArgs) -> Result<Exit, CliError> {
    logs::init("info");
    let settings = ManagerSettings {
        listen: loopback("--listen", &args.listen)?,
        ui: loopback("--ui", &args.ui)?,
        state_dir: args.state_dir.map_or_else(default_state_dir, Ok)?,
        config: merge_config(&args.conf)?,
    };
    start_manager(settings)
}

pub(super) fn run_worker(args: WorkerArgs) -> Result<Exit, CliError> {
    logs::init("info");
    let settings = WorkerSettings {
        master: standing::addresses(args.master.as_ref())?,
        listen: loopback("--listen", &args.listen)?,
        slots: args.slots,
        memory: args.memory,
        work_dir: args.work_dir.unwrap_or_else(|| env::temp_dir().join("gnist")),
        config: merge_config(&args.conf)?,
    };
    start_worker(settings)
}

fn start_manager(settings: ManagerSettings) -> Result<Exit, CliError> {
    let config = &settings.config;
    let parts = ManagerParts {
        listen: settings.listen.to_string(),
        ui: Some(settings.ui.to_string()),
        heartbeat_interval: config.scheduler_heartbeat_interval(),
        lease: config.scheduler_lease(),
        no_worker_timeout: config.scheduler_no_worker_timeout(),
        worker_can_return: true,
    };
    let ready = |address: &str, ui: Option<&str>| {
        tracing::info!("listening on `gnist://{address}`, JSON on `http://{}`", ui.unwrap_or("-"));
    };
    block_on(interruptible(async {
        cluster::run_manager(parts, ready).await?;
        Ok(Exit::Success)
    }))
}

fn start_worker(settings: WorkerSettings) -> Result<Exit, CliError> {
    let parts = WorkerParts {
        manager: settings.master,
        listen: settings.listen.to_string(),
        slots: settings.slots.map_or_else(machine::available_slots, NonZeroU32::get),
        memory: settings.memory.unwrap_or_else(machine::default_memory),
        work_dir: settings.work_dir,
        batch_rows: settings.config.execution_batch_rows().get() as usize,
    };
    let ready = |address: &str| tracing::info!(address, "registered");
    block_on(async {
        cluster::run_worker(parts, ready).await?;
        Ok(Exit::Success)
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
