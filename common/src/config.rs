//! Config: what the user set, layer over layer, validated into typed values.
//!
//! One registry ([`KEYS`], in `config/keys.rs`) names every key with its type, default, unit and
//! meaning; parsing, checking, suggestions and the reference page all come from it. Layers are
//! flags > environment > `gnist.toml` > defaults. This crate reads none of them: the command
//! hands over [`Setting`]s and says where each was found.

mod keys;
mod reference;
mod value;

use std::collections::BTreeMap;
use std::fmt;

pub use keys::{Config, KEYS};
pub use reference::reference;
pub use value::{ParseValueError, Value, ValueKind, format_duration, parse_duration};

/// The entry of one key in the registry.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted name, such as `shuffle.partitions`.
    pub name: &'static str,
    /// The kind of its values.
    pub kind: ValueKind,
    /// The default as it would be typed; none where the value is derived from the job.
    pub default: Option<&'static str>,
    /// The meaning of the key, for people.
    pub doc: &'static str,
}

impl Key {
    /// The name of its environment variable: `GNIST_CONF_SHUFFLE_PARTITIONS`.
    pub fn environment_name(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// Environment variables with this prefix are keys; every other `GNIST_*` is left alone.
pub const ENVIRONMENT_PREFIX: &str = "GNIST_CONF_";

/// The place where a setting was found. The order is the order of precedence, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The key was not set.
    Default,
    /// `gnist.toml`.
    File,
    /// A `GNIST_CONF_*` variable.
    Environment,
    /// `--conf K=V`.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "the defaults",
            Self::File => "gnist.toml",
            Self::Environment => "the environment",
            Self::Flag => "--conf",
        })
    }
}

/// A key and its value as typed, and where.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key's name; for [`Origin::Environment`] the variable's name.
    pub key: String,
    /// The value as it was typed.
    pub value: String,
    /// The place where it was found.
    pub origin: Origin,
}

/// Shows no value, which may be a secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.key, self.origin)
    }
}

impl Setting {
    /// A setting of this key, found there.
    pub fn new(key: impl Into<String>, value: impl Into<String>, origin: Origin) -> Self {
        Self { key: key.into(), value: value.into(), origin }
    }
}

/// Settings that make no config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown config key `{key}` in {origin}{}", suggestion(.nearest))]
    UnknownKey {
        /// The key as it was typed.
        key: String,
        /// The place where it was found.
        origin: Origin,
        /// The known name that is nearest to it.
        nearest: Option<String>,
    },
    /// The key exists and its value does not fit.
    #[error("config key `{key}` in {origin}: {source}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The place where the value was found.
        origin: Origin,
        /// The reason why the value does not fit.
        source: ParseValueError,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl Config {
    /// The config of these settings over the defaults. Among settings of one key the strongest
    /// origin wins, and within one origin the last.
    ///
    /// # Errors
    ///
    /// A key that is not in the registry, or a value that is not of its key's kind.
    pub fn from_settings(settings: &[Setting]) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        let mut ordered: Vec<&Setting> = settings.iter().collect();
        ordered.sort_by_key(|setting| setting.origin);
        for setting in ordered {
            let key = key_of(setting)?;
            let value = key.kind.parse(&setting.value).map_err(|source| ConfigError::BadValue {
                key: key.name,
                origin: setting.origin,
                source,
            })?;
            values.insert(key.name, (value, setting.origin));
        }
        Ok(Self::from_values(values))
    }

    /// Every key that somebody set, as it would be typed again: what a parent hands to its
    /// children.
    pub fn explicit(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        self.values().iter().map(|(key, (value, _))| (*key, value.to_string()))
    }

    /// Returns the place where a key's value was found.
    pub fn origin(&self, key: &str) -> Origin {
        self.values().get(key).map_or(Origin::Default, |(_, origin)| *origin)
    }
}

fn key_of(setting: &Setting) -> Result<&'static Key, ConfigError> {
    // What every variable begins with says nothing about which key was meant.
    let prefix = if setting.origin == Origin::Environment { ENVIRONMENT_PREFIX } else { "" };
    let name_of = |key: &Key| match setting.origin {
        Origin::Environment => key.environment_name()[prefix.len()..].to_owned(),
        _ => key.name.to_owned(),
    };
    let typed = setting.key.strip_prefix(prefix).unwrap_or(&setting.key);
    let found = KEYS.iter().find(|key| name_of(key) == typed);
    found.ok_or_else(|| ConfigError::UnknownKey {
        key: setting.key.clone(),
        origin: setting.origin,
        nearest: nearest(typed, KEYS.iter().map(name_of)).map(|name| format!("{prefix}{name}")),
    })
}

/// The candidate that `text` may be a misspelling of: it differs in a third of the letters at most.
pub fn nearest(text: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let edits_max = (text.chars().count() / 3).max(1);
    candidates
        .map(|name| (strsim::osa_distance(text, &name), name))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by(|(edits, name), (others, other)| {
            let likeness = |name: &str| strsim::jaro_winkler(text, name);
            edits.cmp(others).then_with(|| likeness(other).total_cmp(&likeness(name)))
        })
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
