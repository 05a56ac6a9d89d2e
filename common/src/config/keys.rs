//! The registry: every config key once, with its kind, default and meaning, and its getter.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Key, Origin, Value, ValueKind};
use crate::bytes::ByteSize;

/// Validated config: a value for every key of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Config {
    pub(super) fn from_values(values: BTreeMap<&'static str, (Value, Origin)>) -> Self {
        Self { values }
    }

    pub(super) fn values(&self) -> &BTreeMap<&'static str, (Value, Origin)> {
        &self.values
    }

    fn get(&self, key: &Key) -> Option<Value> {
        let default =
            || key.default.map(|text| key.kind.parse(text).expect("tested: defaults fit"));
        self.values.get(key.name).map(|(value, _)| value.clone()).or_else(default)
    }
}

/// The conversion of a key's value to the type that its getter returns.
trait FromValue: Sized {
    fn from_value(value: Option<Value>) -> Self;
}

macro_rules! from_value {
    ($($kind:ident => $type:ty),*) => {$(
        impl FromValue for Option<$type> {
            fn from_value(value: Option<Value>) -> Self {
                match value {
                    Some(Value::$kind(value)) => Some(value),
                    Some(_) => unreachable!("the registry checked its kind"),
                    None => None,
                }
            }
        }

        impl FromValue for $type {
            fn from_value(value: Option<Value>) -> Self {
                Option::<$type>::from_value(value).expect("tested: the key has a default")
            }
        }
    )*};
}

from_value!(Count => NonZeroU32, Size => ByteSize, Duration => Duration, Word => &'static str,
    Flag => bool, Text => String);

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:literal: $kind:expr, $default:expr => $getter:ident -> $type:ty;)+) => {
        /// Every key there is, by name.
        pub static KEYS: &[Key] = &[$(
            Key { name: $name, kind: $kind, default: $default, doc: concat!($($doc),+) },
        )+];

        impl Config {
            $(
                $(#[doc = $doc])+
                pub fn $getter(&self) -> $type {
                    let key = KEYS.iter().find(|key| key.name == $name).expect("a key of the registry");
                    FromValue::from_value(self.get(key))
                }
            )+
        }

        /// Reads every getter once: the test that kinds and defaults fit them.
        #[cfg(test)]
        pub(super) fn read_all(config: &Config) {
            $(let _: $type = config.$getter();)+
        }
    };
}

keys! {
    /// Key of the Azure storage account. `AZURE_STORAGE_ACCOUNT_KEY` when not set.
    "az.access_key": ValueKind::Text, None
        => az_access_key -> Option<String>;
    /// Azure storage account. `AZURE_STORAGE_ACCOUNT_NAME` when not set.
    "az.account": ValueKind::Text, None
        => az_account -> Option<String>;
    /// URL of another server that speaks as Azure's storage does.
    "az.endpoint": ValueKind::Text, None
        => az_endpoint -> Option<String>;
    /// Shared access signature for Azure's storage, in place of a key.
    "az.sas_token": ValueKind::Text, None
        => az_sas_token -> Option<String>;
    /// Most bytes of a join's build side that is sent whole to every executor instead of
    /// shuffling both sides.
    "broadcast.threshold": ValueKind::Size, Some("10MiB")
        => broadcast_threshold -> ByteSize;
    /// Rows of a batch between two operators.
    "execution.batch_rows": ValueKind::Count, Some("8192")
        => execution_batch_rows -> NonZeroU32;
    /// URL of another server that speaks as Google Cloud Storage does.
    "gs.endpoint": ValueKind::Text, None
        => gs_endpoint -> Option<String>;
    /// File of the service account for Google Cloud Storage. `GOOGLE_SERVICE_ACCOUNT` when not set.
    "gs.service_account": ValueKind::Text, None
        => gs_service_account -> Option<String>;
    /// Time that a statement of `gnist sql` runs before its progress is shown.
    "progress.delay": ValueKind::Duration, Some("1s")
        => progress_delay -> Duration;
    /// Access key of S3. `AWS_ACCESS_KEY_ID` when not set, else that of the profile in `~/.aws`.
    "s3.access_key_id": ValueKind::Text, None
        => s3_access_key_id -> Option<String>;
    /// True if requests to S3 are not signed: a public bucket is read without keys.
    "s3.anonymous": ValueKind::Flag, None
        => s3_anonymous -> Option<bool>;
    /// URL of another server that speaks as S3 does, such as `http://127.0.0.1:9000`. `AWS_ENDPOINT_URL`
    /// when not set.
    "s3.endpoint": ValueKind::Text, None
        => s3_endpoint -> Option<String>;
    /// True if the name of a bucket is part of the path, false if it is part of the host's name.
    "s3.path_style": ValueKind::Flag, Some("true")
        => s3_path_style -> bool;
    /// Profile of `~/.aws/credentials` and `~/.aws/config`. `AWS_PROFILE` when not set, else `default`.
    "s3.profile": ValueKind::Text, None
        => s3_profile -> Option<String>;
    /// Region of the buckets. `AWS_REGION` or `AWS_DEFAULT_REGION` when not set, else that of the
    /// profile, else `us-east-1`.
    "s3.region": ValueKind::Text, None
        => s3_region -> Option<String>;
    /// Secret key of S3. `AWS_SECRET_ACCESS_KEY` when not set.
    "s3.secret_access_key": ValueKind::Text, None
        => s3_secret_access_key -> Option<String>;
    /// Token of a session of S3, for keys that end with it. `AWS_SESSION_TOKEN` when not set.
    "s3.session_token": ValueKind::Text, None
        => s3_session_token -> Option<String>;
    /// How often workers and drivers tell the cluster manager that they live, with what they run.
    /// Read by the cluster manager at its start.
    "scheduler.heartbeat_interval": ValueKind::Duration, Some("1s")
        => scheduler_heartbeat_interval -> Duration;
    /// Silence after which a worker is lost, a driver's jobs are cancelled, and a lost cluster
    /// manager fails the jobs of its drivers. Read by the cluster manager at its start.
    "scheduler.lease": ValueKind::Duration, Some("10s")
        => scheduler_lease -> Duration;
    /// How long a job waits while no worker is registered before it fails. On `local-cluster` it
    /// fails at once, for lost workers don't come back. Read by the cluster manager at its start.
    "scheduler.no_worker_timeout": ValueKind::Duration, Some("60s")
        => scheduler_no_worker_timeout -> Duration;
    /// Partitions of a shuffle. Derived from the slots and the bytes of the input when not set,
    /// at least 2 for each slot of a cluster.
    "shuffle.partitions": ValueKind::Count, None
        => shuffle_partitions -> Option<NonZeroU32>;
    /// Bytes of a sorted result above which a cluster samples it, and many tasks merge a range of
    /// keys each; up to that, one task merges it all.
    "sort.sample_threshold": ValueKind::Size, Some("32MiB")
        => sort_sample_threshold -> ByteSize;
    /// True if an overflow of integers and decimals, a division by zero and a cast that does not fit
    /// are errors. Otherwise integers wrap and the rest is null. Statements can set it too:
    /// `SET sql.ansi = false`.
    "sql.ansi": ValueKind::Flag, Some("true")
        => sql_ansi -> bool;
    /// Time for all tries of one request to a store: after an answer of 429 or 5xx, or none, it is
    /// sent again, up to 10 times.
    "storage.retry_timeout": ValueKind::Duration, Some("60s")
        => storage_retry_timeout -> Duration;
}
