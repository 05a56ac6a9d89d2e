//! Files that a task writes: the right rows, in the right folders, within its limits and its memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::object_store::ObjectStoreExt as _;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionConfig;
use gnist_common::stores::StoreSettings;
use gnist_storage::commit::{AddedFile, Staged, WriteId};
use gnist_storage::stores::{Store, Stores};

use super::{FileLimits, WriteExec, WriteFormat, WriteSpec, check_schema, receipts_of};

const URL: &str = "memory:///";

fn spec(format: WriteFormat) -> WriteSpec {
    WriteSpec {
        store: ObjectStoreUrl::parse(URL).unwrap(),
        folder: Path::from("lake/t"),
        single_file: None,
        format,
        options: Vec::new(),
        partition_by: Vec::new(),
        limits: FileLimits::default(),
        not_null: Vec::new(),
    }
}

fn rows(first: i64, count: i64, groups: i64) -> RecordBatch {
    let values = || first..first + count;
    let key: ArrayRef = Arc::new(StringArray::from_iter_values(
        values().map(|value| format!("g{}", value % groups)),
    ));
    let value: ArrayRef = Arc::new(Int64Array::from_iter_values(values()));
    RecordBatch::try_from_iter([("g", key), ("v", value)]).unwrap()
}

/// A store, and the context of a task that has so much memory.
fn place(memory_bytes: usize) -> (Arc<InMemory>, Arc<TaskContext>) {
    let store = Arc::new(InMemory::new());
    let pool = Arc::new(GreedyMemoryPool::new(memory_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let url = ObjectStoreUrl::parse(URL).unwrap();
    let stores = Stores::new(StoreSettings::default(), None);
    stores.register(url.as_ref(), Store::without_uploads(store.clone()));
    let config = SessionConfig::new()
        .with_sort_spill_reservation_bytes(1 << 16)
        .with_extension(Arc::new(stores));
    let context = TaskContext::default().with_session_config(config).with_runtime(runtime);
    (store, Arc::new(context))
}

async fn write(
    batches: Vec<RecordBatch>,
    spec: WriteSpec,
    context: &Arc<TaskContext>,
) -> Result<Vec<AddedFile>> {
    let schema = batches[0].schema();
    let input = MemorySourceConfig::try_new_exec(&[batches], schema, None)?;
    let exec = WriteExec::new(input, Arc::new(spec), WriteId::fresh());
    let receipts = collect(Arc::new(exec), Arc::clone(context)).await?;
    let files = receipts.iter().map(receipts_of).collect::<Result<Vec<_>>>()?;
    Ok(files.concat())
}

async fn bytes_of(store: &InMemory, file: &AddedFile) -> Bytes {
    let Staged::File(staged) = &file.staged else { panic!("{file:?}") };
    let path = Path::parse(format!("lake/t/{staged}")).unwrap();
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, file.bytes, "{}", file.path);
    bytes
}

fn parquet_values(bytes: Bytes) -> Vec<i64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let mut values = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let column = batch.column_by_name("v").unwrap().as_primitive::<Int64Type>().clone();
        values.extend(column.values().iter().copied());
    }
    values
}

#[tokio::test]
async fn rows_of_more_values_than_files_may_be_open_are_sorted_by_value_and_keep_their_order() {
    let groups = 200;
    // Interleaved, so that every batch has a row of every value.
    let batches: Vec<_> = (0..20).map(|at| rows(at * 1000, 1000, groups)).collect();
    for memory in [64 << 20, 8 << 20] {
        let (store, context) = place(memory);
        let spec = WriteSpec { partition_by: vec![0], ..spec(WriteFormat::Parquet) };
        let files = write(batches.clone(), spec, &context).await.unwrap();
        let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for file in &files {
            let (folder, name) = file.path.split_once('/').unwrap();
            assert!(name.starts_with("part-000000-"), "{name}");
            let values = parquet_values(bytes_of(&store, file).await);
            assert_eq!(values.len() as u64, file.rows);
            found.entry(folder.to_owned()).or_default().extend(values);
        }
        assert_eq!(files.len(), 200, "one file a value");
        assert_eq!(found.len(), 200);
        for (folder, mut values) in found {
            let group: i64 = folder.strip_prefix("g=g").unwrap().parse().unwrap();
            values.sort_unstable();
            let expected: Vec<i64> = (0..20_000).filter(|value| value % groups == group).collect();
            assert_eq!(values, expected, "{folder}");
        }
        assert_eq!(context.runtime_env().memory_pool.reserved(), 0);
    }
}

