//! Keys of Gnist's own registry that a session can change: an extension of DataFusion's config, so
//! that they travel with it and `SHOW` lists them.

use std::any::Any;
use std::collections::BTreeMap;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{DataFusionError, Result};
use gnist_common::bytes::ByteSize;
use gnist_common::config::{KEYS, Key, Value};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

const BROADCAST: &str = "broadcast.threshold";
pub(super) const BATCH_ROWS: &str = "execution.batch_rows";
pub(super) const BATCH_SIZE: &str = "datafusion.execution.batch_size";
const PARTITIONS: &str = "shuffle.partitions";
const SORT: &str = "sort.sample_threshold";

/// A setting of DataFusion that a key of ours stands for; without a value, as it was at start.
pub(crate) type Implied = Option<(&'static str, Option<String>)>;

/// The session's own settings.
#[derive(Clone, Debug)]
pub(crate) struct OwnSettings {
    /// The values when the session was opened, as they would be typed.
    opened: BTreeMap<&'static str, Option<String>>,
    values: BTreeMap<&'static str, Option<Value>>,
}

impl OwnSettings {
    /// The settings that a session is opened with.
    pub(crate) fn new(
        broadcast: ByteSize,
        batch_rows: usize,
        partitions: Option<u32>,
        sort: ByteSize,
    ) -> Self {
        let count = |number: u32| std::num::NonZeroU32::new(number).map(Value::Count);
        let rows = u32::try_from(batch_rows).unwrap_or(u32::MAX);
        let values = BTreeMap::from([
            (BROADCAST, Some(Value::Size(broadcast))),
            (BATCH_ROWS, count(rows)),
            (PARTITIONS, partitions.and_then(count)),
            (SORT, Some(Value::Size(sort))),
        ]);
        let opened =
            values.iter().map(|(key, value)| (*key, value.as_ref().map(ToString::to_string)));
        Self { opened: opened.collect(), values }
    }

    /// The settings in a config; none when it is not of a session of Gnist.
    pub(crate) fn of(options: &ConfigOptions) -> Option<&Self> {
        options.extensions.get::<Self>()
    }

    /// Returns true if a session can change this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value when the session was opened, as it would be typed.
    pub(crate) fn opened(&self, key: &str) -> Option<String> {
        self.opened.get(key)?.clone()
    }

    /// A copy of the settings with another value of a key that [is one](Self::has), and the setting
    /// of DataFusion that it stands for.
    ///
    /// # Errors
    /// The value is not of the key's kind.
    pub(crate) fn with(
        &self,
        key: &str,
        value: Option<String>,
        on_cluster: bool,
    ) -> Result<(Self, Implied)> {
        let key = KEYS.iter().find(|known| known.name == key).ok_or_else(|| unknown(key))?;
        let parsed = value.as_deref().map(|text| key.kind.parse(text)).transpose();
        let parsed = parsed.map_err(|error| {
            external(Failure::new(ErrorKind::User, format!("can't set `{}`: {error}", key.name)))
        })?;
        let mut this = self.clone();
        this.values.insert(key.name, parsed.clone());
        Ok((this, implied(key, parsed, on_cluster)))
    }

    /// Returns true if the user chose the number of partitions of every exchange.
    pub(crate) fn has_partitions(&self) -> bool {
        self.values.get(PARTITIONS).is_some_and(Option::is_some)
    }

    /// Bytes of sorted runs above which many tasks merge a range each.
    pub(crate) fn sort_threshold(&self) -> ByteSize {
        match self.values.get(SORT) {
            Some(Some(Value::Size(size))) => *size,
            _ => unreachable!("it has a value from the start, of its kind"),
        }
    }
}

fn implied(key: &Key, value: Option<Value>, on_cluster: bool) -> Implied {
    let number = value.map(|value| match value {
        Value::Size(size) => size.0.to_string(),
        other => other.to_string(),
    });
    match key.name {
        BROADCAST if on_cluster => {
            Some(("datafusion.optimizer.hash_join_single_partition_threshold", number))
        }
        BATCH_ROWS => Some((BATCH_SIZE, number)),
        // One process has a partition for each slot.
        PARTITIONS if on_cluster => Some(("datafusion.execution.target_partitions", number)),
        _ => None,
    }
}

fn unknown(key: &str) -> DataFusionError {
    external(Failure::new(ErrorKind::User, format!("unknown setting `{key}`")))
}

impl ConfigExtension for OwnSettings {
    const PREFIX: &'static str = "gnist";
}

impl ExtensionOptions for OwnSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> Result<()> {
        Err(unknown(&format!("{}.{key}", Self::PREFIX)))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let keys = KEYS.iter().filter_map(|key| Some((key, self.values.get(key.name)?)));
        let entries = keys.map(|(key, value)| ConfigEntry {
            key: key.name.to_owned(),
            value: value.as_ref().map(ToString::to_string),
            description: key.doc,
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> OwnSettings {
        OwnSettings::new(ByteSize::mib(10), 8_192, None, ByteSize::mib(32))
    }

    #[test]
    fn a_key_stands_for_datafusions_where_it_has_one() {
        let set = |key: &str, value: &str, on_cluster| {
            let (settings, implied) =
                settings().with(key, Some(value.to_owned()), on_cluster).expect(key);
            (settings, implied.map(|(key, value)| (key, value.expect("a value"))))
        };
        let (changed, implied) = set(PARTITIONS, "7", true);
        assert!(changed.has_partitions() && !settings().has_partitions());
        let key = "datafusion.execution.target_partitions";
        assert_eq!(implied, Some((key, "7".to_owned())));
        assert_eq!(set(PARTITIONS, "7", false).1, None);
        let key = "datafusion.optimizer.hash_join_single_partition_threshold";
        assert_eq!(set(BROADCAST, "1KiB", true).1, Some((key, "1024".to_owned())));
        assert_eq!(set(SORT, "1MiB", true).0.sort_threshold(), ByteSize::mib(1));
        assert!(settings().with(SORT, Some("much".to_owned()), true).is_err());
    }

    #[test]
    fn every_key_is_listed_with_its_value() {
        let listed: Vec<_> =
            settings().entries().into_iter().map(|entry| (entry.key, entry.value)).collect();
        let entry = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        let expected = [
            entry(BROADCAST, Some("10MiB")),
            entry(BATCH_ROWS, Some("8192")),
            entry(PARTITIONS, None),
            entry(SORT, Some("32MiB")),
        ];
        assert_eq!(listed, expected);
    }
}
