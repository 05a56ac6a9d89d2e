//! The client of a bucket, by scheme.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use datafusion::object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use datafusion::object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use datafusion::object_store::client::SpawnedReqwestConnector;
use datafusion::object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use datafusion::object_store::http::HttpBuilder;
use datafusion::object_store::{BackoffConfig, ClientOptions, RetryConfig};
use gnist_common::config::parse_duration;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::stores::StoreSettings;
use tokio::runtime::Handle;

use super::reason::reason_of;
use super::told::Told;
use super::{Store, settings};

/// Time within which the service that gives a machine its role answers, where there is one.
const ROLE_PATIENCE: Duration = Duration::from_millis(500);

/// The address of that service, on the machines of Amazon.
const ROLE_ADDRESS: ([u8; 4], u16) = ([169, 254, 169, 254], 80);

/// Limits of the pause before another try.
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_secs(5),
    base: 2.0,
};

/// Tries after the first.
const RETRIES_MAX: usize = 10;

/// Time for all tries of a request, unless it is set.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

fn retry(settings: &StoreSettings) -> RetryConfig {
    let timeout = settings.get(settings::RETRY_TIMEOUT).and_then(parse_duration);
    RetryConfig {
        backoff: BACKOFF,
        max_retries: RETRIES_MAX,
        retry_timeout: timeout.unwrap_or(RETRY_TIMEOUT),
    }
}

pub(super) fn amazon_s3(
    url: &str,
    settings: &StoreSettings,
    io: Option<&Handle>,
) -> Result<Store, Failure> {
    failed(url, settings.get(settings::AWS_FAILURE))?;
    let mut builder = AmazonS3Builder::new().with_url(url).with_retry(retry(settings));
    for (name, value) in settings.iter() {
        if let Ok(key) = name.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let value = |key| builder.get_config_value(&key).filter(|value: &String| !value.is_empty());
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or(value(AmazonS3ConfigKey::Endpoint));
    let is_anonymous = value(AmazonS3ConfigKey::SkipSignature).is_some_and(|flag| flag == "true");
    let (key, secret) =
        (value(AmazonS3ConfigKey::AccessKeyId), value(AmazonS3ConfigKey::SecretAccessKey));
    let has_other = [
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
        AmazonS3ConfigKey::MetadataEndpoint,
    ];
    let has_other = has_other.into_iter().any(|key| value(key).is_some());
    let missing = match (key, secret) {
        (Some(_), None) => Some("`AWS_SECRET_ACCESS_KEY` is not set"),
        (None, Some(_)) => Some("`AWS_ACCESS_KEY_ID` is not set"),
        (None, None) if !is_anonymous && !has_other && !has_instance_role() => {
            Some("`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are not set")
        }
        _ => None,
    };
    if let Some(missing) = missing {
        let message = format!("there are no credentials for `{url}`: {missing}");
        return Err(Failure::new(ErrorKind::NotFound, message).with_help(
            "set them, or the keys `s3.access_key_id` and `s3.secret_access_key`, or a profile in `~/.aws/credentials`; \
             `s3.anonymous` reads a public bucket",
        ));
    }
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    if let Some(io) = io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    let store = builder.build().map_err(|error| refused(url, S3, &error))?;
    Ok(Store::with_uploads(Arc::new(Told { url: url.into(), store })))
}

const S3: &str = "see the keys `s3.*`, the variables `AWS_*` and the profile in `~/.aws`";
const GOOGLE: &str =
    "set `gs.service_account`, or `GOOGLE_SERVICE_ACCOUNT`, to the file of a service account";
const AZURE: &str = "set `az.account` and `az.access_key` or `az.sas_token`, or `AZURE_STORAGE_ACCOUNT_NAME` and \
     `AZURE_STORAGE_ACCOUNT_KEY`";
const HTTP: &str = "a file of a web server is `https://HOST/PATH`";

/// The failure to read what the user named.
fn failed(url: &str, reason: Option<&str>) -> Result<(), Failure> {
    reason.map_or(Ok(()), |reason| {
        let message = format!("there are no credentials for `{url}`: {reason}");
        Err(Failure::new(ErrorKind::NotFound, message))
    })
}

/// Returns true if this machine may have a role of its own.
fn has_instance_role() -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(ROLE_ADDRESS), ROLE_PATIENCE).is_ok()
}

pub(super) fn google(
    url: &str,
    settings: &StoreSettings,
    io: Option<&Handle>,
) -> Result<Store, Failure> {
    failed(url, settings.get(settings::GOOGLE_FAILURE))?;
    let mut builder = GoogleCloudStorageBuilder::new().with_url(url).with_retry(retry(settings));
    for (name, value) in settings.iter() {
        if let Ok(key) = name.parse::<GoogleConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(io) = io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    let store = builder.build().map_err(|error| refused(url, GOOGLE, &error))?;
    Ok(Store::with_uploads(Arc::new(Told { url: url.into(), store })))
}

pub(super) fn azure(
    url: &str,
    settings: &StoreSettings,
    io: Option<&Handle>,
) -> Result<Store, Failure> {
    let mut builder = MicrosoftAzureBuilder::new().with_url(url).with_retry(retry(settings));
    for (name, value) in settings.iter() {
        if let Ok(key) = name.parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    if let Some(io) = io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    let store = builder.build().map_err(|error| refused(url, AZURE, &error))?;
    Ok(Store::with_uploads(Arc::new(Told { url: url.into(), store })))
}

/// Files of a web server: read by their names. Listing needs WebDAV.
pub(super) fn http(
    url: &str,
    settings: &StoreSettings,
    io: Option<&Handle>,
) -> Result<Store, Failure> {
    let options = ClientOptions::new().with_allow_http(true);
    let mut builder = HttpBuilder::new().with_url(url).with_client_options(options);
    builder = builder.with_retry(retry(settings));
    if let Some(io) = io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    let store = builder.build().map_err(|error| refused(url, HTTP, &error))?;
    Ok(Store::without_uploads(Arc::new(Told { url: url.into(), store })))
}

fn refused(url: &str, help: &'static str, error: &datafusion::object_store::Error) -> Failure {
    let message = format!("can't open `{url}`: {}", reason_of(url, error));
    Failure::new(ErrorKind::NotFound, message).with_help(help)
}
