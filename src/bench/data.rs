//! The folder in which benchmark data is kept between runs.

use std::env;
use std::path::PathBuf;

use gnist_common::error::ErrorKind;

use super::generate::{self, Events};
use crate::cli::CliError;

/// The folder of these events in the user's cache; generated when it is not there.
pub(super) fn ensure_events(events: &Events) -> Result<PathBuf, CliError> {
    let folder = cache(&events.name())?;
    if !folder.is_dir() {
        eprintln!("generating events into {}", folder.display());
        generate::events(events, &folder)?;
    }
    Ok(folder)
}

/// The folder of TPC-H data at this scale: the one given, or one in the user's cache; generated
/// when it is not there.
pub(crate) fn ensure(scale: f64, folder: Option<PathBuf>) -> Result<PathBuf, CliError> {
    let folder = folder.map_or_else(|| cache(&format!("tpch-sf{scale}")), Ok)?;
    let whole = generate::TABLES.iter().all(|(table, _)| folder.join(table).is_dir());
    if !whole {
        eprintln!("generating TPC-H scale {scale} into {}", folder.display());
        generate::tpch(scale, &folder)?;
    }
    Ok(folder)
}

fn cache(name: &str) -> Result<PathBuf, CliError> {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let Some(cache) = cache.or_else(home) else {
        let message = "no home folder to keep the data in";
        return Err(CliError::failed(ErrorKind::NotFound, message));
    };
    let parent = cache.join("gnist/bench");
    std::fs::create_dir_all(&parent).map_err(|error| {
        let message = format!("can't make `{}`: {error}", parent.display());
        CliError::failed(ErrorKind::NotFound, message)
    })?;
    Ok(parent.join(name))
}
