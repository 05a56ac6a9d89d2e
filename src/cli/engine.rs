//! The one place where commands meet the engine.

use std::num::NonZeroU32;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::TryStreamExt as _;
use gnist_common::error::Failure;
use gnist_driver::{JobObserver, ResultStream, SessionError};

use super::error::CliError;
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
        let session = Session::builder(settings.master.clone())
            .name(name)
            .memory(settings.memory)
            .observer(observer)
            .shuffle_partitions(config.shuffle_partitions().map(NonZeroU32::get))
            .batch_rows(config.execution_batch_rows().get() as usize)
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

    /// Starts a statement. One that only the driver knows of (a view, a setting) has happened
    /// when this returns, and has no columns.
    ///
    /// # Errors
    ///
    /// It can't be planned or submitted.
    pub(crate) async fn start(&self, statement: Statement) -> Result<ResultStream, SessionError> {
        let plan = self.context().state().statement_to_plan(statement).await?;
        self.session.execute_plan(plan).await
    }

    /// All rows of a query, from its text.
    ///
    /// # Errors
    ///
    /// It can't be planned, or it failed.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, CliError> {
        let rows = self.start(super::script::statement(sql)?).await.map_err(Failure::from)?;
        Ok(rows.try_collect().await?)
    }

    /// Slots of the master.
    pub(crate) fn slots(&self) -> usize {
        self.session.slots() as usize
    }

    /// Every process of ours that this session started, this one included.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.session.processes().to_vec()
    }

    /// Ends the session in good order.
    pub(crate) async fn close(&self) {
        self.session.close().await;
    }
}
