//! Settings of the stores that an application reads and writes: endpoints, regions, credentials.
//!
//! They belong to the application. Executors of no other one get them, and they are never part of a program or of the
//! hash of one. Nothing shows their values.

use std::collections::BTreeMap;
use std::fmt;

/// Settings of stores, by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreSettings(BTreeMap<String, String>);

impl StoreSettings {
    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a value, unless there is one.
    pub fn set_default(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_insert_with(|| value.into());
    }

    /// Removes a setting.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// All settings, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for StoreSettings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}

impl IntoIterator for StoreSettings {
    type Item = (String, String);
    type IntoIter = std::collections::btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Shows names alone.
impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreSettings").field(&self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let mut settings = StoreSettings::default();
        settings.set("aws_secret_access_key", "hush");
        settings.set_default("aws_secret_access_key", "other");
        assert_eq!(settings.get("aws_secret_access_key"), Some("hush"));
        let shown = format!("{settings:?} {settings:#?}");
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("hush"), "{shown}");
    }
}
