//! `SET` and `RESET`: the keys that a session takes, and the refusal of every other.
//!
//! A key is DataFusion's (`datafusion.execution.batch_size`) or of Gnist's own registry
//! (`shuffle.partitions`). One that is unknown, or that would change nothing here, is refused with
//! the reason: a setting that silently does nothing is believed to be at work.

mod own;
mod refused;

use datafusion::arrow::array::timezone::Tz;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, SetVariable, Statement};
use datafusion::prelude::SessionContext;
use gnist_common::config::{KEYS, nearest};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

pub(crate) use own::OwnSettings;
use own::{BATCH_ROWS, BATCH_SIZE};

use crate::jobs::Jobs;
use refused::refusal;

/// Changes a setting of the session; without a value, to what it was when the session was opened,
/// and `all` stands for every setting then.
///
/// # Errors
/// An unknown key, one that would change nothing, or a value that does not fit.
pub(crate) async fn set(
    context: &SessionContext,
    jobs: &Jobs,
    key: &str,
    value: Option<String>,
) -> Result<(), DataFusionError> {
    if key != "all" || value.is_some() {
        return set_one(context, jobs, key, value).await;
    }
    let entries = context.state().config_options().entries().into_iter();
    let changed = entries.filter(|entry| jobs.opened(&entry.key) != entry.value);
    for entry in changed {
        set_one(context, jobs, &entry.key, None).await?;
    }
    Ok(())
}

async fn set_one(
    context: &SessionContext,
    jobs: &Jobs,
    key: &str,
    value: Option<String>,
) -> Result<(), DataFusionError> {
    let state = context.state();
    let options = state.config_options();
    let on_cluster = jobs.in_process.is_none();
    // One setting under two names.
    let key = if key == BATCH_SIZE { BATCH_ROWS } else { key };
    if let Some(own) = OwnSettings::of(options)
        && own.has(key)
    {
        let opened = own.opened(key);
        let (own, implied) = own.with(key, value.or(opened), on_cluster)?;
        context.state_ref().write().config_mut().options_mut().extensions.insert(own);
        return match implied {
            Some((key, value)) => apply(context, key, value.or_else(|| jobs.opened(key))).await,
            None => Ok(()),
        };
    }
    let keys = options.entries().into_iter().map(|entry| entry.key);
    check(key, keys, on_cluster).map_err(external)?;
    if key == TIME_ZONE
        && let Some(zone) = &value
    {
        check_zone(zone).map_err(external)?;
    }
    apply(context, key, value.or_else(|| jobs.opened(key))).await
}

/// Lets DataFusion set a key of its own, or take its default where the session had no value.
async fn apply(
    context: &SessionContext,
    key: &str,
    value: Option<String>,
) -> Result<(), DataFusionError> {
    let variable = key.to_owned();
    let statement = match value {
        Some(value) => Statement::SetVariable(SetVariable { variable, value }),
        None => Statement::ResetVariable(datafusion::logical_expr::ResetVariable { variable }),
    };
    let done = context.execute_logical_plan(LogicalPlan::Statement(statement)).await;
    done.map(drop).map_err(|error| bad_value(key, error))
}

/// Refuses a time zone that there is none of: DataFusion takes any text, and fails where a query needs it.
fn check_zone(zone: &str) -> Result<(), Failure> {
    if zone.is_empty() || zone.parse::<Tz>().is_ok() {
        return Ok(());
    }
    let message = format!("can't set `{TIME_ZONE}`: there is no time zone `{zone}`");
    let help = "zones are written as `Europe/Oslo`, `UTC` or `+02:00`";
    Err(Failure::new(ErrorKind::User, message).with_help(help))
}

/// DataFusion's account of a value that does not fit, with the key it was for.
fn bad_value(key: &str, error: DataFusionError) -> DataFusionError {
    let root = error.find_root();
    let text = match root {
        DataFusionError::External(inner) => inner.to_string(),
        other => other.message().into_owned(),
    };
    let text = text.lines().next().unwrap_or_default().to_owned();
    external(Failure::new(ErrorKind::User, format!("can't set `{key}`: {text}")))
}

/// The key of the session's time zone.
const TIME_ZONE: &str = "datafusion.execution.time_zone";

/// A shorter key is like too many to suggest one.
const SUGGESTED_BYTES_MIN: usize = 4;

