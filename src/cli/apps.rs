//! `gnist apps`, `gnist workers`, `gnist status`: the applications and workers of a standing cluster.

use clap::Args;
use comfy_table::{Table, presets};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::ApplicationId;
use gnist_proto::view::{ApplicationView, ClusterState, WorkerState, WorkerView};
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output;
use super::settings::Format;
use super::signals::{block_on, interruptible};
use super::standing::StandingArgs;

/// Arguments of `gnist apps` and `gnist workers`.
#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    standing: StandingArgs,
}

/// Arguments of `gnist status`.
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Id of the application, such as `app-7`; `gnist apps` lists them.
    application: ApplicationId,
    #[command(flatten)]
    standing: StandingArgs,
}

pub(super) fn apps(args: ListArgs) -> Result<Exit, CliError> {
    let state = ask(&args.standing)?;
    show(&args.standing, &state.applications, || application_table(&state.applications))
}

pub(super) fn workers(args: ListArgs) -> Result<Exit, CliError> {
    let state = ask(&args.standing)?;
    let rows: Vec<WorkerRow<'_>> = state.workers.iter().map(WorkerRow::of).collect();
    show(&args.standing, &rows, || worker_table(&state.workers))
}

/// The fields of a worker that scripts may rely on; `/api/v1/workers` has more.
#[derive(Serialize)]
struct WorkerRow<'a> {
    id: String,
    address: &'a str,
    state: WorkerState,
    slots: u32,
    memory_bytes: u64,
}

impl<'a> WorkerRow<'a> {
    fn of(worker: &'a WorkerView) -> Self {
        Self {
            id: worker.id.to_string(),
            address: &worker.address,
            state: worker.state,
            slots: worker.slots,
            memory_bytes: worker.memory_bytes,
        }
    }
}

pub(super) fn status(args: StatusArgs) -> Result<Exit, CliError> {
    let state = ask(&args.standing)?;
    let found = state.applications.into_iter().find(|one| one.id == args.application);
    let Some(application) = found else {
        let message = format!("the cluster knows no application `{}`", args.application);
        let failure = Failure::new(ErrorKind::NotFound, message);
        return Err(failure.with_help("`gnist apps` lists the applications").into());
    };
    show(&args.standing, &application, || application_table(std::slice::from_ref(&application)))
}

fn ask(standing: &StandingArgs) -> Result<ClusterState, CliError> {
    super::logs::init("warn");
    let addresses = standing.addresses()?;
    block_on(interruptible(async { Ok(gnist_proto::client::cluster_state(&addresses).await?) }))
}

fn show<T: Serialize>(
    standing: &StandingArgs,
    value: &T,
    table: impl FnOnce() -> Table,
) -> Result<Exit, CliError> {
    let text = match standing.format() {
        Format::Json => output::json_text(value)?,
        _ => table().to_string(),
    };
    output::print(&format!("{text}\n"))
}

fn application_table(applications: &[ApplicationView]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["id", "name", "state", "deploy mode", "submitted at", "ended at", "error"]);
    for one in applications {
        table.add_row([
            one.id.to_string(),
            one.name.clone(),
            one.state.name().to_owned(),
            one.deploy_mode.clone(),
            one.submitted_at.to_string(),
            one.ended_at.map(|at| at.to_string()).unwrap_or_default(),
            one.error.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn worker_table(workers: &[WorkerView]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["id", "address", "state", "slots", "memory"]);
    for one in workers {
        table.add_row([
            one.id.to_string(),
            one.address.clone(),
            one.state.name().to_owned(),
            one.slots.to_string(),
            ByteSize(one.memory_bytes).to_string(),
        ]);
    }
    table
}
