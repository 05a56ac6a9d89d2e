//! Jobs out of physical plans: what a session and the frames made from it share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use gnist_common::bytes::ByteSize;
use gnist_common::error::Failure;
use gnist_operators::contexts::Contexts;
use gnist_operators::exact::exact_plan;
use gnist_operators::functions::set_keys::grouping_sets_without_claims;
use gnist_operators::functions::unordered::windows_without_orders;
use gnist_operators::guard::Guard;
use gnist_operators::wire::filtered::filters_as_arguments;
use gnist_operators::write::WriteExec;
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::created::TableMemory;
use crate::explain::{self, Shown};
use crate::in_process::{self, InProcess};
use crate::job::{self, JobStart};
use crate::planner::{for_memory, input_bytes, partitions_for, plan_job, refuse_unknown};
use crate::result::{BATCHES_WAITING_MAX, JobReport, ResultStream};
use crate::settings::OwnSettings;
use crate::sql;

/// The jobs of one session: the place where they run, and the way they are planned.
pub(crate) struct Jobs {
    pub(crate) connection: Arc<Connection>,
    pub(crate) in_process: Option<Arc<dyn InProcess>>,
    /// Partitions of an exchange when little is scanned; none when the user chose their number.
    pub(crate) partitions: Option<usize>,
    /// Memory of the tables that the driver keeps.
    pub(crate) tables: Arc<TableMemory>,
    /// Every setting as it was when the session was opened.
    pub(crate) opened_with: BTreeMap<String, Option<String>>,
    /// The contexts in which executors decode plans.
    pub(crate) contexts: Contexts,
    /// Sees that they decode what was planned.
    pub(crate) guard: Guard,
}

impl Jobs {
    /// DataFusion's plan of an optimised query. On a cluster its exchanges have more partitions
    /// than the session's when it scans much, unless their number was asked for.
    ///
    /// # Errors
    /// Those of DataFusion's planner.
    pub(crate) async fn plan(
        &self,
        query: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        sql::refuse_left_subqueries(query)?;
        sql::refuse_depth(query)?;
        let planner = DefaultPhysicalPlanner::default();
        let query = match self.in_process {
            Some(_) => Cow::Borrowed(query),
            None => filters_as_arguments(query)?,
        };
        let query = windows_without_orders(&query)?;
        let query = grouping_sets_without_claims(&query)?;
        let plan = planner.create_physical_plan(&query, session).await?;
        if self.in_process.is_some() {
            return for_memory(plan);
        }
        refuse_unknown(&query, &plan)?;
        let partitions = partitions_for(self.connection.slots(), input_bytes(&plan)) as usize;
        let own = OwnSettings::of(session.config_options());
        let is_free = !own.is_some_and(OwnSettings::has_partitions)
            && self.partitions == Some(session.config().target_partitions());
        let state = session.as_any().downcast_ref::<SessionState>();
        let (true, Some(state)) = (is_free && self.partitions < Some(partitions), state) else {
            return Ok(plan);
        };
        let mut state = state.clone();
        state.config_mut().options_mut().execution.target_partitions = partitions;
        planner.create_physical_plan(&query, &state).await
    }

