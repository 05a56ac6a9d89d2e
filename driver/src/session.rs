//! The session: DataFusion's SQL and DataFrame API, unchanged, executed by Gnist.
//!
//! DataFusion parses, plans and optimises; nothing it plans is executed by it, but for what stays
//! in the driver: `SET`, `SHOW`, `DESCRIBE`, views and the definitions of external tables.

use std::sync::Arc;

use datafusion::common::{DataFusionError, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use gnist_common::bytes::ByteSize;
use gnist_common::error::Failure;
use gnist_common::ids::ApplicationId;
use gnist_common::stores::StoreSettings;
use gnist_common::time::WallTime;
use gnist_operators::contexts::Contexts;
use gnist_operators::exact::exact_plan;
use gnist_operators::failure::{external, failure_of};
use gnist_operators::functions::register_functions;
use gnist_operators::functions::settings::SqlSettings;
use gnist_operators::guard::Guard;
use gnist_proto::link::DriverLink;
use gnist_storage::stores::Stores;
use gnist_storage::{FileFormat, is_path, open_as, open_path, serve_external_tables, serve_paths};

use crate::connection::{Connection, JobObserver};
use crate::created::{TableMemory, refuse_shared_names, table_of};
use crate::error::{SessionError, not_yet};
use crate::frames::{FramePlanner, NoCache};
use crate::in_process::InProcess;
use crate::jobs::{Jobs, reads_the_session};
use crate::numbers::with_number_rules;
use crate::panics::caught;
use crate::planner::{
    CooperativeJoins, JoinsApart, ShownRanks, SoftLimits, WholeFrames, partitions_for,
    with_held_limits, with_kept_orders, with_kept_projections, with_namesakes, with_one_sided,
    with_own_statistics, with_promised_inputs, with_scan_statistics, with_unique_columns,
    with_unnest_names, with_whole_arrays,
};
use crate::prepared::{self, PreparedStatements};
use crate::result::ResultStream;
use crate::settings::{self, OwnSettings};
use crate::sql;
use crate::statement::{self, classify};
use crate::write::{self, Write};

/// The parts that a session is made from. The facade fills them in.
pub struct SessionParts {
    /// The conversation with the cluster manager.
    pub link: DriverLink,
    /// Set when the executor is in this process.
    pub in_process: Option<Arc<dyn InProcess>>,
    /// The application's name.
    pub name: String,
    /// Time when the user started the application.
    pub submitted_at: WallTime,
    /// The stores that the application reads and writes.
    pub stores: StoreSettings,
    /// Sees every message about its jobs.
    pub observer: Option<Arc<dyn JobObserver>>,
    /// Output partitions of every exchange; from the slots when absent.
    pub shuffle_partitions: Option<u32>,
    /// Rows per batch.
    pub batch_rows: usize,
    /// True if an overflow of integers and decimals is an error.
    pub ansi: bool,
    /// Limit of the memory for the tables that the driver keeps.
    pub memory: ByteSize,
    /// Largest build side of a join that is sent whole to every executor of a cluster.
    pub broadcast_threshold: ByteSize,
    /// Sorted runs of a cluster above which many tasks merge a range each.
    pub sort_threshold: ByteSize,
}

/// A session of one application. Cheap to clone; jobs may run at once.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    pub(crate) jobs: Arc<Jobs>,
    prepared: Arc<PreparedStatements>,
}

