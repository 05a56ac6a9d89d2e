//! Programs hold no files and no rows; instances hold those of their task.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{
    CsvSource, FileGroup, FileScanConfig, FileScanConfigBuilder,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlanProperties, collect};
use datafusion::prelude::SessionContext;
use gnist_common::ids::ApplicationId;

use super::*;
use crate::source::TaskSources;

type Plan = Arc<dyn ExecutionPlan>;

fn schema() -> SchemaRef {
    let fields =
        vec![Field::new("s", DataType::Utf8, false), Field::new("k", DataType::Int64, false)];
    Arc::new(Schema::new(fields))
}

/// A table of `partitions` partitions, of which number `p` holds the keys `first + 10 p` and the
/// next; its second column is read, in its order, three rows at most.
fn rows(partitions: i64, first: i64) -> Plan {
    let batch = |p: i64| {
        let k = Int64Array::from_iter_values(first + 10 * p..first + 10 * p + 2);
        let s = StringArray::from(vec!["a", "b"]);
        RecordBatch::try_new(schema(), vec![Arc::new(s), Arc::new(k)]).unwrap()
    };
    let partitions: Vec<_> = (0..partitions).map(|p| vec![batch(p)]).collect();
    let source = MemorySourceConfig::try_new(&partitions, schema(), Some(vec![1]))
        .unwrap()
        .with_limit(Some(3))
        .with_show_sizes(false)
        .try_with_sort_information(vec![by_key()])
        .unwrap();
    DataSourceExec::from_data_source(source)
}

fn files(names: &[&[&str]]) -> Plan {
    let file = |name: &&str| PartitionedFile::new(*name, 1);
    let group = |names: &&[&str]| FileGroup::new(names.iter().map(file).collect());
    scan(names.iter().map(group).collect(), None)
}

fn scan(groups: Vec<FileGroup>, ordering: Option<LexOrdering>) -> Plan {
    let source = Arc::new(CsvSource::new(schema()));
    let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
        .with_file_groups(groups)
        .with_output_ordering(ordering.into_iter().collect());
    DataSourceExec::from_data_source(scan.build())
}

fn by_key() -> LexOrdering {
    LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(Column::new("k", 1)))]).unwrap()
}

fn encode(plan: &Plan) -> Encoded {
    let functions = SessionContext::new().task_ctx();
    encode_program(plan, &Placement::Single, &Encoder::new(functions)).unwrap()
}

/// The files that a decoded plan asks for, and the stack that it has then.
#[derive(Debug)]
struct Probe {
    scanned: Vec<Scanned>,
    asked: Mutex<Vec<(u32, u32)>>,
    /// Bytes left of the stack at the last question.
    stack_bytes: AtomicUsize,
}

impl Probe {
    fn new(encoded: &Encoded) -> Self {
        let (asked, stack_bytes) = Default::default();
        Self { scanned: encoded.scanned.clone(), asked, stack_bytes }
    }
}

impl Sources for Probe {
    fn partitions(&self, leaf: u32) -> Result<u32> {
        self.scanned.partitions(leaf)
    }

    fn files(&self, leaf: u32, partition: u32) -> Result<Bytes> {
        self.asked.lock().unwrap().push((leaf, partition));
        self.stack_bytes.store(stacker::remaining_stack().unwrap(), Ordering::Relaxed);
        self.scanned.files(leaf, partition)
    }

    fn rows(&self, leaf: u32, partition: u32) -> Result<Vec<RecordBatch>> {
        self.scanned.rows(leaf, partition)
    }
}

/// The instance of one task.
fn instance(encoded: &Encoded, task: u32) -> Plan {
    instance_over(encoded, &encoded.scanned, task)
}

fn instance_over(encoded: &Encoded, sources: &dyn Sources, task: u32) -> Plan {
    let program = Program::decode(ProgramKind::Plan, &encoded.bytes).unwrap();
    let task = ApplicationId(0).job(0).stage(0).task(task);
    let context = SessionContext::new().task_ctx();
    let bindings = Bindings::default();
    let instance = program.instantiate(task, &bindings, sources, &context).unwrap();
    instance.unwrap().plan
}

