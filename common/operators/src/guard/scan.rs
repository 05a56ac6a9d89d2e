//! The fields of leaves that scan, one by one.
//!
//! Left out on purpose: the files and rows themselves, which travel as bindings; statistics and hints
//! of files, with which a scan skips what holds no row of the answer; metrics; the factory of Parquet
//! readers, which every executor has of its own; the order in which row groups are read, above which
//! a sort stays.

use std::sync::Arc;

use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{
    CsvSource, FileScanConfig, FileSource, JsonSource, ParquetSource,
};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::physical_plan::ExecutionPlan;

use super::shape;
use crate::wire::is_json_array;

/// Returns true if an operator scans files in an order.
pub(super) fn has_order(operator: &Arc<dyn ExecutionPlan>) -> bool {
    let source = operator.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let scan = source.and_then(|source| source.downcast_ref::<FileScanConfig>());
    scan.is_some_and(|scan| !scan.output_ordering.is_empty())
}

/// The field that two sources differ in.
pub(super) fn difference(one: &dyn DataSource, other: &dyn DataSource) -> Option<&'static str> {
    if let (Some(one), Some(other)) = (one.downcast_ref(), other.downcast_ref()) {
        return scan(one, other).or_else(|| source(one, other)).or_else(|| files(one));
    }
    match (one.downcast_ref(), other.downcast_ref()) {
        (Some(one), Some(other)) => rows(one, other),
        _ => Some("data_source"),
    }
}

fn rows(one: &MemorySourceConfig, other: &MemorySourceConfig) -> Option<&'static str> {
    let orders = (one.sort_information(), other.sort_information());
    first(&[
        (one.original_schema() == other.original_schema(), "schema"),
        (one.projection() == other.projection(), "projection"),
        (shape::of(&orders.0) == shape::of(&orders.1), "sort_information"),
        (one.fetch() == other.fetch(), "fetch"),
        (one.show_sizes() == other.show_sizes(), "show_sizes"),
    ])
}

/// What is planned with a file for readers of one's own does not travel.
fn files(scan: &FileScanConfig) -> Option<&'static str> {
    let mut files = scan.file_groups.iter().flat_map(|group| group.files());
    let is_plain = files.all(|file| file.extensions.is_empty());
    first(&[(is_plain, "extensions of files")])
}

fn first(fields: &[(bool, &'static str)]) -> Option<&'static str> {
    fields.iter().find(|(is_same, _)| !is_same).map(|(_, name)| *name)
}

fn scan(one: &FileScanConfig, other: &FileScanConfig) -> Option<&'static str> {
    let (one_table, other_table) =
        (one.file_source.table_schema(), other.file_source.table_schema());
    first(&[
        (one.object_store_url == other.object_store_url, "object_store_url"),
        (one.file_compression_type == other.file_compression_type, "file_compression_type"),
        (one.limit == other.limit, "limit"),
        // Files of a declared order are read in it, asked or not.
        (!one.preserve_order || other.preserve_order, "preserve_order"),
        (one.batch_size == other.batch_size, "batch_size"),
        (one.constraints == other.constraints, "constraints"),
        (one.file_schema() == other.file_schema(), "file_schema"),
        (one.table_partition_cols() == other.table_partition_cols(), "table_partition_cols"),
        (one_table.table_schema() == other_table.table_schema(), "table_schema"),
        (shape::of(&one.output_ordering) == shape::of(&other.output_ordering), "output_ordering"),
        (
            shape::of(&one.output_partitioning) == shape::of(&other.output_partitioning),
            "output_partitioning",
        ),
        (
            one.expr_adapter_factory.is_some() == other.expr_adapter_factory.is_some(),
            "expr_adapter_factory",
        ),
    ])
}

fn source(one: &FileScanConfig, other: &FileScanConfig) -> Option<&'static str> {
    let (one_source, other_source) = (&one.file_source, &other.file_source);
    let common = first(&[
        (one_source.file_type() == other_source.file_type(), "file_source"),
        (
            shape::of(&one_source.projection()) == shape::of(&other_source.projection()),
            "projection",
        ),
        (shape::of(&one_source.filter()) == shape::of(&other_source.filter()), "predicate"),
    ]);
    common
        .or_else(|| csv(one_source.as_ref(), other_source.as_ref()))
        .or_else(|| parquet(one_source.as_ref(), other_source.as_ref()))
        .or_else(|| json(one, other))
}

/// The options that a scan looks at; the others are for writing and for finding out the schema.
fn csv(one: &dyn FileSource, other: &dyn FileSource) -> Option<&'static str> {
    let (one, other) = (one.downcast_ref::<CsvSource>()?, other.downcast_ref::<CsvSource>()?);
    first(&[
        (one.has_header() == other.has_header(), "has_header"),
        (one.delimiter() == other.delimiter(), "delimiter"),
        (one.quote() == other.quote(), "quote"),
        (one.escape() == other.escape(), "escape"),
        (one.comment() == other.comment(), "comment"),
        (one.terminator() == other.terminator(), "terminator"),
        (one.truncate_rows() == other.truncate_rows(), "truncated_rows"),
        (one.newlines_in_values() == other.newlines_in_values(), "newlines_in_values"),
    ])
}

fn parquet(one: &dyn FileSource, other: &dyn FileSource) -> Option<&'static str> {
    let (one, other) =
        (one.downcast_ref::<ParquetSource>()?, other.downcast_ref::<ParquetSource>()?);
    let same = shape::of(one.table_parquet_options()) == shape::of(other.table_parquet_options());
    first(&[(same, "table_parquet_options")])
}

fn json(one: &FileScanConfig, other: &FileScanConfig) -> Option<&'static str> {
    one.file_source.downcast_ref::<JsonSource>()?;
    let arrays = (is_json_array(one), is_json_array(other));
    let is_same = matches!(arrays, (Ok(one), Ok(other)) if one == other);
    first(&[(is_same, "newline_delimited")])
}