impl Session {
    /// Opens the application.
    ///
    /// # Errors
    /// `Cluster`, when the manager refuses or is gone.
    pub async fn open(parts: SessionParts) -> Result<Self, Failure> {
        let SessionParts { link, in_process, name, submitted_at, observer, .. } = parts;
        let stores = Arc::new(Stores::new(parts.stores.clone(), None));
        let connection = Connection::open(link, name, submitted_at, parts.stores, observer).await?;
        let slots = connection.slots().max(1);
        let partitions = match (&in_process, parts.shuffle_partitions) {
            (Some(_), _) => slots,
            (None, Some(partitions)) => partitions.max(1),
            (None, None) => partitions_for(slots, 0),
        };
        let target_partitions = partitions as usize;
        let mut config = SessionConfig::new()
            .with_target_partitions(target_partitions)
            .with_batch_size(parts.batch_rows)
            .with_information_schema(true)
            // An aggregate's input may be nullable where DataFusion's logical plan says that it is not.
            .set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true)
            // Pushes a limit into a grouping below a window, and past a column of another name.
            .set_bool("datafusion.optimizer.enable_topk_aggregation", false)
            // Computes a field of a struct below the struct: of `random()` another one, and of a key under a
            // name that the join doesn't find.
            .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
            // Leaves out rows that `max(b + 1)` beside `min(a)` needs.
            .set_bool("datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown", false)
            // Cuts a large CSV file inside of a quoted value.
            .set_bool("datafusion.catalog.newlines_in_values", true)
            // Finds a key of a grouping by its name, and makes two columns of one.
            .set_bool("datafusion.optimizer.top_down_join_key_reordering", false)
            // As Spark writes it; Zstd takes three times as long for a quarter less.
            .set_str("datafusion.execution.parquet.compression", "snappy")
            // Forgets that a window above another one looks further ahead than either.
            .set_bool("datafusion.optimizer.enable_window_limits", false)
            .with_option_extension(OwnSettings::new(
                parts.broadcast_threshold,
                parts.batch_rows,
                parts.shuffle_partitions,
                parts.sort_threshold,
            ))
            .with_option_extension(SqlSettings { ansi: parts.ansi })
            .with_extension(Arc::clone(&stores));
        if in_process.is_none() {
            plan_for_tasks(&mut config, parts.broadcast_threshold);
        }
        let entries = config.options().entries().into_iter();
        // Files that others put into a folder are seen by the next query: it lists again.
        let caches = CacheManagerConfig::default().with_list_files_cache_limit(0);
        let runtime = RuntimeEnvBuilder::new()
            .with_cache_manager(caches)
            .with_object_store_registry(stores as Arc<dyn ObjectStoreRegistry>)
            .build_arc();
        let runtime = runtime.map_err(|error| failure_of(&error))?;
        let jobs = Arc::new(Jobs {
            connection: Arc::new(connection),
            in_process,
            partitions: parts.shuffle_partitions.is_none().then_some(target_partitions),
            tables: TableMemory::new(parts.memory),
            opened_with: entries.map(|entry| (entry.key, entry.value)).collect(),
            contexts: Contexts::of_executors(Arc::clone(&runtime)),
            guard: Guard::default(),
        });
        let rules = with_number_rules(sql::install(SessionStateBuilder::new()));
        let rules = with_scan_statistics(with_unique_columns(with_one_sided(rules)));
        let rules = with_unnest_names(rules);
        let rules = with_own_statistics(with_whole_arrays(rules));
        let rules = with_kept_projections(with_promised_inputs(rules));
        let mut state = with_held_limits(with_kept_orders(with_namesakes(rules)))
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(SoftLimits))
            .with_physical_optimizer_rule(Arc::new(JoinsApart))
            .with_physical_optimizer_rule(Arc::new(WholeFrames))
            .with_physical_optimizer_rule(Arc::new(ShownRanks))
            .with_physical_optimizer_rule(Arc::new(CooperativeJoins))
            .with_query_planner(Arc::new(FramePlanner::new(&jobs)))
            .with_cache_factory(Some(Arc::new(NoCache)))
            .build();
        register_functions(&mut state).map_err(|error| failure_of(&error))?;
        serve_external_tables(&mut state);
        let context = SessionContext::new_with_state(state);
        serve_paths(&context).map_err(|error| failure_of(&error))?;
        Ok(Self { context, jobs, prepared: Arc::default() })
    }

    /// The application's id.
    pub fn application(&self) -> ApplicationId {
        self.jobs.connection.application()
    }

    /// DataFusion's context: catalog, functions, settings and DataFrames. A frame that is collected
    /// or shown runs as a job.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans and runs one SQL statement.
    ///
    /// # Errors
    /// [`SessionError::Plan`] with its place in the text, or the job's failure.
    pub async fn sql(&self, text: &str) -> Result<ResultStream, SessionError> {
        let state = self.context.state();
        let mut statements = sql::parse_as(text, state.config().options().sql_parser.dialect)?;
        match (statements.pop_front(), statements.is_empty()) {
            (Some(statement), true) => self.execute_plan(self.plan(statement).await?).await,
            (Some(_), false) => Err(not_yet("several statements in one text").into()),
            (None, _) => {
                let message = "there is no statement in the text".to_owned();
                Err(DataFusionError::Plan(message).into())
            }
        }
    }

    /// Plans one statement of [`crate::parse`].
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn plan(&self, statement: Statement) -> Result<LogicalPlan, SessionError> {
        Box::pin(caught(self.plan_statement(statement))).await
    }

    async fn plan_statement(&self, statement: Statement) -> Result<LogicalPlan, SessionError> {
        let state = self.context.state();
        let planned = sql::on_deep_stack(async {
            // A statement that can't be read has no tables either.
            let tables = state.resolve_table_references(&statement).unwrap_or_default();
            let checked = match Box::pin(view_sizes(&state, &tables)).await {
                Ok(views) if views.is_empty() => Ok(()),
                Ok(views) => sql::refuse_repeats(&statement, &views),
                Err(error) => Err(error),
            };
            if let Err(error) = checked {
                return Err((error, Vec::new()));
            }
            let planned = match prepared::untyped(&statement) {
                Some((name, inner)) => {
                    let planned = state.statement_to_plan(inner).await;
                    planned.map(|plan| prepared::without_types(name, plan))
                }
                None => state.statement_to_plan(statement).await,
            };
            planned.map_err(|error| (error, tables))
        });
        match planned.await {
            Ok(plan) => Ok(plan),
            Err((error, tables)) => Err(self.cause(&tables).await.unwrap_or(error).into()),
        }
    }

    /// The reason why a path in place of a table can't be read: it was no table when the statement
    /// was planned.
    async fn cause(&self, tables: &[TableReference]) -> Option<DataFusionError> {
        let state = self.context.state();
        for table in tables.iter().filter(|table| is_path(table.table())) {
            if !self.context.table_exist(table.clone()).unwrap_or(true)
                && let Err(failure) = open_path(&state, table.table()).await
            {
                return Some(external(failure));
            }
        }
        None
    }

    /// The rows of Parquet files, as a DataFrame: of a file, a folder or a pattern such as
    /// `data/*.parquet`.
    ///
    /// # Errors
    /// There is no such path, or a file of it is of another format.
    pub async fn read_parquet(&self, path: &str) -> Result<DataFrame, SessionError> {
        self.read(path, FileFormat::Parquet).await
    }

    /// The rows of CSV files with a header, as a DataFrame; of compressed ones too.
    ///
    /// # Errors
    /// As [`Session::read_parquet`].
    pub async fn read_csv(&self, path: &str) -> Result<DataFrame, SessionError> {
        self.read(path, FileFormat::Csv).await
    }

    /// The rows of files of a JSON object per line, as a DataFrame; of compressed ones too.
    ///
    /// # Errors
    /// As [`Session::read_parquet`].
    pub async fn read_json(&self, path: &str) -> Result<DataFrame, SessionError> {
        self.read(path, FileFormat::Json).await
    }

    async fn read(&self, path: &str, format: FileFormat) -> Result<DataFrame, SessionError> {
        let table = open_as(&self.context.state(), path, format).await?;
        Ok(self.context.read_table(table)?)
    }

    /// A table of the catalog, as a DataFrame.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn table(&self, name: &str) -> Result<DataFrame, SessionError> {
        let table = TableReference::from(name);
        match self.context.table(table.clone()).await {
            Ok(frame) => Ok(frame),
            Err(error) => Err(self.cause(&[table]).await.unwrap_or(error).into()),
        }
    }

    /// Runs a DataFrame, and says what its job cost.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn execute(&self, frame: DataFrame) -> Result<ResultStream, SessionError> {
        self.execute_plan(frame.into_unoptimized_plan()).await
    }

    /// Bytes of the programs, bindings and rows of tables in memory that the cluster manager keeps
    /// for this application.
    pub fn content_bytes(&self) -> u64 {
        self.jobs.connection.contents().bytes()
    }

    /// Slots of the cluster when the application was opened.
    pub fn slots(&self) -> u32 {
        self.jobs.connection.slots()
    }

    /// Bytes of the tables that `CREATE TABLE AS` made and the driver keeps.
    pub fn table_bytes(&self) -> u64 {
        self.jobs.tables.used_bytes()
    }

    /// Says why the application has failed: once closed, it is not one that finished.
    pub fn fail(&self, error: impl Into<String>) {
        self.jobs.connection.fail(error.into());
    }

    /// Leaves in good order: jobs still running are cancelled.
    pub async fn close(&self) {
        self.jobs.connection.close().await;
    }

    /// Runs a logical plan: a query as a job, a definition or a setting in the driver.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn execute_plan(&self, plan: LogicalPlan) -> Result<ResultStream, SessionError> {
        // What DataFusion plans with is large; callers need not hold it.
        Box::pin(caught(self.run(classify(plan)?))).await
    }

    async fn run(&self, statement: statement::Statement) -> Result<ResultStream, SessionError> {
        match statement {
            statement::Statement::Query(plan) => self.query(&plan).await,
            statement::Statement::InDriver(plan) => self.in_driver(plan).await,
            statement::Statement::Set(key, value) => {
                settings::set(&self.context, &self.jobs, &key, value).await?;
                Ok(no_rows())
            }
            statement::Statement::Prepare(prepare) => {
                self.prepared.add(prepare)?;
                Ok(no_rows())
            }
            statement::Statement::Execute(execute) => {
                let plan = self.prepared.with_values(execute, &self.context.state())?;
                self.execute_plan(plan).await
            }
            statement::Statement::Deallocate(name) => {
                self.prepared.remove(&name)?;
                Ok(no_rows())
            }
            statement::Statement::CreateTable(statement) => self.create_table(statement).await,
            statement::Statement::Write(write) => Box::pin(self.write(&write)).await,
            statement::Statement::Explain(explain) => self.explain(explain).await,
            statement::Statement::ExplainAnalyze(analyze) => self.explain_analyze(analyze).await,
        }
    }

    async fn query(&self, plan: &LogicalPlan) -> Result<ResultStream, SessionError> {
        let physical = self.physical(plan).await?;
        if reads_the_session(&physical) {
            return self.collect_here(physical).await;
        }
        self.start(physical)
    }

    /// Runs a plan in the driver, without a job.
    pub(crate) async fn collect_here(
        &self,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<ResultStream, SessionError> {
        let schema = plan.schema();
        let (plan, context) = (exact_plan(plan)?, self.context.task_ctx());
        let batches = datafusion::physical_plan::collect(plan, context).await?;
        Ok(ResultStream::ready(schema, batches))
    }

    /// Starts the job of a physical plan.
    pub(crate) fn start(&self, plan: Arc<dyn ExecutionPlan>) -> Result<ResultStream, SessionError> {
        Ok(self.jobs.start(plan, self.context.state_ref().read().config())?)
    }

    /// DataFusion's plan, not a job's: see [`crate::frames`].
    pub(crate) async fn physical(
        &self,
        plan: &LogicalPlan,
    ) -> Result<Arc<dyn ExecutionPlan>, SessionError> {
        let state = self.context.state();
        let planned = sql::on_deep_stack(async {
            let plan = state.optimize(plan)?;
            self.jobs.plan(&plan, &state).await
        });
        Ok(planned.await?)
    }

    async fn in_driver(&self, mut plan: LogicalPlan) -> Result<ResultStream, SessionError> {
        if let LogicalPlan::Ddl(DdlStatement::CreateView(view)) = &mut plan {
            let query = std::mem::take(&mut view.input);
            let query = sql::of_view(&self.context.state(), Arc::unwrap_or_clone(query))?;
            view.input = Arc::new(query);
        }
        let frame = self.context.execute_logical_plan(plan).await?;
        let answer = self.collect_here(self.physical(frame.logical_plan()).await?).await;
        // It may have dropped a table.
        self.jobs.connection.release_unused().await;
        answer
    }

    /// Writes the rows of a query to files. The answer is their number.
    async fn write(&self, write: &Write) -> Result<ResultStream, SessionError> {
        let state = self.context.state();
        let plan = self.physical(&write.query);
        let count = Box::pin(write::write(&self.jobs, write, &state, plan)).await?;
        Ok(ResultStream::ready(write::count_schema(), vec![write::count_row(count)]))
    }

    /// `CREATE TABLE t AS query`: the query runs as a job, its rows stay in the driver.
    async fn create_table(&self, statement: DdlStatement) -> Result<ResultStream, SessionError> {
        let DdlStatement::CreateMemoryTable(table) = statement else {
            return Err(not_yet("this statement").into());
        };
        if self.context.table_exist(table.name.clone())? {
            if table.if_not_exists {
                return Ok(no_rows());
            }
            if !table.or_replace {
                let message = format!("the table `{}` already exists", table.name);
                return Err(DataFusionError::Plan(message).into());
            }
        }
        refuse_shared_names(&table.name.to_string(), table.input.schema())?;
        let rows = self.query(&table.input).await?;
        let partitions = self.context.state_ref().read().config().target_partitions();
        let name = table.name.to_string();
        let created = table_of(rows, &name, &self.jobs.tables, partitions).await?;
        // The table before it goes once the rows are here: a query that fails takes nothing away.
        self.context.deregister_table(table.name.clone())?;
        self.context.register_table(table.name, created)?;
        Ok(no_rows())
    }
}

