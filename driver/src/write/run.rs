//! A write from its query to its commit.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning, collect};
use futures::TryStreamExt as _;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::exact::exact_plan;
use gnist_operators::failure::failure_of;
use gnist_operators::write::{
    WriteExec, WriteSpec, check_schema, is_folder_name, receipts_of, write_empty_file,
};
use gnist_storage::ListedTable;
use gnist_storage::commit::{AddedFile, Base, WriteId};
use gnist_storage::stores::{Store, store_of};

use super::Write;
use super::target::Begun;
use crate::error::SessionError;
use crate::jobs::{Jobs, reads_the_session};

/// Writes the rows of a query, whose plan is made once the target was looked at. Returns their number.
///
/// # Errors
/// The target can't be written to, the query can't be planned, the job's failure, or that of the commit. Nothing of the
/// write is visible then, unless the failure says that it is committed.
pub(crate) async fn write(
    jobs: &Jobs,
    write: &Write,
    session: &dyn Session,
    plan: impl Future<Output = Result<Arc<dyn ExecutionPlan>, SessionError>> + Send,
) -> Result<u64, SessionError> {
    let store = store_of(session.config(), &write.target.store)?;
    let base = base_of(write)?;
    let begun = Begun::new(store.clone(), write.target.clone(), write.mode, base).await?;
    let Some(begun) = begun else { return Ok(0) };
    let planned = async {
        let plan = plan.await?;
        let spec = Arc::new(spec_of(write, &plan.schema(), session)?);
        let of_format = spec.format.options(&spec.options)?;
        begun.check_end(&spec.format.extension(&of_format), write.is_of_table)?;
        Ok((plan, spec))
    };
    let (plan, spec) = match planned.await {
        Ok(planned) => planned,
        Err(error) => {
            begun.leave();
            return Err(error);
        }
    };
    let files = match stage(jobs, write, plan, &spec, &begun, &store, session).await {
        Ok(files) => files,
        Err(error) => {
            begun.give_up().await;
            return Err(error);
        }
    };
    let rows = files.iter().map(|file| file.rows).sum();
    begun.commit(files).await?;
    Ok(rows)
}

