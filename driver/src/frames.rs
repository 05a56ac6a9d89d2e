//! DataFrames that run as jobs.
//!
//! DataFusion's DataFrame asks its session's planner for a physical plan and executes that itself.
//! The planner here answers with a plan of one operator, whose execution is the job:
//!
//! ```text
//! frame.collect() ──▶ FramePlanner ──▶ JobExec { DataFusion's plan } ──execute──▶ job ──▶ rows
//! ```
//!
//! A frame that writes is refused here as a statement that writes is.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
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
use futures::TryStreamExt;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::external;

use crate::error::not_yet;
use crate::explain::Shown;
use crate::jobs::{Jobs, reads_the_session};
use crate::statement::{Statement, classify};

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
        let physical = jobs.plan(plan, session).await?;
        if !matches!(statement, Statement::Query(_)) || reads_the_session(&physical) {
            return Ok(physical);
        }
        Ok(Arc::new(JobExec::new(jobs, physical, session.config().clone())))
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

/// Rows: those of the job of a plan, in one partition.
struct JobExec {
    jobs: Arc<Jobs>,
    plan: Arc<dyn ExecutionPlan>,
    config: SessionConfig,
    properties: Arc<PlanProperties>,
}

impl JobExec {
    fn new(jobs: Arc<Jobs>, plan: Arc<dyn ExecutionPlan>, config: SessionConfig) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(plan.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { jobs, plan, config, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for JobExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobExec").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl DisplayAs for JobExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.jobs.explain(Arc::clone(&self.plan), &self.config, &Shown::default(), None) {
            Ok(stages) => write!(f, "JobExec:\n{stages}"),
            Err(error) => write!(f, "JobExec: {error}"),
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

    fn schema(&self) -> SchemaRef {
        self.plan.schema()
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
        let rows = self.jobs.start(Arc::clone(&self.plan), &self.config)?;
        let schema = rows.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows.map_err(external))))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