/// Refuses a key of DataFusion that is not known or does nothing here.
fn check(key: &str, known: impl Iterator<Item = String>, on_cluster: bool) -> Result<(), Failure> {
    let known: Vec<String> = known.collect();
    if KEYS.iter().any(|own| own.name == key) && !known.iter().any(|name| name == key) {
        let message = format!("`{key}` can't be changed in a session");
        let help = format!("give it at start: `--conf {key}=VALUE`");
        return Err(Failure::new(ErrorKind::Unsupported, message).with_help(help));
    }
    if let Some(refused) = refusal(key, on_cluster) {
        let message = format!("setting `{key}` would change nothing: {}", refused.reason);
        let message = if refused.is_wrong {
            format!("`{key}` can't be set: {}", refused.reason)
        } else {
            message
        };
        let failure = Failure::new(ErrorKind::Unsupported, message);
        return Err(match refused.help {
            Some(help) => failure.with_help(help),
            None => failure,
        });
    }
    if known.iter().any(|name| name == key) {
        return Ok(());
    }
    let failure = Failure::new(ErrorKind::User, format!("unknown setting `{key}`"));
    let candidates = known.into_iter().filter(|name| refusal(name, on_cluster).is_none());
    // A key given without its namespace is meant with it.
    let meant = candidates.clone().find(|name| name.rsplit('.').next() == Some(key));
    let near = || nearest(key, candidates).filter(|_| key.len() >= SUGGESTED_BYTES_MIN);
    Err(match meant.or_else(near) {
        Some(name) => {
            failure.with_help(format!("did you mean `{name}`? `SHOW ALL` lists every setting"))
        }
        None => failure.with_help("`SHOW ALL` lists every setting"),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn refused(key: &str, on_cluster: bool) -> Option<Failure> {
        let known = ConfigOptions::new().entries().into_iter().map(|entry| entry.key);
        check(key, known, on_cluster).err()
    }

    #[test]
    fn every_refused_key_is_one_of_datafusions() {
        let known: Vec<String> =
            ConfigOptions::new().entries().into_iter().map(|entry| entry.key).collect();
        for refused in refused::REFUSED {
            for key in refused.keys {
                let is_known = known.iter().any(|name| name == key)
                    || (key.ends_with('.') && known.iter().any(|name| name.starts_with(key)))
                    || *key == "datafusion.runtime.";
                assert!(is_known, "{key}");
            }
        }
    }

    #[test]
    fn keys_that_do_something_are_taken() {
        for key in [
            "datafusion.execution.batch_size",
            "datafusion.execution.target_partitions",
            "datafusion.execution.time_zone",
            "datafusion.optimizer.prefer_hash_join",
            "datafusion.sql_parser.parse_float_as_decimal",
            "datafusion.catalog.default_schema",
            "datafusion.format.null",
            "datafusion.explain.format",
        ] {
            assert!(refused(key, true).is_none() && refused(key, false).is_none(), "{key}");
        }
    }

    #[test]
    fn keys_that_do_nothing_are_refused_with_the_reason() {
        for (key, on_cluster, part) in [
            ("datafusion.runtime.memory_limit", false, "`--memory SIZE`"),
            ("datafusion.runtime.temp_directory", true, "executors"),
            ("datafusion.execution.max_spill_file_size_bytes", true, "batch"),
            ("datafusion.execution.soft_max_rows_per_output_file", false, "writes files"),
            ("datafusion.catalog.location", false, "opened"),
            ("datafusion.sql_parser.recursion_limit", false, "any depth"),
            ("datafusion.execution.enable_file_stream_work_stealing", true, "own files"),
            ("datafusion.optimizer.enable_topk_aggregation", false, "leaves out rows"),
            ("datafusion.optimizer.enable_leaf_expression_pushdown", false, "a struct"),
            ("datafusion.execution.parquet.pushdown_filters", true, "over a list"),
            ("datafusion.optimizer.enable_piecewise_merge_join", false, "full joins"),
            ("datafusion.optimizer.top_down_join_key_reordering", true, "of its name"),
            ("scheduler.lease", true, "--conf scheduler.lease=VALUE"),
            ("datafusion.execution.batchsize", false, "datafusion.execution.batch_size"),
            ("batch_size", false, "datafusion.execution.batch_size"),
        ] {
            let failure = refused(key, on_cluster).expect(key);
            assert!(failure.to_string().contains(part), "{key}: {failure}");
        }
        assert!(refused("datafusion.execution.enable_file_stream_work_stealing", false).is_none());
        let unlike = refused("foo.bar", false).expect("unknown");
        assert!(!unlike.to_string().contains("did you mean"), "{unlike}");
    }
}
