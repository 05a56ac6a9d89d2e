//! Statistics of floats that say nothing.
//!
//! Parquet leaves NaN out of minimum and maximum: a column `[1.0, NaN]` has 1.0 for both, and
//! DataFusion takes such a column for the constant 1.0, when it reads it too.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, Statistics};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use gnist_operators::functions::normal_float::is_float;

/// Takes minimum, maximum and sum of floats from the statistics of scans.
#[derive(Debug)]
pub(super) struct FloatStatistics;

impl PhysicalOptimizerRule for FloatStatistics {
    fn name(&self) -> &'static str {
        "float_statistics"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            Ok(match files.and_then(without_floats) {
                Some(files) => Transformed::yes(DataSourceExec::from_data_source(files) as _),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan without what its statistics say of floats; none where it has no floats.
fn without_floats(files: &FileScanConfig) -> Option<FileScanConfig> {
    let schema = Arc::clone(files.file_source().table_schema().table_schema());
    if !schema.fields().iter().any(|field| is_float(field.data_type())) {
        return None;
    }
    let groups = files.file_groups.iter().map(|group| group_without_floats(group, &schema));
    let builder = FileScanConfigBuilder::from(files.clone())
        .with_statistics(forget_floats(&files.statistics(), &schema))
        .with_file_groups(groups.collect());
    Some(builder.build())
}

fn group_without_floats(group: &FileGroup, schema: &Schema) -> FileGroup {
    let files = group.iter().map(|file| {
        let mut file = file.clone();
        file.statistics = file.statistics.map(|known| Arc::new(forget_floats(&known, schema)));
        file
    });
    let forgetful = FileGroup::new(files.collect());
    match group.file_statistics(None) {
        Some(known) => forgetful.with_statistics(Arc::new(forget_floats(known, schema))),
        None => forgetful,
    }
}

fn forget_floats(known: &Statistics, schema: &Schema) -> Statistics {
    let mut forgetful = known.clone();
    for (column, field) in forgetful.column_statistics.iter_mut().zip(schema.fields()) {
        if is_float(field.data_type()) {
            column.min_value = Precision::Absent;
            column.max_value = Precision::Absent;
            column.sum_value = Precision::Absent;
        }
    }
    forgetful
}