#[tokio::test]
async fn files_are_cut_by_rows_and_by_bytes_and_are_in_the_order_of_their_names() {
    let batches: Vec<_> = (0..10).map(|at| rows(at * 1000, 1000, 3)).collect();
    let (store, context) = place(64 << 20);
    for (limits, least) in [
        (FileLimits { rows: 700, ..FileLimits::default() }, 15),
        (FileLimits { bytes: 9_000, ..FileLimits::default() }, 3),
    ] {
        for format in [WriteFormat::Parquet, WriteFormat::Csv] {
            let spec = WriteSpec { limits, ..spec(format) };
            let mut files = write(batches.clone(), spec, &context).await.unwrap();
            assert!(files.len() >= least, "{limits:?} {format}: {}", files.len());
            assert!(files.iter().all(|file| file.rows <= limits.rows));
            files.sort_by(|one, other| one.path.cmp(&other.path));
            let mut values = Vec::new();
            for file in &files {
                let bytes = bytes_of(&store, file).await;
                if format == WriteFormat::Parquet {
                    values.extend(parquet_values(bytes));
                } else {
                    let text = String::from_utf8(bytes.to_vec()).unwrap();
                    let lines = text.lines().skip(1);
                    values.extend(
                        lines.map(|line| line.split_once(',').unwrap().1.parse::<i64>().unwrap()),
                    );
                }
            }
            assert_eq!(values, (0..10_000).collect::<Vec<i64>>(), "{limits:?} {format}");
        }
    }
}

/// Columns of views share the texts of their batch: a row must not count for all of them.
#[tokio::test]
async fn many_values_take_the_memory_of_their_rows() {
    let (_, context) = place(48 << 20);
    let batch = |first: i64| {
        let numbers = first..first + 8192;
        let key: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            numbers
                .clone()
                .map(|number| format!("a value that is no short text {}", number % 1000)),
        ));
        let value: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            numbers.map(|number| format!("a text that does not fit into its view {number}")),
        ));
        RecordBatch::try_from_iter([("g", key), ("v", value)]).unwrap()
    };
    let spec = WriteSpec { partition_by: vec![0], ..spec(WriteFormat::Csv) };
    let files = write((0..12).map(|at| batch(at * 8192)).collect(), spec, &context).await.unwrap();
    assert_eq!(files.len(), 1000);
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 12 * 8192);
}

#[tokio::test]
async fn text_is_compressed_as_its_name_says() {
    let (store, context) = place(64 << 20);
    for (compression, end) in
        [("gzip", ".gz"), ("bzip2", ".bz2"), ("xz", ".xz"), ("zstd", ".zst"), ("uncompressed", "")]
    {
        for (format, key) in [(WriteFormat::Csv, "csv"), (WriteFormat::Json, "json")] {
            let options = vec![("format.compression".to_owned(), compression.to_owned())];
            let spec = WriteSpec { options, ..spec(format) };
            let files = write(vec![rows(0, 5000, 2)], spec, &context).await.unwrap();
            assert!(files[0].path.ends_with(&format!(".{key}{end}")), "{}", files[0].path);
            let bytes = bytes_of(&store, &files[0]).await;
            let mut text = String::new();
            match compression {
                "gzip" => flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text),
                "bzip2" => bzip2::read::BzDecoder::new(&*bytes).read_to_string(&mut text),
                "xz" => liblzma::read::XzDecoder::new(&*bytes).read_to_string(&mut text),
                "zstd" => zstd::Decoder::new(&*bytes).unwrap().read_to_string(&mut text),
                _ => bytes.as_ref().read_to_string(&mut text),
            }
            .unwrap();
            let last = if key == "csv" { "g1,4999" } else { "{\"g\":\"g1\",\"v\":4999}" };
            assert_eq!(text.lines().last(), Some(last));
            assert_eq!(text.lines().count(), 5000 + usize::from(key == "csv"));
        }
    }
}

#[tokio::test]
async fn a_json_array_is_one() {
    let (store, context) = place(64 << 20);
    let options = vec![("format.newline_delimited".to_owned(), "false".to_owned())];
    let spec = WriteSpec { options, ..spec(WriteFormat::Json) };
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(0.1)]));
    let batch = RecordBatch::try_from_iter([("f", nan)]).unwrap();
    let files = write(vec![batch.clone(), batch.slice(2, 1)], spec, &context).await.unwrap();
    let text = bytes_of(&store, &files[0]).await;
    let expected = "[\n{\"f\":\"NaN\"},\n{\"f\":null},\n{\"f\":0.1},\n{\"f\":0.1}\n]\n";
    assert_eq!(String::from_utf8(text.to_vec()).unwrap(), expected);
}