/// Sets options of DataFusion's planner as plans that are cut into tasks need them.
fn plan_for_tasks(config: &mut SessionConfig, broadcast_threshold: ByteSize) {
    let options = config.options_mut();
    // Tasks share nothing: a scan must not take another task's files.
    options.execution.enable_file_stream_work_stealing = false;
    // Dealing rows out costs an exchange here; scans are cut by bytes already.
    options.optimizer.enable_round_robin_repartition = false;
    // An interleave of exchanges would need all of them cut the same way.
    options.optimizer.prefer_existing_union = true;
    // An exchange of both sides costs more here than inside one process.
    options.optimizer.hash_join_single_partition_threshold =
        usize::try_from(broadcast_threshold.0).unwrap_or(usize::MAX);
}

/// The operators of the views among the tables of a statement. A path is no view, and would be opened twice.
async fn view_sizes(
    state: &SessionState,
    tables: &[TableReference],
) -> Result<sql::ViewSizes, DataFusionError> {
    let mut sizes = sql::ViewSizes::new();
    for table in tables.iter().filter(|table| !is_path(table.table())) {
        // What is not there, or can't be read, is the planner's to tell.
        let Ok(schema) = state.schema_for_ref(table.clone()) else { continue };
        let Ok(Some(provider)) = schema.table(table.table()).await else { continue };
        if let Some(plan) = provider.get_logical_plan() {
            sizes.insert(table.to_string(), sql::operators_of(&plan)?);
        }
    }
    Ok(sizes)
}

fn no_rows() -> ResultStream {
    ResultStream::ready(Arc::new(datafusion::arrow::datatypes::Schema::empty()), Vec::new())
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Plan(error) => failure_of(&error),
            SessionError::Job(failure) => failure,
        }
    }
}
