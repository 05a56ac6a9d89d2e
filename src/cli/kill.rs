//! `gnist kill`: ends an application of a standing cluster, and all that it runs there.

use clap::Args;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::ApplicationId;
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::settings::Format;
use super::signals::{block_on, interruptible};
use super::standing::StandingArgs;

/// Arguments of `gnist kill`.
#[derive(Args)]
pub(super) struct KillArgs {
    /// Id of the application, such as `app-7`; `gnist apps` lists them.
    application: ApplicationId,
    #[command(flatten)]
    standing: StandingArgs,
}

/// The answer in JSON.
#[derive(Serialize)]
struct Killed {
    id: String,
    /// False for an application that had ended before.
    killed: bool,
}

pub(super) fn run(args: KillArgs) -> Result<Exit, CliError> {
    super::logs::init("warn");
    let addresses = args.standing.addresses()?;
    let id = args.application;
    let killed = block_on(interruptible(async {
        let killed = gnist_proto::client::kill_application(&addresses, id).await;
        Ok(killed.map_err(with_help)?)
    }))?;
    if args.standing.format() == Format::Json {
        let answer = Killed { id: id.to_string(), killed };
        return output::print(&format!("{}\n", output::json_text(&answer)?));
    }
    if killed {
        eprintln!("killed `{id}`");
    } else {
        eprintln!("`{id}` had ended before");
    }
    Ok(Exit::Success)
}

fn with_help(failure: Failure) -> Failure {
    match failure.kind {
        ErrorKind::NotFound => failure.with_help("`gnist apps` lists the applications"),
        _ => failure,
    }
}
