//! Programs hold no files and no rows; instances hold those of their task.

use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
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
    let by_k = PhysicalSortExpr::new_default(Arc::new(Column::new("k", 1)));
    let source = MemorySourceConfig::try_new(&partitions, schema(), Some(vec![1]))
        .unwrap()
        .with_limit(Some(3))
        .with_show_sizes(false)
        .try_with_sort_information(vec![LexOrdering::new([by_k]).unwrap()])
        .unwrap();
    DataSourceExec::from_data_source(source)
}

fn files(names: &[&[&str]]) -> Plan {
    let source = Arc::new(CsvSource::new(schema()));
    let group = |names: &&[&str]| {
        FileGroup::new(names.iter().map(|name| PartitionedFile::new(*name, 1)).collect())
    };
    let url = ObjectStoreUrl::local_filesystem();
    let groups = names.iter().map(group).collect();
    DataSourceExec::from_data_source(
        FileScanConfigBuilder::new(url, source).with_file_groups(groups).build(),
    )
}

fn encode(plan: &Plan) -> Encoded {
    let functions = SessionContext::new().task_ctx();
    encode_program(plan, &Placement::Single, &Encoder::new(functions)).unwrap()
}

/// The instance of one task.
fn instance(encoded: &Encoded, task: u32) -> Plan {
    let program = Program::decode(ProgramKind::Plan, &encoded.bytes).unwrap();
    let task = ApplicationId(0).job(0).stage(0).task(task);
    let context = SessionContext::new().task_ctx();
    let bindings = Bindings::default();
    let instance = program.instantiate(task, &bindings, &encoded.scanned, &context).unwrap();
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
    use datafusion::physical_plan::limit::GlobalLimitExec;
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
