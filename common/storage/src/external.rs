//! External tables over files, as Spark and Hive read them.
//!
//! - Columns that are declared `NOT NULL` are nullable: nobody has checked the files, and a plan that
//!   trusts the declaration hides the rows that break it.
//! - The partition `__HIVE_DEFAULT_PARTITION__` is null. DataFusion takes it for text, so a table with
//!   partitions is read through a projection that replaces it. Filters are pushed through it, and choose
//!   the folders to read.
//! - Hidden files are not read: see [`crate::hidden`].
//!
//! Rejected: a listing of our own, which would have to do again all that DataFusion's does for
//! statistics and orders. The price is that `WHERE c = 'x'` lists all partitions before it leaves out
//! the others.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider, TableProviderFactory};
use datafusion::common::{
    Column, Constraints, DFSchema, Result, ScalarValue, Statistics, TableReference,
    plan_datafusion_err, plan_err,
};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    CreateExternalTable, Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, cast,
    lit, when,
};
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt as _;

use gnist_common::error::{ErrorKind, Failure};

use crate::partitions::NULL_PARTITION;
use crate::table::{csv_of, undamaged};
use crate::target::WriteTarget;

/// Makes `CREATE EXTERNAL TABLE` follow the rules of this module.
pub fn serve_external_tables(state: &mut SessionState) {
    for factory in state.table_factories_mut().values_mut() {
        *factory = Arc::new(ExternalTables(Arc::clone(factory)));
    }
}

/// DataFusion's factory of tables of one format, with the rules of this module.
#[derive(Debug)]
struct ExternalTables(Arc<dyn TableProviderFactory>);

#[async_trait]
impl TableProviderFactory for ExternalTables {
    async fn create(
        &self,
        state: &dyn Session,
        table: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let schema = Arc::new(as_read(table)?);
        let mut files = CreateExternalTable { schema, ..table.clone() };
        files.options.retain(|key, _| !is_of_writes(key));
        let is_csv = files.file_type.eq_ignore_ascii_case("csv");
        let names_no_columns = table.schema.fields().is_empty() && table.order_exprs.is_empty();
        if is_csv && names_no_columns {
            // Any column beside those of the folders: DataFusion does not infer columns of its own then.
            let names =
                ["any"].into_iter().chain(table.table_partition_cols.iter().map(String::as_str));
            let fields = names.map(|name| Field::new(name, DataType::Utf8, true));
            files.schema = Arc::new(DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>()))?);
        }
        let created = async {
            let files = self.0.create(state, &files).await?;
            if is_csv && names_no_columns {
                with_csv_columns(state, files).await
            } else {
                Ok(files)
            }
        };
        let files = undamaged(created).await.ok_or_else(|| {
            let (file_type, location) = (&table.file_type, table.locations.join("`, `"));
            plan_datafusion_err!("can't read `{location}` as {file_type}: a file is damaged")
        })??;
        let columns = match files.downcast_ref::<ListingTable>() {
            Some(files) => files.options().table_partition_cols.clone(),
            None => Vec::new(),
        };
        let declared = |name: &str| table.schema.field_with_unqualified_name(name).ok();
        let columns: Vec<Partition> = columns
            .into_iter()
            .map(|(name, read)| {
                let declared = declared(&name).map(|field| field.data_type().clone());
                Partition { declared: declared.unwrap_or(read), name }
            })
            .collect();
        Ok(Arc::new(ExternalTable::new(table, files, &columns)?))
    }
}

/// A table of CSV files with the columns that their headers and first rows say.
async fn with_csv_columns(
    state: &dyn Session,
    files: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let Some(listing) = files.downcast_ref::<ListingTable>() else { return Ok(files) };
    let (mut options, urls) = (listing.options().clone(), listing.table_paths());
    let has_header = state.config_options().catalog.has_header;
    let Some((csv, rows)) = csv_of(options.format.as_ref(), has_header) else { return Ok(files) };
    if let [folder] = urls.as_slice()
        && folder.is_collection()
        && folder.get_glob().is_none()
    {
        // Other files of the folder are none of the table, as where DataFusion infers columns.
        let compression = options.format.compression_type();
        let compression = compression.unwrap_or(FileCompressionType::UNCOMPRESSED);
        let end = options.format.get_ext_with_compression(&compression)?;
        options.file_extension = format!(".{}", end.trim_start_matches('.'));
    }
    let store = state.runtime_env().object_store(&urls[0])?;
    let mut objects = Vec::new();
    for url in urls {
        let found = url.list_all_files(state, store.as_ref(), &options.file_extension).await?;
        objects.extend(found.try_collect::<Vec<_>>().await?);
    }
    objects.retain(|object| object.size > 0);
    objects.sort_by(|one, other| one.location.cmp(&other.location));
    let schema = csv.columns(store.as_ref(), &objects, rows).await?;
    let is_partition =
        |name: &String| options.table_partition_cols.iter().any(|(of, _)| of == name);
    if let Some(twice) = schema.fields().iter().find(|field| is_partition(field.name())) {
        let name = twice.name();
        return plan_err!("the column `{name}` is in the files and in the names of their folders");
    }
    let config = ListingTableConfig::new_with_multi_paths(urls.clone())
        .with_listing_options(options)
        .with_schema(schema);
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    let definition = listing.get_table_definition().map(ToOwned::to_owned);
    let files = ListingTable::try_new(config)?.with_cache(cache).with_definition(definition);
    Ok(Arc::new(files))
}

/// Options of a table that say how `INSERT` writes its files; readers don't know them.
pub const WRITE_OPTIONS: [&str; 4] =
    ["max_file_size", "max_file_rows", "group_partitions", "sort_by"];

