//! Settings of Gnist's own that a statement can change.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{DataFusionError, Result};

const ANSI: &str = "ansi";
const ANSI_DOC: &str = "Whether an overflow of integers and decimals is an error";

/// The settings under `sql.`.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// True if an overflow of integers and decimals is an error.
    pub ansi: bool,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self { ansi: true }
    }
}

impl SqlSettings {
    /// The settings among these options; the defaults where nobody put them there.
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

impl ConfigExtension for SqlSettings {
    const PREFIX: &'static str = "sql";
}

impl ExtensionOptions for SqlSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if key != ANSI {
            let message = format!("unknown setting `sql.{key}`; did you mean `sql.ansi`?");
            return Err(DataFusionError::Configuration(message));
        }
        self.ansi = value.trim().to_ascii_lowercase().parse().map_err(|_| {
            DataFusionError::Configuration(format!("`{value}` is not `true` or `false`"))
        })?;
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![ConfigEntry {
            key: format!("{}.{ANSI}", Self::PREFIX),
            value: Some(self.ansi.to_string()),
            description: ANSI_DOC,
        }]
    }
}
