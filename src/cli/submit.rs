//! `gnist submit` and `gnist logs`: applications that run without their submitter. They come later;
//! until then each says so before anything happens.

use std::path::PathBuf;

use clap::Args;
use gnist_common::ids::ApplicationId;
use gnist_common::master::MasterUrl;

use super::error::CliError;
use super::exit::Exit;

/// Arguments of `gnist submit`.
#[derive(Args)]
pub(super) struct SubmitArgs {
    /// Master that runs the application.
    #[arg(long, value_name = "URL")]
    master: Option<MasterUrl>,
    /// Native job binary or `.sql` file, and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "APP"
    )]
    application: Vec<PathBuf>,
}

/// Arguments of `gnist logs`.
#[derive(Args)]
pub(super) struct LogsArgs {
    /// Id of the application, such as `app-7`.
    application: ApplicationId,
    /// Keep printing as more is logged.
    #[arg(short)]
    follow: bool,
    /// Cluster that runs the application.
    #[arg(long, value_name = "URL")]
    master: Option<MasterUrl>,
}

pub(super) fn submit(args: SubmitArgs) -> Result<Exit, CliError> {
    let SubmitArgs { master: _, application: _ } = args;
    let error = CliError::usage("`gnist submit` is not supported yet");
    Err(error.with_help("run SQL with `gnist sql --master URL -f FILE`"))
}

pub(super) fn logs(args: LogsArgs) -> Result<Exit, CliError> {
    let LogsArgs { application: _, follow: _, master: _ } = args;
    Err(CliError::usage("`gnist logs` is not supported yet"))
}
