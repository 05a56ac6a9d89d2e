//! A field that changes is found and named, whatever kind of operator it is of.

use std::collections::BTreeSet;

use datafusion::common::config::CsvOptions;
use datafusion::common::{JoinType, NullEquality, NullHandling, ScalarValue, UnnestOptions};
use datafusion::datasource::physical_plan::CsvSource;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::logical_expr::{
    AggregateUDF, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowUDF,
};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::physical_plan::windows::{
    BoundedWindowAggExec, WindowAggExec, create_udwf_window_expr,
};
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{InputOrderMode, Partitioning};

use super::mutations::QUERIES;
use super::*;
use crate::guard::fields::OPERATORS;
use crate::reader::{ReadMode, StageReaderExec};

fn key() -> LexOrdering {
    LexOrdering::new([PhysicalSortExpr::new_default(column())]).unwrap()
}

fn other_key() -> LexOrdering {
    let column = Column::new("b", 1);
    LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(column))]).unwrap()
}

fn join(
    join_type: JoinType,
    mode: PartitionMode,
    equality: NullEquality,
    columns: Option<Vec<usize>>,
) -> Plan {
    let on = vec![(column(), column())];
    let join = HashJoinExec::try_new(
        empty(),
        empty(),
        on,
        None,
        &join_type,
        columns,
        mode,
        equality,
        false,
    );
    Arc::new(join.unwrap())
}

fn filter(columns: Vec<usize>, rows: usize, fetch: Option<usize>) -> Plan {
    let filter = FilterExecBuilder::new(lit(true), empty());
    let filter = filter.apply_projection(Some(columns)).unwrap().with_batch_size(rows);
    Arc::new(filter.with_fetch(fetch).build().unwrap())
}

/// Operators that move rows and differ in one field, and that field.
fn relational() -> Vec<(Plan, Plan, &'static str)> {
    let two: Plan = Arc::new(EmptyExec::new(schema()).with_partitions(2));
    let hashed = |partitions| -> Plan {
        let by = Partitioning::Hash(vec![column()], partitions);
        Arc::new(RepartitionExec::try_new(Arc::clone(&two), by).unwrap())
    };
    let sorted = |key| SortExec::new(key, Arc::clone(&two)).with_preserve_partitioning(true);
    let top = |rows| -> Plan { Arc::new(sorted(key()).with_fetch(Some(rows))) };
    let dealt = |keeps_order: bool| -> Plan {
        let by = Partitioning::RoundRobinBatch(3);
        let dealt = RepartitionExec::try_new(Arc::new(sorted(key())), by).unwrap();
        Arc::new(if keeps_order { dealt.with_preserve_order() } else { dealt })
    };
    let merged = |key, fetch| -> Plan {
        Arc::new(SortPreservingMergeExec::new(key, Arc::clone(&two)).with_fetch(fetch))
    };
    let one = |fetch| -> Plan {
        Arc::new(CoalescePartitionsExec::new(Arc::clone(&two)).with_fetch(fetch))
    };
    let limit = |skip, fetch| -> Plan { Arc::new(GlobalLimitExec::new(empty(), skip, fetch)) };
    let (mode, equal) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
    let inner = || join(JoinType::Inner, mode, equal, Some(vec![0]));
    let semi = |kind| join(kind, mode, equal, None);
    let each = join(JoinType::Inner, PartitionMode::Partitioned, equal, Some(vec![0]));
    let nulls = join(JoinType::Inner, mode, NullEquality::NullEqualsNull, Some(vec![0]));
    let union = |plans| UnionExec::try_new(plans).unwrap();
    let row = |partitions| -> Plan {
        Arc::new(PlaceholderRowExec::new(schema()).with_partitions(partitions))
    };
    vec![
        (hashed(3), hashed(4), "Repartition.partitioning or order"),
        (dealt(true), dealt(false), "Repartition.partitioning or order"),
        (Arc::new(sorted(key())), Arc::new(sorted(other_key())), "Sort.partitioning or order"),
        (top(3), top(4), "Sort.fetch"),
        (
            Arc::new(sorted(key())),
            Arc::new(SortExec::new(key(), Arc::clone(&two))),
            "Sort.partitioning or order",
        ),
        (
            merged(key(), None),
            merged(other_key(), None),
            "SortPreservingMerge.partitioning or order",
        ),
        (merged(key(), None), merged(key(), Some(1)), "SortPreservingMerge.fetch"),
        (one(None), one(Some(3)), "CoalescePartitions.fetch"),
        (limit(1, None), limit(2, None), "GlobalLimit.skip"),
        (limit(1, None), limit(1, Some(3)), "GlobalLimit.fetch"),
        (
            Arc::new(LocalLimitExec::new(empty(), 1)),
            Arc::new(LocalLimitExec::new(empty(), 2)),
            "LocalLimit.fetch",
        ),
        (filter(vec![0], 7, None), filter(vec![0], 8, None), "Filter.batch_size"),
        (filter(vec![0], 7, None), filter(vec![0], 7, Some(1)), "Filter.fetch"),
        (semi(JoinType::RightSemi), semi(JoinType::RightAnti), "HashJoin.join_type"),
        (inner(), each, "HashJoin.mode"),
        (inner(), nulls, "HashJoin.null_equality"),
        (inner(), inner().with_fetch(Some(3)).unwrap(), "HashJoin.null_aware or fetch"),
        (
            union(vec![empty(), empty()]),
            union(vec![empty(), empty(), empty()]),
            "Union.partitioning or order",
        ),
        (row(1), row(2), "PlaceholderRow.partitioning or order"),
        (Arc::clone(&two), empty(), "Empty.partitioning or order"),
    ]
}

