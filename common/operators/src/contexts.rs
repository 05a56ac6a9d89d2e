//! The functions and settings of a session, as every executor of its application has them.
//!
//! A function keeps the settings it was made with: `to_timestamp` its time zone. So executors apply
//! the settings of a job and make every function anew that depends on them, once per settings: an
//! attempt takes what is kept. The driver keeps the same, to see what an executor will decode.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::functions::register_functions;

/// Contexts that are kept: a session rarely changes its settings more often.
const CONTEXTS_KEPT_MAX: usize = 64;

/// Settings that the user changed, as DataFusion names them.
pub type Settings = [(String, String)];

/// Contexts by the settings they have.
type BySettings = BTreeMap<Vec<(String, String)>, Arc<TaskContext>>;

/// Contexts to decode programs in, one per settings.
pub struct Contexts {
    /// The settings of an executor before the user's.
    base: SessionConfig,
    /// Settings of an executor whatever the user's.
    forced: fn(&mut ConfigOptions) -> Result<()>,
    functions: Arc<TaskContext>,
    runtime: Arc<RuntimeEnv>,
    kept: Mutex<BySettings>,
}

impl Contexts {
    /// Contexts with the functions of `functions`, and DataFusion's own when absent.
    pub fn new(
        base: SessionConfig,
        forced: fn(&mut ConfigOptions) -> Result<()>,
        functions: Option<&SessionContext>,
        runtime: Arc<RuntimeEnv>,
    ) -> Self {
        let functions = functions.map_or_else(known_functions, SessionContext::task_ctx);
        Self { base, forced, functions, runtime, kept: Mutex::default() }
    }

    /// Contexts like these, of another runtime.
    #[must_use]
    pub fn with_runtime(&self, runtime: Arc<RuntimeEnv>) -> Self {
        Self {
            base: self.base.clone(),
            forced: self.forced,
            functions: Arc::clone(&self.functions),
            runtime,
            kept: Mutex::default(),
        }
    }

    /// Contexts as the executors of a cluster have them, for plans that are decoded to be looked at.
    pub fn of_executors(runtime: Arc<RuntimeEnv>) -> Self {
        Self::new(SessionConfig::new(), |_| Ok(()), None, runtime)
    }

    /// Returns true if executors know a setting of this name.
    pub fn knows(&self, key: &str) -> bool {
        // Settings without a namespace, and those of extensions that executors lack, are not here.
        let mut known = self.base.options().entries().into_iter();
        known.any(|entry| entry.key == key)
    }

    /// A setting as executors have it that are told nothing.
    pub fn own(&self, key: &str) -> Option<String> {
        let mut known = self.base.options().entries().into_iter();
        known.find(|entry| entry.key == key)?.value
    }

    /// The context of `settings`, in any order.
    ///
    /// # Errors
    /// When a setting is not known here.
    pub fn of(&self, settings: &Settings) -> Result<Arc<TaskContext>> {
        let mut key = settings.to_vec();
        key.sort_unstable();
        if let Some(context) = self.lock().get(&key) {
            return Ok(Arc::clone(context));
        }
        let context = Arc::new(self.make(&key)?);
        let mut kept = self.lock();
        if kept.len() >= CONTEXTS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&context));
        Ok(context)
    }

    fn make(&self, settings: &Settings) -> Result<TaskContext> {
        let mut config = self.base.clone();
        for (key, value) in settings {
            config.options_mut().set(key, value)?;
        }
        (self.forced)(config.options_mut())?;
        let scalar_functions = updated(self.functions.scalar_functions(), config.options());
        Ok(TaskContext::new(
            None,
            String::new(),
            config,
            scalar_functions,
            self.functions.higher_order_functions().clone(),
            self.functions.aggregate_functions().clone(),
            self.functions.window_functions().clone(),
            Arc::clone(&self.runtime),
        ))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BySettings> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The functions of every executor: DataFusion's and Gnist's.
fn known_functions() -> Arc<TaskContext> {
    let mut state = SessionContext::new().state();
    register_functions(&mut state).expect("the state of a session takes every function");
    state.task_ctx()
}

/// The functions under other settings. Scalar functions alone keep settings.
fn updated(
    functions: &HashMap<String, Arc<ScalarUDF>>,
    options: &ConfigOptions,
) -> HashMap<String, Arc<ScalarUDF>> {
    let updated = functions.iter().map(|(name, function)| {
        let made = function.inner().with_updated_config(options);
        (name.clone(), made.map_or_else(|| Arc::clone(function), Arc::new))
    });
    updated.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::execution::FunctionRegistry;

    use super::*;

    fn contexts() -> Contexts {
        Contexts::new(SessionConfig::new(), |_| Ok(()), None, Arc::default())
    }

    fn set(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn functions_have_the_time_zone_of_the_settings() {
        let contexts = contexts();
        let plain = contexts.of(&[]).unwrap().udf("to_timestamp").unwrap();
        let zone = [set("datafusion.execution.time_zone", "+02:00")];
        let zoned = contexts.of(&zone).unwrap().udf("to_timestamp").unwrap();
        assert_ne!(plain, zoned);
        let again = contexts.of(&zone).unwrap().udf("to_timestamp").unwrap();
        assert!(Arc::ptr_eq(&zoned, &again), "an attempt makes no function");
        let other = contexts.of(&[]).unwrap().udf("to_timestamp").unwrap();
        assert_eq!(plain, other);
    }

    #[test]
    fn the_order_of_settings_does_not_matter_and_an_unknown_one_is_an_error() {
        let contexts = contexts();
        let one = set("datafusion.execution.batch_size", "7");
        let two = set("datafusion.execution.time_zone", "+01:00");
        let forth = contexts.of(&[one.clone(), two.clone()]).unwrap();
        assert!(Arc::ptr_eq(&forth, &contexts.of(&[two, one]).unwrap()));
        assert_eq!(forth.session_config().batch_size(), 7);
        assert!(contexts.of(&[set("datafusion.no_such", "1")]).is_err());
        assert!(!contexts.knows("datafusion.no_such"));
        assert!(contexts.knows("datafusion.execution.time_zone"));
    }
}
