//! DataFrames that run as jobs.
//!
//! DataFusion's DataFrame asks its session's planner for a physical plan and executes that itself.
//! The planner here answers with a plan of one operator, whose execution is the job:
//!
//! ```text
//! frame.collect() ──▶ FramePlanner ──▶ JobExec { DataFusion's plan } ──execute──▶ job ──▶ rows
//! ```
//!
//! A frame that writes runs as `COPY` does: the job is the write, and its only row the number of rows.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::CacheFactory;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use datafusion::prelude::SessionConfig;
use futures::{TryStreamExt, stream};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

use crate::error::not_yet;
use crate::explain::Shown;
use crate::jobs::{Jobs, reads_the_session};
use crate::statement::{Statement, classify};
use crate::write::{self, Write, count_row, count_schema};

/// Plans the frames of a session. It does not keep the session open.
pub(crate) struct FramePlanner {
    jobs: Weak<Jobs>,
}

impl FramePlanner {
    pub(crate) fn new(jobs: &Arc<Jobs>) -> Self {
        Self { jobs: Arc::downgrade(jobs) }
    }
}

impl fmt::Debug for FramePlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FramePlanner")
    }
}

#[async_trait]
impl QueryPlanner for FramePlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = classify(plan.clone()).map_err(|error| external(error.failure()))?;
        let jobs = self.jobs.upgrade().ok_or_else(|| {
            external(Failure::new(ErrorKind::User, "the session of this frame is closed"))
        })?;
        if let Statement::Write(write) = statement {
            let state = session.as_any().downcast_ref::<SessionState>().cloned();
            let state = state.ok_or_else(|| internal_datafusion_err!("a session of its own"))?;
            return Ok(Arc::new(JobExec::new(jobs, Work::Write(write, Box::new(state)))));
        }
        let physical = jobs.plan(plan, session).await?;
        if !matches!(statement, Statement::Query(_)) || reads_the_session(&physical) {
            return Ok(physical);
        }
        let work = Work::Query(physical, Box::new(session.config().clone()));
        Ok(Arc::new(JobExec::new(jobs, work)))
    }
}

/// Refuses `DataFrame::cache`.
#[derive(Debug)]
pub(crate) struct NoCache;

impl CacheFactory for NoCache {
    fn create(&self, _: LogicalPlan, _: &SessionState) -> Result<LogicalPlan> {
        Err(external(not_yet("caching a frame (`DataFrame::cache`)")))
    }
}

/// The work of a job, with the settings of its session.
#[derive(Clone)]
enum Work {
    Query(Arc<dyn ExecutionPlan>, Box<SessionConfig>),
    /// Planned when it runs: what it reads is listed after its target.
    Write(Box<Write>, Box<SessionState>),
}

/// Rows: those of the job of a plan, or the number of rows that were written, in one partition.
struct JobExec {
    jobs: Arc<Jobs>,
    work: Work,
    properties: Arc<PlanProperties>,
}

impl JobExec {
    fn new(jobs: Arc<Jobs>, work: Work) -> Self {
        let schema = match &work {
            Work::Query(plan, _) => plan.schema(),
            Work::Write(..) => count_schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { jobs, work, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for JobExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.work {
            Work::Query(plan, _) => {
                f.debug_struct("JobExec").field("plan", plan).finish_non_exhaustive()
            }
            Work::Write(write, _) => {
                f.debug_struct("JobExec").field("write", write).finish_non_exhaustive()
            }
        }
    }
}

impl DisplayAs for JobExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.work {
            Work::Query(plan, config) => {
                match self.jobs.explain(Arc::clone(plan), config, &Shown::default(), None) {
                    Ok(stages) => write!(f, "JobExec:\n{stages}"),
                    Err(error) => write!(f, "JobExec: {error}"),
                }
            }
            Work::Write(write, _) => write!(f, "JobExec: write to {}", write.target.given),
        }
    }
}

impl ExecutionPlan for JobExec {
    fn name(&self) -> &'static str {
        "JobExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a job is a leaf") }
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.work.clone() {
            Work::Query(plan, config) => {
                let rows = self.jobs.start(plan, &config)?;
                let schema = rows.schema();
                Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows.map_err(external))))
            }
            Work::Write(write, state) => {
                let jobs = Arc::clone(&self.jobs);
                let count = stream::once(async move {
                    let plan = async { Ok(jobs.plan(&write.query, state.as_ref()).await?) };
                    let count = write::write(&jobs, &write, state.as_ref(), plan).await;
                    count.map(count_row).map_err(|error| external(error.failure()))
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(count_schema(), count)))
            }
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