#[test]
fn a_changed_field_of_an_operator_is_found_and_named() {
    for (one, other, field) in relational().into_iter().chain(computing()) {
        let (operator, name) = field.split_once('.').unwrap();
        assert_eq!(difference(&other, &one), Some(lost_field(operator, name)));
        assert!(difference(&one, &other).is_some(), "{field}");
    }
}

fn aggregate(function: Arc<AggregateUDF>, by: usize, mode: AggregateMode, filter: i64) -> Plan {
    let sum = AggregateExprBuilder::new(function, vec![column()]).schema(schema()).alias("x");
    let by: Arc<dyn PhysicalExpr> = Arc::new(Column::new(["a", "b"][by], by));
    let by = PhysicalGroupBy::new_single(vec![(by, "by".to_owned())]);
    let (sum, filter) = (Arc::new(sum.build().unwrap()), lit(filter));
    let aggregate =
        AggregateExec::try_new(mode, by, vec![sum], vec![Some(filter)], empty(), schema());
    Arc::new(aggregate.unwrap())
}

/// A sum without groups.
fn sum_of(sum: impl FnOnce(AggregateExprBuilder) -> AggregateExprBuilder) -> Plan {
    let of_column = AggregateExprBuilder::new(sum_udaf(), vec![column()]).schema(schema());
    let sum = Arc::new(sum(of_column.alias("x")).build().unwrap());
    let (mode, by) = (AggregateMode::Single, PhysicalGroupBy::default());
    let sum = AggregateExec::try_new(mode, by, vec![sum], vec![None], empty(), schema());
    Arc::new(sum.unwrap())
}

fn window(units: WindowFrameUnits, function: &Arc<WindowUDF>) -> Vec<Arc<dyn WindowExpr>> {
    let all = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    framed(WindowFrame::new_bounds(units, all, WindowFrameBound::CurrentRow), function)
}

fn framed(frame: WindowFrame, function: &Arc<WindowUDF>) -> Vec<Arc<dyn WindowExpr>> {
    let function = create_udwf_window_expr(function, &[column()], &schema(), "x".to_owned(), false);
    let keys = key().into_iter().collect::<Vec<_>>();
    vec![Arc::new(StandardWindowExpr::new(function.unwrap(), &[], &keys, Arc::new(frame)))]
}

fn whole_window(units: WindowFrameUnits, function: &Arc<WindowUDF>) -> Plan {
    Arc::new(WindowAggExec::try_new(window(units, function), empty(), false).unwrap())
}

/// A window whose frames are the row before, and those up to `end`.
fn window_to(end: WindowFrameBound) -> Plan {
    let before = WindowFrameBound::Preceding(ScalarValue::from(1_u64));
    let frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, before, end);
    Arc::new(WindowAggExec::try_new(framed(frame, &lag_udwf()), empty(), false).unwrap())
}

fn bounded_window(units: WindowFrameUnits, mode: InputOrderMode) -> Plan {
    let window = window(units, &lag_udwf());
    Arc::new(BoundedWindowAggExec::try_new(window, empty(), mode, false).unwrap())
}

fn unnest(depth: usize, nulls: NullHandling) -> Plan {
    let lists = vec![ListUnnest { index_in_input_schema: 0, depth }];
    let options = UnnestOptions { null_handling: nulls, ..UnnestOptions::default() };
    Arc::new(UnnestExec::new(empty(), lists, vec![], schema(), options).unwrap())
}

