//! The settings of stores, from where the user has them: config keys, the environment, profiles.
//!
//! The driver reads them where the application was submitted. Executors get what it found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datafusion::object_store::aws::AmazonS3ConfigKey;
use datafusion::object_store::azure::AzureConfigKey;
use datafusion::object_store::gcp::GoogleConfigKey;
use gnist_common::stores::StoreSettings;

use crate::refusal::io_reason;

/// The setting of the time for all tries of a request, such as `60s`.
pub(super) const RETRY_TIMEOUT: &str = "retry_timeout";

/// Settings that say why there are none.
pub(super) const AWS_FAILURE: &str = "aws_failure";
pub(super) const GOOGLE_FAILURE: &str = "google_failure";

/// Config keys, and what the clients call them.
const KEYS: [(&str, &str); 14] = [
    ("az.access_key", "azure_storage_account_key"),
    ("az.account", "azure_storage_account_name"),
    ("az.endpoint", "azure_storage_endpoint"),
    ("az.sas_token", "azure_storage_sas_key"),
    ("gs.endpoint", "google_base_url"),
    ("gs.service_account", "google_service_account"),
    ("s3.access_key_id", "aws_access_key_id"),
    ("s3.anonymous", "aws_skip_signature"),
    ("s3.endpoint", "aws_endpoint_url"),
    ("s3.path_style", "aws_virtual_hosted_style_request"),
    ("s3.region", "aws_region"),
    ("s3.secret_access_key", "aws_secret_access_key"),
    ("s3.session_token", "aws_session_token"),
    ("storage.retry_timeout", RETRY_TIMEOUT),
];

/// Names of the profile's file, its keys, and what the clients call them.
const OF_PROFILE: [(&str, &str); 5] = [
    ("aws_access_key_id", "aws_access_key_id"),
    ("aws_secret_access_key", "aws_secret_access_key"),
    ("aws_session_token", "aws_session_token"),
    ("region", "aws_region"),
    ("endpoint_url", "aws_endpoint_url"),
];

/// The settings of all stores: config `keys` before variables of the `environment`, and those before the profile of
/// Amazon's tools in the home folder, which is `s3.profile`, `AWS_PROFILE` or `default`. A profile or a file that is not
/// there is a failure of whoever uses the store.
pub fn settings_of<'a>(
    keys: impl IntoIterator<Item = (&'a str, String)>,
    environment: impl IntoIterator<Item = (String, String)>,
    home: Option<&Path>,
) -> StoreSettings {
    let mut settings = StoreSettings::default();
    let mut profile = None;
    for (key, value) in keys {
        if key == "s3.profile" {
            profile = Some(value);
        } else if let Some((_, name)) = KEYS.iter().find(|(known, _)| *known == key) {
            settings.set(*name, if key == "s3.path_style" { not(&value) } else { value });
        }
    }
    let variables: BTreeMap<String, String> = environment
        .into_iter()
        .filter(|(name, value)| is_of_store(name) && !value.is_empty())
        .collect();
    // Keys of one place belong together: an access key of the config has no secret of the environment.
    let has_keys = |settings: &StoreSettings| {
        settings.get("aws_access_key_id").is_some()
            || settings.get("aws_secret_access_key").is_some()
    };
    let (has_own, own_profile) = (has_keys(&settings), profile.is_some());
    for (name, value) in &variables {
        let name = name.to_ascii_lowercase();
        let is_credential = matches!(
            name.as_str(),
            "aws_access_key_id" | "aws_secret_access_key" | "aws_session_token" | "aws_token"
        );
        if is_credential && (has_own || own_profile) {
            continue;
        }
        if name == "aws_region" || name == "aws_default_region" {
            settings.set_default("aws_region", value);
        } else {
            settings.set_default(name, value);
        }
    }
    let named = profile.or_else(|| variables.get("AWS_PROFILE").cloned());
    read_profile(&mut settings, named.as_deref(), &variables, home, has_own);
    read_service_account(&mut settings);
    settings
}

/// The clients ask for the other style than people do.
fn not(flag: &str) -> String {
    (flag != "true").to_string()
}

fn is_of_store(variable: &str) -> bool {
    let name = variable.to_ascii_lowercase();
    let is = |prefix: &str| variable.starts_with(prefix);
    (is("AWS_") && (name.parse::<AmazonS3ConfigKey>().is_ok() || is_of_profile(variable)))
        || (is("GOOGLE_") && name.parse::<GoogleConfigKey>().is_ok())
        || (is("AZURE_") && name.parse::<AzureConfigKey>().is_ok())
}

fn is_of_profile(variable: &str) -> bool {
    matches!(variable, "AWS_PROFILE" | "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE")
}

