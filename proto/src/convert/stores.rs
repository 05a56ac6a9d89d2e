//! Settings of stores.

use gnist_common::stores::StoreSettings;

use crate::wire::control as wire;

impl From<StoreSettings> for wire::Stores {
    fn from(settings: StoreSettings) -> Self {
        Self { settings: settings.into_iter().collect() }
    }
}

impl From<wire::Stores> for StoreSettings {
    fn from(stores: wire::Stores) -> Self {
        stores.settings.into_iter().collect()
    }
}