/// A work table of the query `name`, whose columns are alike, and one of them.
fn work_table(name: &str, column: usize) -> Plan {
    let fields = ["a", "a"].map(|name| Field::new(name, DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    Arc::new(WorkTableExec::new(name.to_owned(), schema, Some(vec![column])).unwrap())
}

fn csv(rows: Option<usize>, delimiter: u8) -> Plan {
    let options = CsvOptions { delimiter, ..CsvOptions::default() };
    scan(CsvSource::new(schema()).with_csv_options(options), |scan| scan.with_limit(rows))
}

fn reader(input: usize, mode: ReadMode) -> Plan {
    let equivalence = EquivalenceProperties::new(schema());
    Arc::new(StageReaderExec::new(input, mode, equivalence, Partitioning::UnknownPartitioning(1)))
}

/// Operators that compute or read and differ in one field, and that field.
fn computing() -> Vec<(Plan, Plan, &'static str)> {
    let (sum, single) = (sum_udaf, AggregateMode::Single);
    let (rows, range) = (WindowFrameUnits::Rows, WindowFrameUnits::Range);
    let (linear, sorted) = (InputOrderMode::Linear, InputOrderMode::Sorted);
    let (keep, drop) = (NullHandling::Preserve, NullHandling::Drop);
    vec![
        (
            aggregate(sum(), 0, single, 1),
            aggregate(max_udaf(), 0, single, 1),
            "Aggregate.aggr_expr",
        ),
        (aggregate(sum(), 0, single, 1), aggregate(sum(), 1, single, 1), "Aggregate.group_by"),
        (aggregate(sum(), 0, single, 1), aggregate(sum(), 0, single, 2), "Aggregate.filter_expr"),
        (
            aggregate(sum(), 0, single, 1),
            aggregate(sum(), 0, AggregateMode::SinglePartitioned, 1),
            "Aggregate.mode",
        ),
        (sum_of(|sum| sum), sum_of(|sum| sum.distinct()), "Aggregate.aggr_expr"),
        (
            window_to(WindowFrameBound::CurrentRow),
            window_to(WindowFrameBound::Following(ScalarValue::from(1_u64))),
            "WindowAgg.window_expr",
        ),
        (
            whole_window(rows, &lag_udwf()),
            whole_window(range, &lag_udwf()),
            "WindowAgg.window_expr",
        ),
        (
            whole_window(rows, &lag_udwf()),
            whole_window(rows, &lead_udwf()),
            "WindowAgg.window_expr",
        ),
        (
            bounded_window(rows, sorted.clone()),
            bounded_window(range, sorted.clone()),
            "BoundedWindowAgg.window_expr",
        ),
        (
            bounded_window(rows, sorted),
            bounded_window(rows, linear),
            "BoundedWindowAgg.input_order_mode",
        ),
        (unnest(1, keep), unnest(2, keep), "Unnest.list_column_indices"),
        (unnest(1, keep), unnest(1, drop), "Unnest.options"),
        (work_table("r", 0), work_table("s", 0), "WorkTable.name"),
        (work_table("r", 0), work_table("r", 1), "WorkTable.projection"),
        (csv(None, b','), csv(Some(3), b','), "DataSource.limit"),
        (csv(None, b','), csv(None, b';'), "DataSource.delimiter"),
        (reader(0, ReadMode::Gather), reader(1, ReadMode::Gather), "StageReader.input"),
        (reader(0, ReadMode::Gather), reader(0, ReadMode::Merge), "StageReader.mode"),
    ]
}

/// Operators without a field of their own: what they do follows from their inputs.
const WITHOUT_FIELDS: &[&str] = &["Cooperative", "CrossJoin"];

#[test]
fn every_kind_of_operator_has_a_field_that_is_changed_here() {
    let of_queries = QUERIES.iter().map(|(.., field)| *field);
    let made = relational().into_iter().chain(computing());
    let fields = of_queries.chain(made.map(|(.., field)| field));
    let changed = fields.filter_map(|field| Some(field.split_once('.')?.0));
    let changed: BTreeSet<&str> = changed.chain(WITHOUT_FIELDS.iter().copied()).collect();
    let known = OPERATORS.iter().map(|(name, _)| name.strip_suffix("Exec").unwrap());
    let missing: Vec<_> = known.filter(|name| !changed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