    /// Starts the job of a physical plan, with the settings of `config`.
    ///
    /// # Errors
    /// When no executor can run the plan.
    pub(crate) fn start(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<ResultStream> {
        self.run(plan, config, false)
    }

    /// Starts a plan as [`Jobs::start`] does, and measures every operator.
    ///
    /// # Errors
    /// As [`Jobs::start`].
    pub(crate) fn start_measured(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<ResultStream> {
        self.run(plan, config, true)
    }

    fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
        is_measured: bool,
    ) -> Result<ResultStream> {
        tracing::debug!(plan = %displayable(plan.as_ref()).indent(false), "starting a job");
        let schema = plan.schema();
        let (sender, rows) = mpsc::channel(BATCHES_WAITING_MAX);
        let report = Arc::new(OnceLock::new());
        let connection = Arc::clone(&self.connection);
        let ended = Arc::clone(&report);
        let settings = self.changed_settings(config);
        let write = WriteExec::write_of(&plan);
        match self.in_process.clone() {
            Some(process) => {
                let (plan, inbox) = (exact_plan(plan)?, connection.open_job());
                tokio::spawn(async move {
                    let plan = (plan, settings, is_measured);
                    let outcome = in_process::run(connection, inbox, process, plan, &sender).await;
                    conclude(outcome, &sender, &ended).await;
                });
            }
            None => {
                let plan = plan_job(plan, &self.contexts.of(&settings)?, &self.guard)?;
                let sort_threshold = sort_threshold(config);
                let start = JobStart { plan, settings, sort_threshold, is_measured, write };
                let inbox = connection.open_job();
                tokio::spawn(async move {
                    let outcome = job::run(&connection, inbox, &start, &sender).await;
                    drop(start);
                    conclude(outcome, &sender, &ended).await;
                    drop(sender);
                    // Nobody waits for this.
                    connection.release_unused().await;
                });
            }
        }
        Ok(ResultStream::of_job(schema, rows, report))
    }

    /// The stages of a physical plan, with what was measured if it ran.
    ///
    /// # Errors
    /// As [`Jobs::start`].
    pub(crate) fn explain(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
        shown: &Shown,
        report: Option<&JobReport>,
    ) -> Result<String> {
        Ok(match self.in_process {
            Some(_) => explain::one_stage(plan.as_ref(), self.connection.slots(), shown, report),
            None if reads_the_session(&plan) => explain::in_driver(plan.as_ref(), shown),
            None => {
                let settings = self.changed_settings(config);
                let job = plan_job(plan, &self.contexts.of(&settings)?, &self.guard)?;
                explain::stage_graph(&job, sort_threshold(config), shown, report)
            }
        })
    }

    /// A setting of DataFusion as it was when the session was opened.
    pub(crate) fn opened(&self, key: &str) -> Option<String> {
        self.opened_with.get(key)?.clone()
    }

    /// Settings that the user changed since the session was opened and that executors know, and the
    /// rows of a batch: workers of a standing cluster have a number of their own. An extension's
    /// settings that executors lack are read while a statement is planned.
    fn changed_settings(&self, config: &SessionConfig) -> Vec<(String, String)> {
        let entries = config.options().entries().into_iter();
        let changed = entries.filter(|entry| {
            let opened = self.opened_with.get(&entry.key);
            let is_chosen = entry.key == BATCH_SIZE && entry.value != self.contexts.own(BATCH_SIZE);
            (is_chosen || opened.is_none_or(|value| *value != entry.value))
                && self.contexts.knows(&entry.key)
        });
        changed.filter_map(|entry| Some((entry.key, entry.value?))).collect()
    }
}

/// The rows of a batch, as DataFusion calls the setting.
const BATCH_SIZE: &str = "datafusion.execution.batch_size";

fn sort_threshold(config: &SessionConfig) -> ByteSize {
    let own = OwnSettings::of(config.options());
    own.map_or_else(ByteSize::default, OwnSettings::sort_threshold)
}

/// True if a plan reads what only the driver has, such as the information schema.
pub(crate) fn reads_the_session(plan: &Arc<dyn ExecutionPlan>) -> bool {
    matches!(plan.name(), "StreamingTableExec" | "ExplainExec")
        || plan.children().into_iter().any(reads_the_session)
}

async fn conclude(
    outcome: Result<JobReport, Failure>,
    rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
    report: &OnceLock<JobReport>,
) {
    match outcome {
        Ok(made) => report.set(made).expect("a job ends once"),
        Err(failure) => {
            // A closed receiver has dropped the stream: nobody waits for the failure.
            let _ = rows.send(Err(failure)).await;
        }
    }
}
