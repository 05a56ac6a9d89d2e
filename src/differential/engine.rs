//! The engines under comparison: plain DataFusion and sessions of Gnist, behind one face.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use datafusion::common::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt as _;
use gnist_common::error::{ErrorKind, Failure};
use gnist_differential::Row;
use gnist_operators::failure::failure_of;

use super::cells;
use super::configurations::Configuration;
use super::tables::Registered;
use crate::session::Session;

/// Time for one statement.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(40);

/// Time for a statement that had no reply within [`STATEMENT_TIME_MAX`]: on a busy machine a join of all rows with all
/// may take that long. An engine that takes longer still hangs.
const SECOND_TIME_MAX: Duration = Duration::from_secs(400);

/// The reply of an engine to a statement.
pub(super) enum Reply {
    /// Rows.
    Rows(Vec<Row>),
    /// An error.
    Failed(Failure),
    /// No reply in time.
    Hangs,
}

/// A session, with the tables of a round.
pub(super) struct Gnist {
    pub(super) configuration: &'static Configuration,
    session: Session,
    tables: Vec<String>,
}

impl Gnist {
    /// Opens a session without tables.
    pub(super) async fn connect(configuration: &'static Configuration) -> Result<Self, Failure> {
        let session = configuration.connect().await?;
        Ok(Self { configuration, session, tables: Vec::new() })
    }

    /// Replaces the tables of the round before, and sets the time zone.
    pub(super) async fn register(
        &mut self,
        tables: &[Registered],
        zone: &str,
    ) -> Result<(), Failure> {
        for name in self.tables.drain(..) {
            let gone = self.session.context().deregister_table(name);
            gone.map_err(|error| failure_of(&error))?;
        }
        for table in tables {
            match table {
                Registered::Memory { name, table } => {
                    let context = self.session.context();
                    let registered = context.register_table(name.as_str(), table.clone());
                    registered.map_err(|error| failure_of(&error))?;
                }
                Registered::Files { create, .. } => self.statement(create).await?,
            }
            self.tables.push(table.name().to_owned());
        }
        self.statement(&format!("set datafusion.execution.time_zone = '{zone}'")).await
    }

    async fn statement(&self, sql: &str) -> Result<(), Failure> {
        let started = Box::pin(self.session.sql(sql)).await;
        started.map(drop).map_err(|error| {
            let failure = error.failure();
            Failure { message: format!("{} (in `{sql}`)", failure.message), ..failure }
        })
    }

    /// The rows of a statement.
    pub(super) async fn answer(&self, sql: &str) -> Reply {
        match Box::pin(in_time(self.rows(sql), STATEMENT_TIME_MAX)).await {
            Reply::Hangs => Box::pin(in_time(self.rows(sql), SECOND_TIME_MAX)).await,
            reply => reply,
        }
    }

    async fn rows(&self, sql: &str) -> Result<Vec<Row>, Failure> {
        let mut result = self.session.sql(sql).await.map_err(|error| error.failure())?;
        let batches = result.collect().await?;
        cells::rows(&batches).map_err(|error| failure_of(&error))
    }

    /// Ends the session.
    pub(super) async fn close(self) {
        self.session.close().await;
    }
}

/// A context of plain DataFusion with the tables of a round.
pub(super) async fn plain(
    tables: &[Registered],
    zone: &str,
) -> Result<SessionContext, DataFusionError> {
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().execution.time_zone = Some(zone.to_owned());
    let context = SessionContext::new_with_config(config);
    for table in tables {
        match table {
            Registered::Memory { name, table } => {
                context.register_table(name.as_str(), table.clone())?;
            }
            Registered::Files { create, .. } => drop(context.sql(create).await?),
        }
    }
    // Again as a statement: it reaches the functions that were made with the context.
    context.sql(&format!("set datafusion.execution.time_zone = '{zone}'")).await?;
    Ok(context)
}

/// The rows of a statement on plain DataFusion.
pub(super) async fn plain_answer(context: &SessionContext, sql: &str) -> Reply {
    let rows = async {
        let collected = async { context.sql(sql).await?.collect().await };
        let batches = collected.await.map_err(|error| failure_of(&error))?;
        cells::rows(&batches).map_err(|error| failure_of(&error))
    };
    Box::pin(in_time(rows, STATEMENT_TIME_MAX)).await
}

/// The reply, also if the engine panics on this thread: DataFusion's operators run on it.
async fn in_time(rows: impl Future<Output = Result<Vec<Row>, Failure>>, time: Duration) -> Reply {
    let rows = AssertUnwindSafe(rows).catch_unwind();
    match tokio::time::timeout(time, rows).await {
        Ok(Ok(Ok(rows))) => Reply::Rows(rows),
        Ok(Ok(Err(failure))) => Reply::Failed(failure),
        Ok(Err(payload)) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let message = format!("a panic: {}", text.unwrap_or("without a message"));
            Reply::Failed(Failure::new(ErrorKind::Panic, message))
        }
        Err(_) => Reply::Hangs,
    }
}

/// Returns true if an error is never an answer: a fault of the engine whatever the statement.
pub(super) fn is_fault(failure: &Failure) -> bool {
    matches!(failure.kind, ErrorKind::Internal | ErrorKind::Panic | ErrorKind::Cluster)
}
