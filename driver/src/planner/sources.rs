//! Tables that only the driver knows.
//!
//! A table provider of one's own may plan operators that executors cannot decode. That is seen
//! before anything runs, and the table is named.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, TableReference};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{
    ArrowSource, CsvSource, FileScanConfig, JsonSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use gnist_storage::ExternalTable;

/// Refuses a plan that reads what no executor can read.
///
/// # Errors
/// `NotImplemented` naming the table, or the operator when no table of the query is suspect.
pub(crate) fn refuse_unknown(query: &LogicalPlan, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let Some(leaf) = unknown_leaf(plan) else { return Ok(()) };
    let what = match table_of_own(query)? {
        Some(table) => {
            format!("the table `{table}` comes from a table provider of your own, which")
        }
        None => format!("`{leaf}` reads a source that"),
    };
    Err(DataFusionError::NotImplemented(format!(
        "{what} the executors of a cluster do not know; use the master `local[*]`"
    )))
}

fn unknown_leaf(plan: &Arc<dyn ExecutionPlan>) -> Option<&str> {
    let children = plan.children();
    if children.is_empty() {
        return (!is_known(plan)).then(|| plan.name());
    }
    children.into_iter().find_map(unknown_leaf)
}

fn is_known(leaf: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(source) = leaf.downcast_ref::<DataSourceExec>() {
        let source = source.data_source();
        let Some(scan) = source.downcast_ref::<FileScanConfig>() else {
            return source.is::<MemorySourceConfig>();
        };
        let files = scan.file_source();
        return files.is::<ParquetSource>()
            || files.is::<CsvSource>()
            || files.is::<JsonSource>()
            || files.is::<ArrowSource>();
    }
    leaf.is::<EmptyExec>()
        || leaf.is::<PlaceholderRowExec>()
        || leaf.is::<LazyMemoryExec>()
        || leaf.is::<WorkTableExec>()
        // These stay in the driver.
        || crate::jobs::reads_the_session(leaf)
}

/// A table of the query whose provider is none of DataFusion's.
fn table_of_own(query: &LogicalPlan) -> Result<Option<TableReference>> {
    let mut found = None;
    query.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && source_as_provider(&scan.source).is_ok_and(|provider| is_own(&provider))
        {
            found = Some(scan.table_name.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn is_own(provider: &Arc<dyn TableProvider>) -> bool {
    !provider.is::<ListingTable>() && !provider.is::<ExternalTable>() && !provider.is::<MemTable>()
}