/// Fills in what a profile of Amazon's tools says: `object_store` does not read them.
fn read_profile(
    settings: &mut StoreSettings,
    named: Option<&str>,
    variables: &BTreeMap<String, String>,
    home: Option<&Path>,
    has_keys: bool,
) {
    let profile = named.unwrap_or("default");
    let file = |variable: &str, name: &str| {
        let own = variables.get(variable).map(PathBuf::from);
        own.or_else(|| Some(home?.join(".aws").join(name)))
    };
    let files = [
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.to_owned()),
        (
            file("AWS_CONFIG_FILE", "config"),
            if profile == "default" { profile.to_owned() } else { format!("profile {profile}") },
        ),
    ];
    let has_keys = has_keys
        || settings.get("aws_access_key_id").is_some()
        || settings.get("aws_secret_access_key").is_some();
    let mut is_there = false;
    for (path, section) in files {
        let Some(text) = path.and_then(|path| std::fs::read_to_string(path).ok()) else { continue };
        let Some(found) = section_of(&text, &section) else { continue };
        is_there = true;
        for (key, name) in OF_PROFILE {
            let is_credential = key.starts_with("aws_");
            if let Some(value) = found.get(key)
                && !(is_credential && has_keys)
            {
                settings.set_default(name, value);
            }
        }
    }
    if let Some(name) = named.filter(|_| !is_there && !has_keys) {
        let message =
            format!("there is no profile `{name}` in `~/.aws/credentials` or `~/.aws/config`");
        settings.set(AWS_FAILURE, message);
    }
}

/// The keys of a section of a file such as `~/.aws/config`.
fn section_of(text: &str, section: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_in = false;
    for line in text.lines() {
        // A line that is further in belongs to the key above.
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_in = name.split_whitespace().eq(section.split_whitespace());
            if is_in {
                found.get_or_insert_default();
            }
        } else if is_in
            && !is_nested
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
            && let Some(found) = &mut found
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

/// Replaces the path of a service account by what the file holds: executors have no such file.
fn read_service_account(settings: &mut StoreSettings) {
    const PATH: &str = "google_service_account";
    let Some(path) = settings.get(PATH).map(str::to_owned) else { return };
    settings.remove(PATH);
    match std::fs::read_to_string(&path) {
        Ok(text) => settings.set("google_service_account_key", text),
        Err(error) => {
            let message = format!("can't read the service account `{path}`: {}", io_reason(&error));
            settings.set(GOOGLE_FAILURE, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        keys: &[(&'static str, &str)],
        variables: &[(&str, &str)],
        home: Option<&Path>,
    ) -> BTreeMap<String, String> {
        let keys = keys.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings_of(keys, variables, home).into_iter().collect()
    }

    fn map(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_come_before_variables_and_those_before_profiles() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join(".aws")).expect("created");
        let write = |name: &str, text: &str| {
            std::fs::write(home.path().join(".aws").join(name), text).expect("written");
        };
        write(
            "credentials",
            "[default]\naws_access_key_id = d\naws_secret_access_key=ds\n# [other]\n[other]\naws_access_key_id=o\n\
             aws_secret_access_key = os\naws_session_token = ot\n",
        );
        write(
            "config",
            "[default]\nregion = eu-1\ns3 =\n  region = no\n[profile other]\nregion=eu-2\nendpoint_url = http://o\n",
        );
        let home = Some(home.path());
        let default =
            [("aws_access_key_id", "d"), ("aws_region", "eu-1"), ("aws_secret_access_key", "ds")];
        assert_eq!(of(&[], &[("PATH", "/"), ("AWS_PAGER", "x")], home), map(&default));
        let other = of(&[], &[("AWS_PROFILE", "other")], home);
        assert_eq!(other.get("aws_session_token").map(String::as_str), Some("ot"));
        assert_eq!(other.get("aws_region").map(String::as_str), Some("eu-2"));
        assert_eq!(other.get("aws_endpoint_url").map(String::as_str), Some("http://o"));
        let own =
            [("s3.access_key_id", "k"), ("s3.secret_access_key", "ks"), ("s3.path_style", "false")];
        let variables =
            [("AWS_ACCESS_KEY_ID", "v"), ("AWS_SESSION_TOKEN", "vt"), ("AWS_DEFAULT_REGION", "us")];
        let expected = [
            ("aws_access_key_id", "k"),
            ("aws_region", "us"),
            ("aws_secret_access_key", "ks"),
            ("aws_virtual_hosted_style_request", "true"),
        ];
        assert_eq!(of(&own, &variables, home), map(&expected));
        let of_profile = of(&[("s3.profile", "other")], &variables, home);
        assert_eq!(of_profile.get("aws_access_key_id").map(String::as_str), Some("o"));
        let none = of(&[], &[("AWS_PROFILE", "none")], home);
        assert!(none[AWS_FAILURE].contains("no profile `none`"), "{none:?}");
    }

    #[test]
    fn a_service_account_travels_as_what_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("account.json");
        std::fs::write(&path, "{\"type\": \"service_account\"}").expect("written");
        let path = path.to_str().expect("UTF-8");
        let found = of(&[("gs.service_account", path)], &[], None);
        assert_eq!(
            found,
            map(&[("google_service_account_key", "{\"type\": \"service_account\"}")])
        );
        let missing = of(&[("gs.service_account", "/no/such")], &[], None);
        assert!(missing[GOOGLE_FAILURE].contains("/no/such"), "{missing:?}");
    }

    #[test]
    fn every_key_is_one_of_the_registry_and_of_a_client() {
        for (key, name) in KEYS {
            let is_known = gnist_common::config::KEYS.iter().any(|known| known.name == key);
            assert!(is_known, "{key}");
            let is_of_client = name.parse::<AmazonS3ConfigKey>().is_ok()
                || name.parse::<GoogleConfigKey>().is_ok()
                || name.parse::<AzureConfigKey>().is_ok()
                || name == RETRY_TIMEOUT;
            assert!(is_of_client, "{name}");
        }
    }
}