fn is_of_writes(key: &str) -> bool {
    let name = key.strip_prefix("format.").unwrap_or(key).to_ascii_lowercase();
    WRITE_OPTIONS.contains(&name.as_str())
}

/// The declared columns, as the files are read: nullable, and partitions as text.
fn as_read(table: &CreateExternalTable) -> Result<DFSchema> {
    let fields = table.schema.iter().map(|(table_name, field)| {
        let is_partition = table.table_partition_cols.contains(field.name());
        let data_type = match field.data_type() {
            other if !is_partition || other.is_string() => other.clone(),
            _ => DataType::Utf8,
        };
        let field = field.as_ref().clone().with_nullable(true).with_data_type(data_type);
        (table_name.cloned(), Arc::new(field))
    });
    DFSchema::new_with_metadata(fields.collect(), table.schema.metadata().clone())
}

/// Files whose partition columns are texts, as a table whose partition columns have their types, and null.
///
/// # Errors
/// A column has no such type.
pub(crate) fn partitioned(
    (name, definition): (TableReference, Option<String>),
    files: &Arc<dyn TableProvider>,
    partitions: &[Partition],
) -> Result<ViewTable> {
    let source = provider_as_source(Arc::clone(files));
    let scan = LogicalPlanBuilder::scan(name, source, None)?.build()?;
    let columns = scan.schema().iter().map(|(relation, field)| {
        let column = Column::new(relation.cloned(), field.name());
        match partitions.iter().find(|partition| partition.name == *field.name()) {
            Some(partition) => partition.value(column, field),
            None => Ok(Expr::Column(column)),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let plan = LogicalPlanBuilder::from(scan).project(columns)?.build()?;
    Ok(ViewTable::new(plan, definition))
}

/// A column whose values are names of folders.
pub(crate) struct Partition {
    pub(crate) name: String,
    /// The type that the table shows.
    pub(crate) declared: DataType,
}

impl Partition {
    /// The values of the column, with null in place of Hive's name for null.
    fn value(&self, column: Column, read: &Field) -> Result<Expr> {
        let column = Expr::Column(column);
        let null = lit(ScalarValue::try_new_null(read.data_type())?);
        let value = when(column.clone().eq(lit(NULL_PARTITION)), null).otherwise(column)?;
        let value = if *read.data_type() == self.declared {
            value
        } else {
            cast(value, self.declared.clone())
        };
        Ok(value.alias(&self.name))
    }
}

/// A table over files, as a statement declared it.
#[derive(Debug)]
pub struct ExternalTable {
    statement: CreateExternalTable,
    files: Arc<dyn TableProvider>,
    /// The files with their partition columns as declared; absent where there are none.
    view: Option<ViewTable>,
}

impl ExternalTable {
    fn new(
        table: &CreateExternalTable,
        files: Arc<dyn TableProvider>,
        partitions: &[Partition],
    ) -> Result<Self> {
        let statement = table.clone();
        if partitions.is_empty() {
            return Ok(Self { statement, files, view: None });
        }
        let of = (table.name.clone(), table.definition.clone());
        let view = partitioned(of, &files, partitions)?;
        Ok(Self { statement, files, view: Some(view) })
    }

    /// The folder of its files, to write to.
    ///
    /// # Errors
    /// The table has several locations, or one that can't be written to.
    pub fn target(&self) -> Result<WriteTarget, Failure> {
        let files = self.files.downcast_ref::<ListingTable>().map(ListingTable::table_paths);
        match (files.map(Vec::as_slice), self.statement.locations.as_slice()) {
            (Some([url]), [given]) => WriteTarget::of_table(given, url),
            _ => {
                let message = format!("`{}` has several locations", self.statement.name);
                Err(Failure::new(ErrorKind::User, message)
                    .with_help("write with `COPY` to one of them"))
            }
        }
    }

    /// The name of its format, as it was written.
    pub fn file_type(&self) -> &str {
        &self.statement.file_type
    }

    /// The options of its files, as DataFusion names them, in the order of their names.
    pub fn options(&self) -> Vec<(String, String)> {
        let options = self.statement.options.iter();
        let mut options: Vec<_> =
            options.map(|(key, value)| (key.clone(), value.clone())).collect();
        options.sort_unstable();
        options
    }

    /// The columns that are declared never to be null.
    pub fn not_null_columns(&self) -> Vec<String> {
        let declared = self.statement.schema.fields().iter();
        declared.filter(|field| !field.is_nullable()).map(|field| field.name().clone()).collect()
    }

    /// The columns whose values are names of folders, outermost first.
    pub fn partition_columns(&self) -> &[String] {
        &self.statement.table_partition_cols
    }
}

#[async_trait]
impl TableProvider for ExternalTable {
    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.view.as_ref()?.get_logical_plan()
    }

    fn schema(&self) -> SchemaRef {
        self.view.as_ref().map_or_else(|| self.files.schema(), TableProvider::schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.files.constraints()
    }

    fn table_type(&self) -> TableType {
        self.files.table_type()
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.files.get_table_definition()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.files.get_column_default(column)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.files.statistics().filter(|_| self.view.is_none())
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        match &self.view {
            Some(view) => view.supports_filters_pushdown(filters),
            None => self.files.supports_filters_pushdown(filters),
        }
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.view {
            Some(view) => view.scan(state, projection, filters, limit).await,
            None => self.files.scan(state, projection, filters, limit).await,
        }
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> Result<ScanResult> {
        match &self.view {
            Some(view) => view.scan_with_args(state, args).await,
            None => self.files.scan_with_args(state, args).await,
        }
    }
}