fn keys(plan: Plan) -> Vec<i64> {
    let context = SessionContext::new().task_ctx();
    let batches = futures::executor::block_on(collect(plan, context)).unwrap();
    let column =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

fn paths(plan: &Plan) -> Vec<String> {
    let mut paths = Vec::new();
    let visit = |node: &Plan| {
        let source = node.downcast_ref::<DataSourceExec>().expect("a scan");
        let files = source.data_source().downcast_ref::<FileScanConfig>().expect("of files");
        let of_group = |group: &FileGroup| -> Vec<String> {
            group.files().iter().map(|file| file.path().to_string()).collect()
        };
        paths.extend(files.file_groups.iter().flat_map(of_group));
        Ok(TreeNodeRecursion::Continue)
    };
    plan.apply(visit).unwrap();
    paths
}

#[test]
fn rows_are_no_part_of_the_program_and_a_task_has_its_own() {
    let encoded = encode(&rows(3, 0));
    assert_eq!(encoded.bytes, encode(&rows(2, 500)).bytes);
    for task in 0..3 {
        let plan = instance(&encoded, task);
        let original = rows(3, 0);
        assert_eq!(plan.schema(), original.schema());
        assert_eq!(plan.output_ordering(), original.output_ordering());
        assert_eq!(plan.fetch(), Some(3));
        let first = i64::from(task) * 10;
        assert_eq!(keys(plan), [first, first + 1]);
    }
}

#[test]
fn files_are_no_part_of_the_program_and_a_task_has_its_own() {
    let encoded = encode(&files(&[&["a", "b"], &["c"], &[]]));
    assert_eq!(encoded.bytes, encode(&files(&[&["x"]])).bytes);
    let of_task = |task| paths(&instance(&encoded, task));
    assert_eq!(
        [of_task(0), of_task(1)],
        [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]
    );
    assert!(of_task(2).is_empty());
}

/// Decoding all groups for each task takes time by files x tasks.
#[test]
fn a_task_asks_for_its_own_files_alone() {
    let scan = || files(&[&["a"][..]; 100]);
    for (plan, task, asked) in
        [(scan(), 7, (0, 7)), (UnionExec::try_new(vec![scan(), scan()]).unwrap(), 103, (1, 3))]
    {
        let encoded = encode(&plan);
        let probe = Probe::new(&encoded);
        instance_over(&encoded, &probe, task);
        assert_eq!(*probe.asked.lock().unwrap(), [asked]);
    }
}

#[test]
fn statistics_of_files_stay_in_the_driver() {
    let group = |with_statistics: bool, names: &[&str]| {
        let file = |name: &&str| {
            let file = PartitionedFile::new(*name, 1);
            if !with_statistics {
                return file;
            }
            let mut known = Statistics::new_unknown(&schema());
            known.num_rows = Precision::Exact(7);
            file.with_statistics(Arc::new(known))
        };
        FileGroup::new(names.iter().map(file).collect())
    };
    let encoded = |with_statistics, names: &[&str], ordering| {
        let Scanned::Files(groups) =
            encode(&scan(vec![group(with_statistics, names)], ordering)).scanned.remove(0)
        else {
            panic!("files");
        };
        groups
    };
    for (names, ordering) in [(&["a", "b"][..], None), (&["a"], Some(by_key()))] {
        assert_eq!(encoded(true, names, ordering.clone()), encoded(false, names, ordering));
    }
    // Whether files in a row are in the order of the scan is seen in their statistics.
    let in_order = |with_statistics| encoded(with_statistics, &["a", "b"], Some(by_key()));
    assert_ne!(in_order(true), in_order(false));
}

#[test]
fn of_a_union_a_task_has_its_own_branch() {
    let inner = UnionExec::try_new(vec![rows(1, 100), rows(2, 200)]).unwrap();
    let union = UnionExec::try_new(vec![rows(2, 0), inner, rows(1, 300)]).unwrap();
    let encoded = encode(&union);
    let first: Vec<i64> = (0..6).map(|task| keys(instance(&encoded, task))[0]).collect();
    assert_eq!(first, [0, 10, 100, 200, 210, 300]);
    // Only the rows of the task's branch are asked for.
    let program = Program::decode(ProgramKind::Plan, &encoded.bytes).unwrap();
    let piece = |name: u8| vec![Piece::Inline(Bytes::from(vec![name]))];
    let bound =
        [vec![piece(0), piece(1)], vec![piece(2)], vec![piece(3), piece(4)], vec![piece(5)]];
    let sources = bound.map(Bound::Rows).to_vec();
    let bindings = Bindings { sources, ..Bindings::default() };
    let asked = |task| program.rows_of(task, &bindings);
    for task in 0..6 {
        let only = piece(u8::try_from(task).unwrap());
        assert_eq!(asked(task).iter().map(|(_, pieces)| *pieces).collect::<Vec<_>>(), [&only[..]]);
    }
    let sources = TaskSources { bound: &bindings.sources, rows: Default::default() };
    let context = SessionContext::new().task_ctx();
    let task = ApplicationId(0).job(0).stage(0).task(0);
    assert!(program.instantiate(task, &bindings, &sources, &context).is_err(), "no rows came");
}

#[test]
fn a_deep_plan_is_decoded_and_a_shallow_one_needs_no_stack_of_its_own() {
    let mut plan = rows(1, 0);
    for _ in 0..500 {
        plan = Arc::new(GlobalLimitExec::new(plan, 0, Some(9)));
    }
    let encoded = encode(&plan);
    let plan = instance(&encoded, 0);
    assert_eq!(plan.output_partitioning().partition_count(), 1);
    let depth = |plan: &Plan| canonical::depth(&encode(plan).bytes);
    assert!(depth(&rows(1, 0)) < 16, "{}", depth(&rows(1, 0)));
    assert!(depth(&plan) > 1_000);
}

/// A stack is mapped and unmapped: too much for every attempt.
#[test]
fn only_a_deep_plan_is_decoded_on_a_stack_of_its_own() {
    const STACK_BYTES: usize = 2 << 20;
    let stack_bytes = |limits: usize| {
        let mut plan = files(&[&["a"]]);
        for _ in 0..limits {
            plan = Arc::new(GlobalLimitExec::new(plan, 0, Some(9)));
        }
        let encoded = encode(&plan);
        let decode = move || {
            let probe = Probe::new(&encoded);
            instance_over(&encoded, &probe, 0);
            probe.stack_bytes.into_inner()
        };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(decode);
        thread.unwrap().join().unwrap()
    };
    assert!(stack_bytes(3) <= STACK_BYTES);
    assert!(stack_bytes(500) > STACK_BYTES);
}
