//! Scans of files: compression, the terminator of CSV lines, JSON arrays, and the order that a
//! limit relies on. DataFusion's encoding loses all of them.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    CsvSource, FileScanConfig, FileScanConfigBuilder, FileSource, JsonSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::object_store::memory::InMemory;
use datafusion::physical_plan::ExecutionPlan;
use prost::Message;

/// The lost fields of a scan.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ScanMessage {
    /// The compression, as DataFusion names it; empty for files that are not compressed.
    #[prost(string, tag = "1")]
    compression: String,
    /// The byte that ends a CSV line, unless that is a line feed.
    #[prost(uint32, optional, tag = "2")]
    terminator: Option<u32>,
    /// True if a JSON file is one array, not an object per line.
    #[prost(bool, tag = "3")]
    is_json_array: bool,
    /// True if a limit means the first rows of the files in their order.
    #[prost(bool, tag = "4")]
    keeps_order: bool,
}

pub(super) fn lost(plan: &dyn ExecutionPlan) -> Result<Option<ScanMessage>> {
    let Some(scan) = scan_of(plan) else { return Ok(None) };
    let csv = scan.file_source.downcast_ref::<CsvSource>();
    let message = ScanMessage {
        compression: compression_of(scan),
        terminator: csv.and_then(CsvSource::terminator).map(u32::from),
        is_json_array: is_json_array(scan)?,
        keeps_order: scan.preserve_order && scan.output_ordering.is_empty(),
    };
    Ok((message != ScanMessage::default()).then_some(message))
}

fn scan_of(plan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref()
}

fn compression_of(scan: &FileScanConfig) -> String {
    let kind = scan.file_compression_type;
    if kind.is_compressed() { kind.get_variant().to_string() } else { String::new() }
}

/// True if a scan reads JSON files of one array each. A source does not tell, but it refuses to
/// open a part of such a file; nothing is read to see that.
///
/// # Errors
/// The source can't be opened at all.
pub fn is_json_array(scan: &FileScanConfig) -> Result<bool> {
    if !scan.file_source.is::<JsonSource>() {
        return Ok(false);
    }
    let columns = scan.table_partition_cols().iter();
    let values = columns.map(|column| ScalarValue::try_from(column.data_type()));
    let part = PartitionedFile::new("part", 1)
        .with_partition_values(values.collect::<Result<_>>()?)
        .with_range(0, 1);
    let source = scan.file_source.with_batch_size(1);
    let nowhere = Arc::new(InMemory::new());
    match source.create_file_opener(nowhere, scan, 0)?.open(part) {
        Ok(_) => Ok(false),
        Err(DataFusionError::NotImplemented(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

impl ScanMessage {
    pub(super) fn restore(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = scan_of(plan.as_ref())
            .ok_or_else(|| internal_datafusion_err!("`{}` scans no files", plan.name()))?;
        let compression: FileCompressionType = self.compression.parse()?;
        let whole = FileScanConfigBuilder::from(scan.clone())
            .with_source(self.source(&scan.file_source)?)
            .with_file_compression_type(compression)
            .with_preserve_order(self.keeps_order || scan.preserve_order)
            .build();
        Ok(DataSourceExec::from_data_source(whole))
    }

    fn source(&self, decoded: &Arc<dyn FileSource>) -> Result<Arc<dyn FileSource>> {
        if let (Some(csv), Some(byte)) = (decoded.downcast_ref::<CsvSource>(), self.terminator) {
            let byte = u8::try_from(byte)
                .map_err(|_| internal_datafusion_err!("a terminator of more than a byte"))?;
            return Ok(Arc::new(csv.with_terminator(Some(byte))));
        }
        if let Some(json) = decoded.downcast_ref::<JsonSource>() {
            return Ok(Arc::new(json.clone().with_newline_delimited(!self.is_json_array)));
        }
        Ok(Arc::clone(decoded))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use datafusion::common::config::CsvOptions;
    use datafusion::datasource::physical_plan::ParquetSource;

    use super::*;
    use crate::guard::shape::field_names;

    /// A source, file or scan with a field that is not here needs a look: does it travel?
    #[test]
    fn scans_have_the_fields_that_are_known_here() {
        let schema = Arc::new(Schema::empty());
        let names = ["options", "batch_size", "table_schema", "projection", "metrics"];
        assert_eq!(field_names(&CsvSource::new(Arc::clone(&schema))), names);
        let names = [
            "table_parquet_options",
            "metrics",
            "table_schema",
            "predicate",
            "parquet_file_reader_factory",
            "batch_size",
            "metadata_size_hint",
            "projection",
            "reverse_row_groups",
            "sort_order_for_reorder",
        ];
        assert_eq!(field_names(&ParquetSource::new(schema)), names);
        let PartitionedFile {
            object_meta: _,
            partition_values: _,
            range: _,
            // For skipping and for planning.
            statistics: _,
            ordering: _,
            extensions: _,
            metadata_size_hint: _,
            table_reference: _,
            arrow_schema: _,
        } = PartitionedFile::new("", 0);
    }

    #[test]
    fn csv_has_the_options_that_are_known_here() {
        let CsvOptions {
            has_header: _,
            delimiter: _,
            quote: _,
            terminator: _,
            escape: _,
            comment: _,
            newlines_in_values: _,
            truncated_rows: _,
            // Of the scan, not of the source.
            compression: _,
            compression_level: _,
            // For writing, and for finding out the schema.
            double_quote: _,
            schema_infer_max_rec: _,
            date_format: _,
            datetime_format: _,
            timestamp_format: _,
            timestamp_tz_format: _,
            time_format: _,
            null_value: _,
            null_regex: _,
            quote_style: _,
            ignore_leading_whitespace: _,
            ignore_trailing_whitespace: _,
        } = CsvOptions::default();
    }
}
