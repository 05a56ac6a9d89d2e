//! The fields of leaves that scan, one by one.
//!
//! Left out on purpose: the files and rows themselves, which travel as bindings; statistics and hints
//! of files, with which a scan skips what holds no row of the answer; metrics; the factory of Parquet
//! readers, which every executor has of its own; the order in which row groups are read, above which
//! a sort stays.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{
    CsvSource, FileScanConfig, FileSource, JsonSource, ParquetSource,
};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::physical_plan::ExecutionPlan;

use super::shape;
use super::text::Text;
use crate::wire::is_json_array;

/// Returns true if an operator scans files in an order.
pub(super) fn has_order(operator: &Arc<dyn ExecutionPlan>) -> bool {
    let source = operator.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let scan = source.and_then(|source| source.downcast_ref::<FileScanConfig>());
    scan.is_some_and(|scan| !scan.output_ordering.is_empty())
}

/// A decoded leaf.
pub(super) struct Scan {
    source: Arc<dyn DataSource>,
    /// The fields that only their texts compare, with their names.
    texts: Vec<(&'static str, Text)>,
}

impl Scan {
    pub(super) fn new(source: &Arc<dyn DataSource>) -> Self {
        let mut texts = Vec::new();
        each_shown(source.as_ref(), &mut |name, value| texts.push((name, Text::of(value))));
        Self { source: Arc::clone(source), texts }
    }

    /// The field that the original differs in.
    pub(super) fn difference(&self, original: &dyn DataSource) -> Option<&'static str> {
        let (files, rows) = (original.downcast_ref(), original.downcast_ref());
        let different = match (files, self.source.downcast_ref(), rows, self.source.downcast_ref())
        {
            (Some(original), Some(decoded), ..) => {
                scan(original, decoded).or_else(|| source(original, decoded))
            }
            (.., Some(original), Some(decoded)) => self::rows(original, decoded),
            _ => Some("data_source"),
        };
        let different = different.or_else(|| self.different_text(original));
        different.or_else(|| files.and_then(self::files))
    }

    fn different_text(&self, original: &dyn DataSource) -> Option<&'static str> {
        let (mut decoded, mut different) = (self.texts.iter(), None);
        each_shown(original, &mut |name, value| {
            let is_same = decoded.next().is_some_and(|(of, text)| *of == name && text.is_of(value));
            if !is_same {
                different = different.or(Some(name));
            }
        });
        different
    }

    /// Bytes of memory of the texts.
    pub(super) fn bytes(&self) -> usize {
        self.texts.iter().map(|(_, text)| text.bytes()).sum()
    }
}

/// The fields that are compared by their texts: expressions, which are equal or not by settings that
/// executors have of their own.
fn each_shown(source: &dyn DataSource, show: &mut dyn FnMut(&'static str, &dyn Debug)) {
    if let Some(scan) = source.downcast_ref::<FileScanConfig>() {
        show("output_ordering", &scan.output_ordering);
        show("output_partitioning", &scan.output_partitioning);
        show("projection", &scan.file_source.projection());
        show("predicate", &scan.file_source.filter());
    }
    if let Some(rows) = source.downcast_ref::<MemorySourceConfig>() {
        show("sort_information", &rows.sort_information());
    }
}

fn rows(one: &MemorySourceConfig, other: &MemorySourceConfig) -> Option<&'static str> {
    first(&[
        (one.original_schema() == other.original_schema(), "schema"),
        (one.projection() == other.projection(), "projection"),
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
        (
            one.expr_adapter_factory.is_some() == other.expr_adapter_factory.is_some(),
            "expr_adapter_factory",
        ),
    ])
}

fn source(one: &FileScanConfig, other: &FileScanConfig) -> Option<&'static str> {
    let (one_source, other_source) = (&one.file_source, &other.file_source);
    let same_type = one_source.file_type() == other_source.file_type();
    first(&[(same_type, "file_source")])
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
    let (one, other) = (one.table_parquet_options(), other.table_parquet_options());
    first(&[(one == other || shape::of(one) == shape::of(other), "table_parquet_options")])
}

fn json(one: &FileScanConfig, other: &FileScanConfig) -> Option<&'static str> {
    one.file_source.downcast_ref::<JsonSource>()?;
    let arrays = (is_json_array(one), is_json_array(other));
    let is_same = matches!(arrays, (Ok(one), Ok(other)) if one == other);
    first(&[(is_same, "newline_delimited")])
}