#[tokio::test]
async fn folders_have_names_that_every_store_takes() {
    let (_, context) = place(64 << 20);
    let keys = ["a/b", "50%", "x=y", "..", "é ü", "12:30", "line\nfeed"];
    let key: ArrayRef =
        Arc::new(StringArray::from_iter(keys.iter().map(|key| Some(*key)).chain([None])));
    let value: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8));
    let batch = RecordBatch::try_from_iter([("k 1", key), ("v", value)]).unwrap();
    let spec = WriteSpec { partition_by: vec![0], ..spec(WriteFormat::Csv) };
    let files = write(vec![batch], spec.clone(), &context).await.unwrap();
    let mut folders: Vec<&str> =
        files.iter().map(|file| file.path.split_once('/').unwrap().0).collect();
    folders.sort_unstable();
    let mut expected = [
        "k 1=a%2Fb",
        "k 1=50%25",
        "k 1=x%3Dy",
        "k 1=%2E%2E",
        "k 1=é ü",
        "k 1=12%3A30",
        "k 1=line%0Afeed",
        "k 1=__HIVE_DEFAULT_PARTITION__",
    ];
    expected.sort_unstable();
    assert_eq!(folders, expected);

    let empty: ArrayRef = Arc::new(StringArray::from(vec![""]));
    let value: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("k", empty), ("v", value)]).unwrap();
    let error = write(vec![batch], spec, &context).await.unwrap_err().to_string();
    assert!(error.contains("an empty text in `k`"), "{error}");
}

#[test]
fn a_spec_travels_whole() {
    let spec = WriteSpec {
        single_file: Some("x.csv".to_owned()),
        options: vec![("format.b".to_owned(), "1".to_owned()), ("a".to_owned(), String::new())],
        partition_by: vec![2, 0],
        limits: FileLimits { bytes: 7, rows: 9 },
        ..spec(WriteFormat::Csv)
    };
    assert_eq!(WriteSpec::decode(spec.encode()).unwrap(), spec);
}

#[test]
fn columns_that_a_format_lacks_are_named() {
    let list = DataType::new_list(DataType::Int64, true);
    for (format, of, is_there) in [
        (WriteFormat::Csv, list.clone(), false),
        (WriteFormat::Csv, DataType::Binary, false),
        (WriteFormat::Json, list.clone(), true),
        (WriteFormat::Json, DataType::Binary, false),
        (WriteFormat::Parquet, list, true),
        (WriteFormat::Parquet, DataType::Binary, true),
        (
            WriteFormat::Parquet,
            DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano),
            false,
        ),
    ] {
        let options = format.options(&[]).unwrap();
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("column", of, true)]));
        let checked = check_schema(format, &options, &schema);
        assert_eq!(checked.is_ok(), is_there, "{format} {schema}");
        if let Err(error) = checked {
            assert!(error.to_string().contains("`column`"), "{error}");
        }
    }
}

#[test]
fn settings_of_a_session_are_options_of_its_writes() {
    let mut settings = ConfigOptions::default();
    assert_eq!(WriteFormat::Parquet.of_settings(&settings), []);
    settings.execution.parquet.compression = Some("snappy".to_owned());
    settings.catalog.has_header = false;
    let option = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let of_parquet = WriteFormat::Parquet.of_settings(&settings);
    assert_eq!(of_parquet, option("format.compression", "snappy"));
    let options = WriteFormat::Parquet.options(&of_parquet).unwrap();
    assert_eq!(options.parquet.global.compression.as_deref(), Some("snappy"));
    assert_eq!(WriteFormat::Csv.of_settings(&settings), option("format.has_header", "false"));
    assert_eq!(WriteFormat::Json.of_settings(&settings), []);
}

/// Fails in the middle of its rows.
#[derive(Debug)]
struct Failing(Arc<dyn ExecutionPlan>);

impl datafusion::physical_plan::DisplayAs for Failing {
    fn fmt_as(
        &self,
        _: datafusion::physical_plan::DisplayFormatType,
        f: &mut std::fmt::Formatter<'_>,
    ) -> std::fmt::Result {
        f.write_str("Failing")
    }
}

impl ExecutionPlan for Failing {
    fn name(&self) -> &'static str {
        "Failing"
    }

    fn properties(&self) -> &Arc<datafusion::physical_plan::PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self(Arc::clone(&children[0]))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<datafusion::execution::SendableRecordBatchStream> {
        use futures::StreamExt as _;
        let rows = self.0.execute(partition, context)?;
        let schema = rows.schema();
        let failed = futures::stream::once(async {
            Err(datafusion::common::exec_datafusion_err!("in the middle"))
        });
        let rows = rows.take(3).chain(failed);
        let adapter =
            datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, rows);
        Ok(Box::pin(adapter))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(
            &Arc<dyn datafusion::physical_expr::PhysicalExpr>,
        ) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

#[tokio::test]
async fn a_task_that_fails_gives_no_receipt() {
    let (_, context) = place(64 << 20);
    for partition_by in [vec![], vec![0]] {
        let batches: Vec<_> = (0..10).map(|at| rows(at * 100, 100, 90)).collect();
        let schema = batches[0].schema();
        let input = MemorySourceConfig::try_new_exec(&[batches], schema, None).unwrap();
        let spec = WriteSpec { partition_by, ..spec(WriteFormat::Parquet) };
        let exec = WriteExec::new(Arc::new(Failing(input)), Arc::new(spec), WriteId::fresh());
        let error = collect(Arc::new(exec), Arc::clone(&context)).await.unwrap_err();
        assert!(error.to_string().contains("in the middle"), "{error}");
        assert_eq!(context.runtime_env().memory_pool.reserved(), 0);
    }
}
