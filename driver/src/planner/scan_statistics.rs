//! Statistics of scans that say less than DataFusion takes them for.
//!
//! - Parquet leaves NaN out of minimum and maximum: a column `[1.0, NaN]` has 1.0 for both, and
//!   DataFusion takes such a column for the constant 1.0, when it reads it too.
//! - Its writers leave out the minimum and maximum of a row group where they are long texts. To DataFusion the
//!   largest one that is known is the maximum of the file then.
//! - What it says of the order of rows (`sorting_columns`) holds in each row group, and DataFusion takes it for the
//!   order of the whole file.
//! - It leaves nulls out too. Files `[1, null]` and `[2, 3]`, each sorted with nulls last, are one sorted
//!   stream to DataFusion, which looks whether the maximum of a file is above the minimum of the next.
//! - A column that a file lacks is null in all of its rows to DataFusion, and `count` is answered without opening it.
//!   It may be spelled otherwise there, which is an error to whoever reads it.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{ColumnStatistics, Result, Statistics};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use gnist_operators::functions::normal_float::is_float;

use super::around::with_first;

/// Adds the rule that forgets such statistics to a session's: the first, for those after it take
/// statistics for the truth.
pub(crate) fn with_scan_statistics(builder: SessionStateBuilder) -> SessionStateBuilder {
    with_first(builder, Arc::new(ScanStatistics))
}

#[derive(Debug)]
struct ScanStatistics;

impl PhysicalOptimizerRule for ScanStatistics {
    fn name(&self) -> &'static str {
        "scan_statistics"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            Ok(match files.and_then(with_true_statistics) {
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

/// The scan without the statistics that mislead; none where none can.
fn with_true_statistics(files: &FileScanConfig) -> Option<FileScanConfig> {
    let schema = Arc::clone(files.file_source().table_schema().table_schema());
    let keys = order_keys(files, &schema);
    let mut all = files.file_groups.iter().flat_map(FileGroup::iter);
    let is_said_by_files = all.any(|file| file.ordering.is_some());
    let lacking = lacking_columns(files);
    if keys.is_empty()
        && lacking.is_empty()
        && !is_said_by_files
        && !schema.fields().iter().any(|field| is_odd(field.data_type()))
    {
        return None;
    }
    let groups =
        files.file_groups.iter().map(|group| true_statistics(group, &schema, &keys, &lacking));
    let mut builder = FileScanConfigBuilder::from(files.clone())
        .with_statistics(without_odd(&files.statistics(), &schema, &lacking))
        .with_file_groups(groups.collect());
    if is_said_by_files && has_order_of_files(files) {
        builder = builder.with_output_ordering(Vec::new());
    }
    Some(builder.build())
}

/// Returns true if the order of the scan is one that its files say, and not one that was declared: or was declared
/// to be the same.
fn has_order_of_files(files: &FileScanConfig) -> bool {
    let [order] = files.output_ordering.as_slice() else { return false };
    let mut all = files.file_groups.iter().flat_map(FileGroup::iter);
    all.all(|file| {
        let said = file.ordering.as_ref();
        said.is_some_and(|said| {
            said.len() >= order.len() && said.iter().zip(order).all(|(one, other)| one == other)
        })
    })
}

/// Returns true for types whose minimum and maximum in a file may be others than the file says.
fn is_odd(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_odd(values),
        of => is_float(of) || of.is_string() || of.is_binary(),
    }
}

/// Columns by which the files are said to be sorted, as places in the table's schema.
fn order_keys(files: &FileScanConfig, schema: &Schema) -> Vec<usize> {
    let sorts = files.output_ordering.iter().flat_map(|order| order.iter());
    let columns = sorts.flat_map(|sort| collect_columns(&sort.expr));
    columns.filter_map(|column| schema.index_of(column.name()).ok()).collect()
}

/// Columns of which a file has no value, or that it lacks, as places in the table's schema.
fn lacking_columns(files: &FileScanConfig) -> BTreeSet<usize> {
    let files = files.file_groups.iter().flat_map(FileGroup::iter);
    let known = files.filter_map(|file| file.statistics.as_deref());
    let lacking = known.flat_map(|known| {
        let columns = known.column_statistics.iter().enumerate();
        let has_rows = known.num_rows.get_value().is_some_and(|rows| *rows > 0);
        columns.filter(move |(_, column)| has_rows && column.null_count == known.num_rows)
    });
    lacking.map(|(place, _)| place).collect()
}

fn true_statistics(
    group: &FileGroup,
    schema: &Schema,
    keys: &[usize],
    lacking: &BTreeSet<usize>,
) -> FileGroup {
    let files = group.iter().map(|file| {
        let mut file = file.clone();
        file.ordering = None;
        file.statistics = file.statistics.map(|known| {
            let mut known = without_odd(&known, schema, lacking);
            for key in keys {
                if let Some(column) = known.column_statistics.get_mut(*key)
                    && column.null_count != Precision::Exact(0)
                {
                    forget_values(column);
                }
            }
            Arc::new(known)
        });
        file
    });
    let forgetful = FileGroup::new(files.collect());
    match group.file_statistics(None) {
        Some(known) => forgetful.with_statistics(Arc::new(without_odd(known, schema, lacking))),
        None => forgetful,
    }
}

fn without_odd(known: &Statistics, schema: &Schema, lacking: &BTreeSet<usize>) -> Statistics {
    let mut forgetful = known.clone();
    for (column, field) in forgetful.column_statistics.iter_mut().zip(schema.fields()) {
        if is_odd(field.data_type()) {
            forget_values(column);
        }
    }
    for place in lacking {
        if let Some(column) = forgetful.column_statistics.get_mut(*place) {
            column.null_count = Precision::Absent;
        }
    }
    forgetful
}

fn forget_values(column: &mut ColumnStatistics) {
    column.min_value = Precision::Absent;
    column.max_value = Precision::Absent;
    column.sum_value = Precision::Absent;
}
