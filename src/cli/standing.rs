//! The standing cluster a command asks about.

use clap::Args;
use gnist_common::master::MasterUrl;

use super::error::CliError;
use super::settings::{Format, SessionArgs, Settings};

/// Flags of every command that asks a standing cluster.
#[derive(Args)]
pub(super) struct StandingArgs {
    /// Cluster to ask: `gnist://HOST:PORT[,HOST:PORT...]`
    /// [default: GNIST_MASTER, else gnist.toml, else gnist://127.0.0.1:7077].
    #[arg(long, value_name = "URL")]
    master: Option<MasterUrl>,
    /// Form in which the answer is printed.
    #[arg(long, value_parser = ["table", "json"], default_value = "table")]
    format: String,
}

impl StandingArgs {
    /// Addresses of its cluster managers.
    pub(super) fn addresses(&self) -> Result<Vec<String>, CliError> {
        addresses(self.master.as_ref())
    }

    pub(super) fn format(&self) -> Format {
        if self.format == "json" { Format::Json } else { Format::Table }
    }
}

/// Addresses of the cluster managers of a master that must be standing.
pub(super) fn addresses(master: Option<&MasterUrl>) -> Result<Vec<String>, CliError> {
    let args = SessionArgs { master: master.cloned(), ..SessionArgs::default() };
    match Settings::merge(&args, MasterUrl::default_cluster())?.master {
        MasterUrl::Cluster { addresses } => Ok(addresses),
        other => Err(CliError::usage(format!("`{other}` is not a standing cluster"))
            .with_help("give `--master gnist://HOST:PORT`")),
    }
}
