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
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{Column, Constraints, DFSchema, Result, ScalarValue, plan_datafusion_err};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{
    CreateExternalTable, Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, cast,
    lit, when,
};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::physical_plan::ExecutionPlan;

use crate::hidden::DataFiles;
use crate::table::undamaged;

/// The folder that Hive and Spark write rows to whose partition column is null.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Makes `CREATE EXTERNAL TABLE` follow the rules of this module.
pub fn serve_external_tables(state: &mut SessionState) {
    serve_local_files(state.runtime_env());
    for factory in state.table_factories_mut().values_mut() {
        *factory = Arc::new(ExternalTables(Arc::clone(factory)));
    }
}

/// Makes local files be read by the rules of this crate.
pub fn serve_local_files(runtime: &RuntimeEnv) {
    let store = Arc::new(DataFiles(Arc::new(LocalFileSystem::new())));
    runtime.register_object_store(ObjectStoreUrl::local_filesystem().as_ref(), store);
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
        let files = CreateExternalTable { schema: Arc::new(as_read(table)?), ..table.clone() };
        let files = undamaged(self.0.create(state, &files)).await.ok_or_else(|| {
            let (file_type, location) = (&table.file_type, table.locations.join("`, `"));
            plan_datafusion_err!("can't read `{location}` as {file_type}: a file is damaged")
        })??;
        let columns = match files.downcast_ref::<ListingTable>() {
            Some(files) => files.options().table_partition_cols.clone(),
            None => Vec::new(),
        };
        if columns.is_empty() {
            return Ok(files);
        }
        let declared = |name: &str| table.schema.field_with_unqualified_name(name).ok();
        let columns: Vec<Partition> = columns
            .into_iter()
            .map(|(name, read)| {
                let declared = declared(&name).map(|field| field.data_type().clone());
                Partition { declared: declared.unwrap_or(read), name }
            })
            .collect();
        Ok(Arc::new(PartitionedTable::new(table, files, &columns)?))
    }
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

/// A column whose values are names of folders.
struct Partition {
    name: String,
    /// The type that the table shows.
    declared: DataType,
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

/// A table over folders of partitions.
#[derive(Debug)]
struct PartitionedTable {
    files: Arc<dyn TableProvider>,
    view: ViewTable,
}

impl PartitionedTable {
    fn new(
        table: &CreateExternalTable,
        files: Arc<dyn TableProvider>,
        partitions: &[Partition],
    ) -> Result<Self> {
        let source = provider_as_source(Arc::clone(&files));
        let scan = LogicalPlanBuilder::scan(table.name.clone(), source, None)?.build()?;
        let columns = scan.schema().iter().map(|(relation, field)| {
            let column = Column::new(relation.cloned(), field.name());
            match partitions.iter().find(|partition| partition.name == *field.name()) {
                Some(partition) => partition.value(column, field),
                None => Ok(Expr::Column(column)),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlanBuilder::from(scan).project(columns)?.build()?;
        Ok(Self { files, view: ViewTable::new(plan, table.definition.clone()) })
    }
}

#[async_trait]
impl TableProvider for PartitionedTable {
    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.view.get_logical_plan()
    }

    fn schema(&self) -> SchemaRef {
        self.view.schema()
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

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.view.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.view.scan(state, projection, filters, limit).await
    }
}
