//! Tables over files that were listed once, and the state of the commit logs then.
//!
//! A write whose query reads its own target replaces what it read: it must fail if others have written there since the
//! files were listed, which may be long before the statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::{Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::ListingTable;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::path::Path;
use datafusion::physical_plan::ExecutionPlan;

use crate::commit::Base;
use crate::target::WriteTarget;

/// A table over the files of one listing.
#[derive(Debug)]
pub struct ListedTable {
    files: ListingTable,
    /// The last write that was to be seen in each folder with a commit log.
    bases: BTreeMap<Path, Base>,
}

impl ListedTable {
    pub(crate) fn new(files: ListingTable, bases: BTreeMap<Path, Base>) -> Self {
        Self { files, bases }
    }

    /// The last write that was to be seen in the target when its files were listed; none if the table has no file of
    /// it.
    pub fn base_in(&self, target: &WriteTarget) -> Option<Base> {
        let is_of_target = self.files.table_paths().iter().any(|file| {
            file.object_store() == target.store && file.prefix().prefix_matches(&target.folder)
        });
        is_of_target.then(|| self.bases.get(&target.folder).copied().unwrap_or_default())
    }
}

#[async_trait]
impl TableProvider for ListedTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        self.files.table_type()
    }

    fn statistics(&self) -> Option<Statistics> {
        self.files.statistics()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.files.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> Result<ScanResult> {
        self.files.scan_with_args(state, args).await
    }
}
