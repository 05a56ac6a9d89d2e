//! The one function that turns what was typed into validated settings.
//!
//! ```text
//! master   --master > GNIST_MASTER > `master` in gnist.toml > the command's default
//! config   --conf > GNIST_CONF_* > gnist.toml > the registry's defaults
//! ```

use std::env;
use std::fs;
use std::io;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use gnist_common::bytes::ByteSize;
use gnist_common::config::{Config, ENVIRONMENT_PREFIX, Origin, Setting};
use gnist_common::master::{self, MasterUrl};

use super::error::CliError;
use crate::machine;

/// The config file, looked for in the working folder.
const FILE: &str = "gnist.toml";

/// The variable that names the master.
const MASTER_VARIABLE: &str = "GNIST_MASTER";

/// Flags of every command that runs jobs.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SessionArgs {
    /// Master that runs the jobs: `local`, `local[N]`, `local[*]`, `local-cluster[W,S,MEM]` or
    /// `gnist://HOST:PORT[,HOST:PORT...]` [default: GNIST_MASTER, else gnist.toml, else `local[*]`].
    #[arg(long, value_name = "URL")]
    pub(crate) master: Option<MasterUrl>,
    /// Memory budget of this process, such as `2GiB`; 16 MiB or more [default: 60 % of RAM or
    /// cgroup limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) memory: Option<ByteSize>,
    #[command(flatten)]
    pub(crate) conf: ConfArgs,
}

/// Config keys on the command line.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfArgs {
    /// Value of a config key (`gnist config-reference` lists them); may be given many times.
    #[arg(long, value_name = "KEY=VALUE")]
    conf: Vec<Pair>,
}

/// Forms in which results and lists are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, every row; null is `NULL`.
    #[default]
    Table,
    /// RFC 4180 with a header; null is empty, empty text is `""`.
    Csv,
    /// One JSON object a line, every column present, numbers exact.
    Json,
    /// An Arrow IPC stream.
    Arrow,
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !value.is_empty() => {
                Ok(Self { name: name.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("expected NAME=VALUE".to_owned()),
        }
    }
}

/// A memory budget that this machine can hold, for clap.
pub(crate) fn parse_memory(text: &str) -> Result<ByteSize, String> {
    let memory = master::parse_memory(text)?;
    machine::check_memory(memory).map_err(|failure| failure.message)?;
    Ok(memory)
}

/// The user's wishes, validated.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Master that runs the jobs.
    pub(crate) master: MasterUrl,
    /// Memory budget of this process; none means the default share of what there is.
    pub(crate) memory: Option<ByteSize>,
    /// Every config key.
    pub(crate) config: Config,
}

impl Settings {
    /// Merges flags, environment, file and defaults.
    ///
    /// # Errors
    ///
    /// An unknown key, a bad value, a bad URL, or a file that is not TOML.
    pub(crate) fn merge(args: &SessionArgs, default: MasterUrl) -> Result<Self, CliError> {
        let file = File::read()?;
        let master = match &args.master {
            Some(master) => master.clone(),
            None => master_elsewhere(&file)?.unwrap_or(default),
        };
        let config = config_of(&args.conf, file)?;
        refuse_keys_of_manager(&args.conf, &master)?;
        Ok(Self { master, memory: args.memory, config })
    }
}

/// Keys that only the cluster manager reads, when it starts.
const OF_MANAGER: &str = "scheduler.";

/// Fails if a flag sets what a standing cluster has decided at its start: it would change nothing.
fn refuse_keys_of_manager(args: &ConfArgs, master: &MasterUrl) -> Result<(), CliError> {
    if !matches!(master, MasterUrl::Cluster { .. }) {
        return Ok(());
    }
    let Some(pair) = args.conf.iter().find(|pair| pair.name.starts_with(OF_MANAGER)) else {
        return Ok(());
    };
    let message = format!("`--conf {}` would change nothing on a cluster that stands", pair.name);
    Err(CliError::usage(message)
        .with_help("give it to `gnist cluster-manager` when that is started"))
}

/// The config alone, for commands that have no master to choose.
pub(crate) fn merge_config(args: &ConfArgs) -> Result<Config, CliError> {
    config_of(args, File::read()?)
}

fn master_elsewhere(file: &File) -> Result<Option<MasterUrl>, CliError> {
    let variable = env::var(MASTER_VARIABLE).ok().filter(|url| !url.is_empty());
    let (url, origin) = match (variable, &file.master) {
        (Some(url), _) => (url, MASTER_VARIABLE),
        (None, Some(url)) => (url.clone(), FILE),
        (None, None) => return Ok(None),
    };
    let parsed = url.parse::<MasterUrl>();
    parsed.map(Some).map_err(|error| CliError::usage(format!("{error} (from {origin})")))
}

fn config_of(args: &ConfArgs, file: File) -> Result<Config, CliError> {
    let mut settings = file.settings;
    let variables = env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let value = value.to_string_lossy().into_owned();
        name.starts_with(ENVIRONMENT_PREFIX).then(|| Setting::new(name, value, Origin::Environment))
    });
    settings.extend(variables);
    let flags = args.conf.iter().map(|pair| Setting::new(&pair.name, &pair.value, Origin::Flag));
    settings.extend(flags);
    Config::from_settings(&settings).map_err(|error| {
        CliError::usage(error.to_string()).with_help("`gnist config-reference` lists every key")
    })
}

/// The content of `gnist.toml`.
#[derive(Debug, Default)]
struct File {
    master: Option<String>,
    settings: Vec<Setting>,
}

impl File {
    fn read() -> Result<Self, CliError> {
        match fs::read_to_string(FILE) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(CliError::Io { doing: "reading gnist.toml", source }),
        }
    }

    fn parse(text: &str) -> Result<Self, CliError> {
        let table: toml::Table = text
            .parse()
            .map_err(|error| CliError::usage(format!("{FILE} is not TOML: {error}")))?;
        let mut settings = Vec::new();
        flatten("", &table, &mut settings)?;
        let master = settings.iter().position(|setting| setting.key == "master");
        let master = master.map(|at| settings.remove(at).value);
        Ok(Self { master, settings })
    }
}

fn flatten(prefix: &str, table: &toml::Table, into: &mut Vec<Setting>) -> Result<(), CliError> {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        let text = match value {
            toml::Value::Table(table) => {
                flatten(&format!("{key}."), table, into)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err(CliError::usage(format!(
                    "config key `{key}` in {FILE}: expected one text or number"
                )));
            }
        };
        into.push(Setting::new(key, text, Origin::File));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_master_and_dotted_keys() {
        let text = "master = 'local[3]'\nscheduler.lease = '3s'\n[shuffle]\npartitions = 7\n";
        let file = File::parse(text).expect("TOML");
        assert_eq!(file.master.as_deref(), Some("local[3]"));
        let expected = [
            Setting::new("scheduler.lease", "3s", Origin::File),
            Setting::new("shuffle.partitions", "7", Origin::File),
        ];
        let mut settings = file.settings;
        settings.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_file_that_is_not_toml_or_holds_lists_is_refused() {
        for text in ["shuffle", "shuffle.partitions = [1]"] {
            assert!(File::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_need_both_sides() {
        assert!("a=b=c".parse::<Pair>().is_ok_and(|pair| pair.value == "b=c"));
        for text in ["a", "=b", "a="] {
            assert!(text.parse::<Pair>().is_err(), "{text}");
        }
    }
}
