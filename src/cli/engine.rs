//! The one place where commands meet the engine.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::config::FormatOptions;
use datafusion::logical_expr::{LogicalPlan, Statement as Set};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use gnist_common::error::{ErrorKind, Failure};
use gnist_driver::{JobObserver, ResultStream, SessionError};

use super::error::CliError;
use super::script::statement;
use super::settings::Settings;
use crate::session::{Process, Session};

/// A session of this command.
pub(crate) struct Engine {
    session: Session,
}

impl Engine {
    /// Connects to the master, starting what a `local` master needs.
    ///
    /// # Errors
    ///
    /// No such master, or it refuses.
    pub(crate) async fn connect(
        settings: &Settings,
        name: &str,
        observer: Option<Arc<dyn JobObserver>>,
    ) -> Result<Self, CliError> {
        let config = &settings.config;
        let batch_rows = usize::try_from(config.execution_batch_rows().get()).unwrap_or(usize::MAX);
        let session = Session::builder(settings.master.clone())
            .name(name)
            .memory(settings.memory)
            .observer(observer)
            .shuffle_partitions(config.shuffle_partitions().map(Into::into))
            .batch_rows(batch_rows)
            .ansi(config.sql_ansi())
            .broadcast_threshold(config.broadcast_threshold())
            .sort_threshold(config.sort_sample_threshold())
            .store_keys(config.explicit())
            .lease(config.scheduler_heartbeat_interval(), config.scheduler_lease())
            .connect()
            .await?;
        // Errors point into the text.
        let state = session.context().state_ref();
        state.write().config_mut().options_mut().sql_parser.collect_spans = true;
        Ok(Self { session })
    }

    /// DataFusion's context: planning only.
    pub(crate) fn context(&self) -> &SessionContext {
        self.session.context()
    }

    /// The session's `datafusion.format.*`: the form of values as text.
    pub(crate) fn format_options(&self) -> FormatOptions {
        self.context().state_ref().read().config_options().format.clone()
    }

    /// Starts a statement. One that only the driver knows of (a view, a setting) has happened
    /// when this returns, and has no columns.
    ///
    /// # Errors
    ///
    /// The statement can't be planned or submitted.
    pub(crate) async fn start(&self, statement: Statement) -> Result<ResultStream, SessionError> {
        let plan = self.session.plan(statement).await?;
        refuse_dialect(&plan)?;
        self.session.execute_plan(plan).await
    }

    /// All rows of a query, from its text.
    ///
    /// # Errors
    ///
    /// The query can't be planned, or it failed.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, CliError> {
        let mut rows = Box::pin(self.start(statement(sql)?)).await.map_err(Failure::from)?;
        Ok(rows.collect().await?)
    }

    /// Slots of the master.
    pub(crate) fn slots(&self) -> usize {
        self.session.slots() as usize
    }

    /// Returns this process and every process that the session started.
    pub(crate) fn processes(&self) -> &[Process] {
        self.session.processes()
    }

    /// Says why the application failed, if it did.
    pub(crate) fn failed(&self, error: &CliError) {
        if let Some(message) = error.message() {
            self.session.fail(message);
        }
    }

    /// Ends the session in good order.
    pub(crate) async fn close(&self) {
        self.session.close().await;
    }
}

/// Refuses a change of the dialect: the whole script was parsed before its first statement ran.
fn refuse_dialect(plan: &LogicalPlan) -> Result<(), Failure> {
    const DIALECT: &str = "datafusion.sql_parser.dialect";
    match plan {
        LogicalPlan::Statement(Set::SetVariable(set)) if set.variable == DIALECT => {
            let message = format!(
                "setting `{DIALECT}` would change nothing: a script is parsed before it runs"
            );
            Err(Failure::new(ErrorKind::Unsupported, message))
        }
        _ => Ok(()),
    }
}
