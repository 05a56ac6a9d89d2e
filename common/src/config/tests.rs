use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::bytes::ByteSize;

fn config(settings: &[(&str, &str, Origin)]) -> Result<Config, ConfigError> {
    let settings: Vec<Setting> =
        settings.iter().map(|(key, value, origin)| Setting::new(*key, *value, *origin)).collect();
    Config::from_settings(&settings)
}

#[test]
fn every_default_fits_its_kind_and_its_getter() {
    keys::read_all(&Config::default());
    let config = Config::default();
    assert_eq!(config.scheduler_lease(), Duration::from_secs(10));
    assert_eq!(config.broadcast_threshold(), ByteSize::mib(10));
    assert_eq!(config.progress_delay(), Duration::from_secs(1));
    assert_eq!(config.shuffle_partitions(), None);
}

#[test]
fn the_registry_is_sorted_and_names_each_key_once() {
    assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let (file, environment, flag) = (
        ("shuffle.partitions", "1", Origin::File),
        ("GNIST_CONF_SHUFFLE_PARTITIONS", "2", Origin::Environment),
        ("shuffle.partitions", "3", Origin::Flag),
    );
    for (settings, expected) in [
        (vec![file], 1),
        (vec![environment, file], 2),
        (vec![flag, environment, file], 3),
        (vec![flag, ("shuffle.partitions", "4", Origin::Flag)], 4),
    ] {
        let partitions = config(&settings).expect("valid").shuffle_partitions();
        assert_eq!(partitions.map(NonZeroU32::get), Some(expected));
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let error = config(&[("shufle.partition", "3", Origin::Flag)]).expect_err("unknown");
    let expected =
        "unknown config key `shufle.partition` in --conf; did you mean `shuffle.partitions`?";
    assert_eq!(error.to_string(), expected);
    let error =
        config(&[("GNIST_CONF_SCHEDULER_LEASES", "3s", Origin::Environment)]).expect_err("unknown");
    assert!(error.to_string().ends_with("did you mean `GNIST_CONF_SCHEDULER_LEASE`?"), "{error}");
}

#[test]
fn nothing_is_suggested_for_what_is_like_no_key() {
    for (key, origin) in [
        ("GNIST_CONF_QQ", Origin::Environment),
        ("qq", Origin::Flag),
        ("datafusion.execution.time_zone", Origin::Flag),
        ("nosuch", Origin::Flag),
        ("memory", Origin::Flag),
    ] {
        let error = config(&[(key, "1", origin)]).expect_err("unknown").to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }
}

#[test]
fn a_bad_value_says_what_would_be_right() {
    for (key, value, expected) in [
        ("shuffle.partitions", "0", "`0` is not a whole number, 1 or more"),
        ("scheduler.lease", "10", "`10` is not a time above zero"),
        ("scheduler.lease", "0s", "`0s` is not a time above zero"),
        ("broadcast.threshold", "many", "`many` is not a size"),
    ] {
        let error = config(&[(key, value, Origin::File)]).expect_err(key).to_string();
        assert!(
            error.starts_with(&format!("config key `{key}` in gnist.toml: {expected}")),
            "{error}"
        );
    }
}

#[test]
fn durations_parse_and_are_shown_in_the_largest_exact_unit() {
    for (text, ms) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000)] {
        let duration = parse_duration(text).expect(text);
        assert_eq!(duration, Duration::from_millis(ms));
        assert_eq!(format_duration(duration), text);
    }
    assert_eq!(format_duration(Duration::from_millis(1_500)), "1500ms");
    for text in ["", "s", "1.5s", "-1s", "1d", "0ms"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn texts_are_not_shown() {
    let config = config(&[("s3.secret_access_key", "hush", Origin::Flag)]).expect("valid");
    assert_eq!(config.s3_secret_access_key().as_deref(), Some("hush"));
    let shown = format!("{config:?}");
    assert!(shown.contains("s3.secret_access_key") && !shown.contains("hush"), "{shown}");
    assert!(
        !format!("{:?}", Setting::new("s3.secret_access_key", "hush", Origin::Flag))
            .contains("hush")
    );
}

#[test]
fn explicit_settings_round_trip() {
    let config = config(&[
        ("scheduler.lease", "3s", Origin::Flag),
        ("broadcast.threshold", "1.5MiB", Origin::File),
    ])
    .expect("valid");
    let again: Vec<Setting> = config
        .explicit()
        .map(|(key, value)| Setting::new(key, value, config.origin(key)))
        .collect();
    assert_eq!(again.len(), 2);
    assert_eq!(Config::from_settings(&again).expect("valid"), config);
}

#[test]
fn the_reference_page_has_every_key() {
    let page = reference();
    for key in KEYS {
        assert!(page.contains(&format!("| `{}` | `{}` |", key.name, key.environment_name())));
        assert!(!key.doc.trim().is_empty(), "{} has no documentation", key.name);
    }
}
