//! The source of files that an exact scan reads: DataFusion's, with a wider schema.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::CsvOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::datasource::physical_plan::{
    CsvOpener, CsvSource, FileOpener, FileScanConfig, FileSource, JsonOpener,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;

use super::header::HeaderOpener;
use super::opener::ExactOpener;
use super::{Format, wide_schema};

/// A source of JSON or CSV files.
pub(super) struct ExactFiles {
    inner: Arc<dyn FileSource>,
    format: Format,
    batch_rows: Option<usize>,
}

impl ExactFiles {
    pub(super) fn new(inner: Arc<dyn FileSource>, format: Format) -> Self {
        Self { inner, format, batch_rows: None }
    }

    /// Opens some columns of files with a schema.
    fn opener(
        &self,
        schema: &SchemaRef,
        columns: &[usize],
        rows: usize,
        (store, scan): (&Arc<dyn ObjectStore>, &FileScanConfig),
    ) -> Result<Arc<dyn FileOpener>> {
        let (store, compression) = (Arc::clone(store), scan.file_compression_type);
        Ok(match self.format {
            Format::Json { is_array } => {
                let schema = Arc::new(schema.project(columns)?);
                Arc::new(JsonOpener::new(rows, schema, compression, store, !is_array))
            }
            Format::Csv => {
                let csv = self.inner.downcast_ref::<CsvSource>();
                let csv = csv.ok_or_else(|| internal_datafusion_err!("no source of CSV files"))?;
                if csv.has_header() {
                    return Ok(Arc::new(HeaderOpener {
                        csv: csv.clone(),
                        store,
                        compression,
                        store_url: scan.object_store_url.as_str().to_owned(),
                        schema: Arc::clone(schema),
                        columns: columns.to_vec(),
                        batch_rows: rows,
                    }));
                }
                let csv = csv_of(csv, schema, columns, rows)?;
                Arc::new(CsvOpener::new(Arc::new(csv), compression, store))
            }
        })
    }
}

/// The options of a source, as far as readers look at them.
pub(super) fn options_of(csv: &CsvSource) -> CsvOptions {
    CsvOptions {
        has_header: Some(csv.has_header()),
        delimiter: csv.delimiter(),
        quote: csv.quote(),
        terminator: csv.terminator(),
        escape: csv.escape(),
        comment: csv.comment(),
        newlines_in_values: Some(csv.newlines_in_values()),
        truncated_rows: Some(csv.truncate_rows()),
        ..CsvOptions::default()
    }
}

/// The source with another schema.
pub(super) fn csv_of(
    csv: &CsvSource,
    schema: &SchemaRef,
    columns: &[usize],
    rows: usize,
) -> Result<CsvSource> {
    let wide = CsvSource::new(Arc::clone(schema)).with_csv_options(options_of(csv));
    let projection = ProjectionExprs::from_indices(columns, schema);
    let projected = wide.try_pushdown_projection(&projection)?;
    let projected = projected.map(|source| source.with_batch_size(rows));
    let projected = projected.as_ref().and_then(|source| source.downcast_ref::<CsvSource>());
    projected.cloned().ok_or_else(|| internal_datafusion_err!("CSV files take no projection"))
}

impl FileSource for ExactFiles {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let (Some(rows), Some(projection)) = (self.batch_rows, self.projection()) else {
            return self.inner.create_file_opener(store, scan, partition);
        };
        let schema = self.table_schema().file_schema();
        let projection = SplitProjection::new(schema, projection);
        let columns = &projection.file_indices;
        let opener = |schema| self.opener(schema, columns, rows, (&store, scan));
        let projected = Arc::new(schema.project(columns)?);
        let wide =
            wide_schema(&projected, self.format).and_then(|_| wide_schema(schema, self.format));
        let exact = ExactOpener {
            wide: wide.as_ref().map(opener).transpose()?,
            plain: opener(schema)?,
            schema: projected,
            store: scan.object_store_url.as_str().to_owned(),
            format: self.format,
        };
        ProjectionOpener::try_new(projection, Arc::new(exact), schema)
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, rows: usize) -> Arc<dyn FileSource> {
        let (inner, format) = (self.inner.with_batch_size(rows), self.format);
        Arc::new(Self { inner, format, batch_rows: Some(rows) })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}