/// The state of the target in which the query's files were listed, if it reads files of the target that were listed
/// before. What is listed later is seen as it is after the look at the target.
fn base_of(write: &Write) -> Result<Option<Base>> {
    let mut first: Option<Base> = None;
    write.query.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(table) = source_as_provider(&scan.source)
            && let Some(table) = table.downcast_ref::<ListedTable>()
            && let Some(base) = table.base_in(&write.target)
        {
            first = Some(first.map_or(base, |first| first.min(base)));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(first)
}

/// Runs the plan with its rows written to staged files.
async fn stage(
    jobs: &Jobs,
    write: &Write,
    plan: Arc<dyn ExecutionPlan>,
    spec: &Arc<WriteSpec>,
    begun: &Begun,
    store: &Store,
    session: &dyn Session,
) -> Result<Vec<AddedFile>, SessionError> {
    let plan = if reads_the_session(&plan) { rows_of(plan, session).await? } else { plan };
    let schema = plan.schema();
    let plan = with_write(jobs, plan, write, spec, begun.write, session)?;
    let mut receipts = jobs.start(plan, session.config())?;
    let mut files: Vec<AddedFile> = Vec::new();
    while let Some(rows) = receipts.try_next().await? {
        files.extend(receipts_of(&rows)?);
    }
    if files.is_empty() && spec.partition_by.is_empty() {
        files.push(write_empty_file(spec, &schema, begun.write, store).await?);
    }
    Ok(files)
}

/// The rows of a plan that only the driver can run, as a leaf.
async fn rows_of(
    plan: Arc<dyn ExecutionPlan>,
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let rows = collect(exact_plan(plan)?, session.task_ctx()).await?;
    Ok(MemorySourceConfig::try_new_exec(&[rows], schema, None)?)
}

/// The form of the files, checked against the columns.
fn spec_of(write: &Write, schema: &SchemaRef, session: &dyn Session) -> Result<WriteSpec, Failure> {
    let user = |message: String| Failure::new(ErrorKind::User, message);
    write.options.check(write.format)?;
    let mut names = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        let message = format!("the files would have two columns called `{}`", twice.name());
        return Err(user(message).with_help("give one of them an alias"));
    }
    let column = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let message = format!("there is no column `{name}` to write by");
            let known: Vec<&str> =
                schema.fields().iter().map(|field| field.name().as_str()).collect();
            user(message).with_help(format!("columns are {}", known.join(", ")))
        })
    };
    let partition_by = write.partition_by.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    for (at, name) in partition_by.iter().zip(&write.partition_by) {
        if !is_folder_name(name) {
            let message = format!("the column `{name}` can't be in the name of a folder");
            return Err(user(message).with_help("give it an alias of letters, digits and `_`"));
        }
        let of = schema.field(*at).data_type();
        if of.is_nested() || of.is_binary() {
            let message = format!("`{name}` is of type {of}, which can't be the name of a folder");
            return Err(user(message).with_help("partition by columns of numbers, texts or dates"));
        }
    }
    let not_null = write.not_null.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    for (name, _) in &write.options.sort_by {
        column(name)?;
    }
    let in_files = schema.fields().iter().enumerate();
    let in_files = in_files.filter(|(at, _)| !partition_by.contains(at));
    let in_files = Schema::new(in_files.map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>());
    if in_files.fields().is_empty() && !partition_by.is_empty() {
        let message = "all columns are names of folders, and none is left for the files";
        return Err(user(message.to_owned()).with_help("partition by fewer columns"));
    }
    let mut options = write.format.of_settings(session.config_options());
    options.extend(write.options.of_format.iter().cloned());
    let of_format = write.format.options(&options).map_err(|error| failure_of(&error))?;
    let checked = check_schema(write.format, &of_format, &Arc::new(in_files));
    checked.map_err(|error| failure_of(&error))?;
    Ok(WriteSpec {
        store: write.target.store.clone(),
        folder: write.target.folder.clone(),
        single_file: write.target.single_file.clone(),
        format: write.format,
        options,
        partition_by,
        limits: write.options.limits,
        not_null,
    })
}

/// The plan, with its rows brought where they are written, and written.
fn with_write(
    jobs: &Jobs,
    plan: Arc<dyn ExecutionPlan>,
    write: &Write,
    spec: &Arc<WriteSpec>,
    id: WriteId,
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = plan.output_partitioning().partition_count();
    // Within one process a task has few files per value anyway, and an exchange would copy all rows.
    let is_dealt = jobs.in_process.is_none() && write.options.groups_partitions;
    let is_sorted = plan.output_ordering().is_some();
    let rows: Arc<dyn ExecutionPlan> = if spec.single_file.is_some() && partitions > 1 {
        Arc::new(CoalescePartitionsExec::new(plan))
    } else if !spec.partition_by.is_empty() && is_dealt && !is_sorted {
        let schema = plan.schema();
        let keys = spec.partition_by.iter().map(|at| {
            Arc::new(Column::new(schema.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>
        });
        let partitions = session.config().target_partitions();
        let by_folder = Partitioning::Hash(keys.collect(), partitions);
        Arc::new(RepartitionExec::try_new(plan, by_folder)?)
    } else {
        plan
    };
    let schema = rows.schema();
    let key = |(name, options): &(String, SortOptions)| {
        let column = Column::new_with_schema(name, &schema)?;
        Ok(PhysicalSortExpr { expr: Arc::new(column), options: *options })
    };
    let order = write.options.sort_by.iter().map(key).collect::<Result<Vec<_>>>()?;
    let rows: Arc<dyn ExecutionPlan> = match LexOrdering::new(order) {
        Some(order) => Arc::new(SortExec::new(order, rows).with_preserve_partitioning(true)),
        None => rows,
    };
    Ok(Arc::new(WriteExec::new(rows, Arc::clone(spec), id)))
}
