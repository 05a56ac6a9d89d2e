//! Tasks that do nothing, by the full path, per second: from SQL text until the driver knows that
//! every one has ended.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DataFusionResult, project_schema};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use gnist_common::error::ErrorKind;

use super::RunArgs;
use super::report::Report;
use super::run::{in_session, repeated};
use crate::cli::{CliError, Engine, Exit, Settings, print_line};

/// Tasks of the stage.
const TASKS: usize = 10_000;

/// Runs that don't count, and runs that do.
const RUNS: (usize, usize) = (1, 5);

pub(super) fn run(args: &RunArgs) -> Result<Exit, CliError> {
    let bench = |settings, engine| measure(args, settings, engine);
    in_session(&args.session, "gnist bench tasks", bench)
}

async fn measure(
    args: &RunArgs,
    settings: Settings,
    engine: Arc<Engine>,
) -> Result<bool, CliError> {
    let schema = Arc::new(Schema::new(vec![Field::new("nothing", DataType::Int64, true)]));
    let registered = engine.context().register_table("nothing", Arc::new(Nothing { schema }));
    registered.map_err(|error| {
        CliError::failed(ErrorKind::Internal, format!("can't register a table: {error}"))
    })?;
    let query = repeated(&engine, "empty_tasks", "select nothing from nothing", RUNS).await;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_second = query.ms.map(|ms| TASKS as f64 / (ms / 1000.0));
    print_line(&match (per_second, &query.error) {
        (Some(rate), None) => format!("{TASKS} empty tasks: {rate:.0} per second"),
        (_, error) => format!("failed: {}", error.as_deref().unwrap_or("no runs")),
    })?;
    let mut report = Report::new("tasks", settings.master.to_string(), &engine, vec![query]);
    report.tasks_per_second = per_second;
    report.write(args.json.as_deref())?;
    Ok(report.is_right())
}

/// A table of as many empty partitions as there are to be tasks.
#[derive(Debug)]
struct Nothing {
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Nothing {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        Ok(Arc::new(EmptyExec::new(schema).with_partitions(TASKS)))
    }
}
