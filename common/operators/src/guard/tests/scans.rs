//! Each field of a scan that the guard compares is changed here, and found by its name.

use std::collections::BTreeSet;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::config::{CsvOptions, TableParquetOptions};
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{CsvSource, JsonSource, ParquetSource};
use datafusion::datasource::source::DataSource;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_expr_adapter::DefaultPhysicalExprAdapterFactory;
use datafusion::physical_plan::Partitioning;

use super::*;
use crate::guard::scan::Scan;

/// A scan, one that differs from it in one field, and the field.
type Change = (Arc<dyn DataSource>, Arc<dyn DataSource>, &'static str);

fn files(
    source: impl Into<Arc<dyn FileSource>>,
    with: impl FnOnce(FileScanConfigBuilder) -> FileScanConfigBuilder,
) -> Arc<dyn DataSource> {
    let url = ObjectStoreUrl::local_filesystem();
    let builder = FileScanConfigBuilder::new(url, source.into());
    Arc::new(with(builder.with_file(PartitionedFile::new("folder/file", 7))).build())
}

fn csv(with: impl FnOnce(FileScanConfigBuilder) -> FileScanConfigBuilder) -> Arc<dyn DataSource> {
    files(CsvSource::new(schema()), with)
}

fn of_files() -> Vec<Change> {
    let changed = |name, with: fn(FileScanConfigBuilder) -> FileScanConfigBuilder| {
        (csv(|scan| scan), csv(with), name)
    };
    let elsewhere = ObjectStoreUrl::parse("store://elsewhere").unwrap();
    let builder = FileScanConfigBuilder::new(elsewhere, Arc::new(CsvSource::new(schema())));
    let elsewhere: Arc<dyn DataSource> =
        Arc::new(builder.with_file(PartitionedFile::new("folder/file", 7)).build());
    let other_columns = schema().project(&[0]).unwrap();
    let day = Arc::new(Field::new("day", DataType::Int64, true));
    let partitioned =
        TableSchema::builder(schema()).with_table_partition_cols(vec![Arc::clone(&day)]).build();
    let numbered = TableSchema::builder(schema()).with_virtual_columns(vec![day]).build();
    let of_columns = |columns: TableSchema| files(CsvSource::new(columns), |scan| scan);
    let planned_with = |scan: FileScanConfigBuilder| {
        let mut file = PartitionedFile::new("folder/file", 7);
        file.extensions.insert(7_u8);
        scan.with_file_groups(vec![vec![file].into()])
    };
    vec![
        (csv(|scan| scan), elsewhere, "object_store_url"),
        changed("file_compression_type", |scan| {
            scan.with_file_compression_type(FileCompressionType::GZIP)
        }),
        changed("limit", |scan| scan.with_limit(Some(3))),
        changed("preserve_order", |scan| scan.with_preserve_order(true)),
        changed("batch_size", |scan| scan.with_batch_size(Some(3))),
        changed("constraints", |scan| {
            let key = Constraint::PrimaryKey(vec![0]);
            scan.with_constraints(Constraints::new_unverified(vec![key]))
        }),
        changed("expr_adapter_factory", |scan| {
            scan.with_expr_adapter(Some(Arc::new(DefaultPhysicalExprAdapterFactory)))
        }),
        (
            csv(|scan| scan.with_preserve_order(true)),
            csv(|scan| {
                let key = LexOrdering::new([PhysicalSortExpr::new_default(column())]).unwrap();
                scan.with_preserve_order(true).with_output_ordering(vec![key])
            }),
            "output_ordering",
        ),
        changed("output_partitioning", |scan| {
            scan.with_output_partitioning(Some(Partitioning::Hash(vec![column()], 1)))
        }),
        changed("projection", |scan| scan.with_projection_indices(Some(vec![1])).unwrap()),
        (csv(planned_with), csv(planned_with), "extensions of files"),
        (
            csv(|scan| scan),
            files(CsvSource::new(Arc::new(other_columns)), |scan| scan),
            "file_schema",
        ),
        (csv(|scan| scan), of_columns(partitioned), "table_partition_cols"),
        (csv(|scan| scan), of_columns(numbered), "table_schema"),
    ]
}

fn of_formats() -> Vec<Change> {
    let plain = CsvOptions { has_header: Some(false), ..CsvOptions::default() };
    let csv = |options: &CsvOptions, terminator| {
        let source = CsvSource::new(schema()).with_csv_options(options.clone());
        files(source.with_terminator(terminator), |scan| scan)
    };
    let changed = |name, options| (csv(&plain, None), csv(&options, None), name);
    let json = |by_line| files(JsonSource::new(schema()).with_newline_delimited(by_line), |it| it);
    let parquet = |source| files(source, |scan| scan);
    let mut pushed = TableParquetOptions::default();
    pushed.global.pushdown_filters = true;
    let plain_parquet = || ParquetSource::new(schema());
    vec![
        changed("has_header", CsvOptions { has_header: Some(true), ..plain.clone() }),
        changed("delimiter", CsvOptions { delimiter: b';', ..plain.clone() }),
        changed("quote", CsvOptions { quote: b'\'', ..plain.clone() }),
        changed("escape", CsvOptions { escape: Some(b'~'), ..plain.clone() }),
        changed("comment", CsvOptions { comment: Some(b'#'), ..plain.clone() }),
        (csv(&plain, None), csv(&plain, Some(b'|')), "terminator"),
        changed("truncated_rows", CsvOptions { truncated_rows: Some(true), ..plain.clone() }),
        changed(
            "newlines_in_values",
            CsvOptions { newlines_in_values: Some(true), ..plain.clone() },
        ),
        (json(true), json(false), "newline_delimited"),
        (csv(&plain, None), json(true), "file_source"),
        (
            parquet(plain_parquet()),
            parquet(plain_parquet().with_table_parquet_options(pushed)),
            "table_parquet_options",
        ),
        (parquet(plain_parquet()), parquet(plain_parquet().with_predicate(lit(true))), "predicate"),
    ]
}

fn of_memory() -> Vec<Change> {
    let made = |columns: &SchemaRef, projection: Option<Vec<usize>>| {
        let batch = RecordBatch::new_empty(Arc::clone(columns));
        MemorySourceConfig::try_new(&[vec![batch]], Arc::clone(columns), projection).unwrap()
    };
    let (all, one) = (schema(), Arc::new(schema().project(&[0]).unwrap()));
    let rows = || made(&all, None);
    let plain = || -> Arc<dyn DataSource> { Arc::new(rows()) };
    let key = LexOrdering::new([PhysicalSortExpr::new_default(column())]).unwrap();
    vec![
        (plain(), Arc::new(made(&one, None)), "schema"),
        (plain(), Arc::new(made(&all, Some(vec![1]))), "projection"),
        (plain(), Arc::new(rows().with_limit(Some(3))), "fetch"),
        (plain(), Arc::new(rows().with_show_sizes(!rows().show_sizes())), "show_sizes"),
        (
            plain(),
            Arc::new(rows().try_with_sort_information(vec![key]).unwrap()),
            "sort_information",
        ),
        (plain(), csv(|scan| scan), "data_source"),
    ]
}

#[test]
fn a_changed_field_of_a_scan_is_found_and_named() {
    for (original, decoded, field) in of_files().into_iter().chain(of_formats()).chain(of_memory())
    {
        let difference = |decoded, original: &Arc<dyn DataSource>| {
            Scan::new(decoded).difference(original.as_ref())
        };
        // Reading in an order that nobody asked for harms nobody.
        let forth = (field != "preserve_order").then_some(field);
        assert_eq!(difference(&decoded, &original), forth);
        assert_eq!(difference(&original, &decoded), Some(field));
        let itself = (field == "extensions of files").then_some(field);
        assert_eq!(difference(&original, &original), itself);
    }
}

/// A field that is compared from now on must be changed above as well.
#[test]
fn every_compared_field_of_a_scan_is_changed_here() {
    let changes = of_files().into_iter().chain(of_formats()).chain(of_memory());
    let changed: BTreeSet<_> = changes.map(|(.., field)| field).collect();
    let source = include_str!("../scan.rs");
    let compared: BTreeSet<_> = source.split('"').skip(1).step_by(2).collect();
    assert_eq!(changed, compared);
}
