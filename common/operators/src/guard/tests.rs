//! What DataFusion's own encoding loses is caught, and survives ours.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config::CsvOptions;
use datafusion::common::{JoinType, NullEquality};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    CsvSource, FileScanConfigBuilder, FileSource, JsonSource,
};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::{Operator, WindowFrame};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, TryCastExpr, lit};
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::windows::{WindowAggExec, create_udwf_window_expr};
use datafusion::physical_plan::{Partitioning, displayable};
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::{
    DefaultPhysicalProtoConverter, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use futures::executor::block_on;

use super::*;
use crate::codec::GnistCodec;
use crate::contexts::Contexts;
use crate::encoder::Encoder;
use crate::functions::register_functions;
use crate::program::encode_program;
use crate::wire::filtered::filters_as_arguments;

pub(super) type Plan = Arc<dyn ExecutionPlan>;

fn context() -> Arc<TaskContext> {
    Contexts::of_executors(Arc::default()).of(&[]).unwrap()
}

/// What a codec that is DataFusion's alone loses of a plan.
fn lost_by_datafusion(plan: &Plan) -> Option<Lost> {
    let context = context();
    let codec = GnistCodec::of_driver(&context);
    let converter = DefaultPhysicalProtoConverter {};
    let node = converter.execution_plan_to_proto(plan, &codec).unwrap();
    let decoded = node.try_into_physical_plan_with_converter(&context, &codec, &converter).unwrap();
    difference(&decoded, plan)
}

fn difference(decoded: &Plan, plan: &Plan) -> Option<Lost> {
    let decoded = Decoded::new(decoded, &Placement::Single);
    decoded.difference(plan, &Placement::Single)
}

/// Sees that our codec loses nothing of a plan.
fn survives(plan: &Plan) {
    let context = context();
    let encoder = Encoder::new(Arc::clone(&context));
    let program = encode_program(plan, &Placement::Single, &encoder).unwrap();
    let guard = Guard::default();
    for _ in 0..2 {
        let checked = guard.check(plan, &Placement::Single, &program, &context);
        assert!(checked.is_ok(), "{checked:?}\n{}", displayable(plan.as_ref()).indent(true));
    }
}

fn is_lost(plan: &Plan, operator: &str, field: &str) {
    let lost = lost_by_datafusion(plan).map(|lost| (lost.operator, lost.field));
    assert_eq!(lost, Some((operator.to_owned(), field.to_owned())));
}

pub(super) fn planned(query: &str, filters_are_arguments: bool) -> Plan {
    let mut session = SessionContext::new();
    register_functions(&mut session).unwrap();
    let table =
        "create table t as select * from (values (1, 2, 3.5), (2, null, 4.5)) as t(i, v, f)";
    block_on(async {
        session.sql(table).await.unwrap().collect().await.unwrap();
        let frame = session.sql(query).await.unwrap();
        let plan = frame.into_optimized_plan().unwrap();
        let plan = if filters_are_arguments {
            filters_as_arguments(&plan).unwrap().into_owned()
        } else {
            plan
        };
        let planner = datafusion::physical_planner::DefaultPhysicalPlanner::default();
        let planner: &dyn datafusion::physical_planner::PhysicalPlanner = &planner;
        planner.create_physical_plan(&plan, &session.state()).await.unwrap()
    })
}

fn schema() -> SchemaRef {
    let columns = ["a", "b"].map(|name| Field::new(name, DataType::Int64, true));
    Arc::new(Schema::new(columns.to_vec()))
}

fn scan(
    source: impl Into<Arc<dyn FileSource>>,
    with: impl FnOnce(FileScanConfigBuilder) -> FileScanConfigBuilder,
) -> Plan {
    let builder = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source.into())
        .with_file(PartitionedFile::new("folder/file", 7));
    DataSourceExec::from_data_source(with(builder).build())
}

fn projected(expr: impl PhysicalExpr) -> Plan {
    let expr = ProjectionExpr::new(Arc::new(expr), "x".to_owned());
    Arc::new(ProjectionExec::try_new([expr], empty()).unwrap())
}

fn empty() -> Plan {
    Arc::new(EmptyExec::new(schema()))
}

fn column() -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("a", 0))
}

#[test]
fn ignore_nulls_of_windows_is_caught_and_carried() {
    for query in [
        "select lag(v) ignore nulls over (order by i) from t",
        "select last_value(v) ignore nulls over (order by i) from t",
        "select first_value(v) ignore nulls over (order by i rows between unbounded preceding and \
         unbounded following) from t",
    ] {
        let plan = planned(query, false);
        let lost = lost_by_datafusion(&plan).unwrap();
        assert_eq!(lost.field, "window_expr", "{query}");
        survives(&plan);
    }
}

#[test]
fn windows_in_reverse_are_caught_and_carried() {
    let lag = create_udwf_window_expr(&lag_udwf(), &[column()], &schema(), "lag".to_owned(), false);
    let frame = Arc::new(WindowFrame::new(None));
    let forth = StandardWindowExpr::new(lag.unwrap(), &[], &[], frame);
    let back = forth.get_reverse_expr().unwrap();
    let plan: Plan = Arc::new(WindowAggExec::try_new(vec![back], empty(), false).unwrap());
    is_lost(&plan, "WindowAgg", "window_expr");
    survives(&plan);
}

#[test]
fn the_filter_of_a_window_is_caught_and_travels_as_an_argument() {
    for query in [
        "select sum(v) filter (where v > 1) over (order by i) from t",
        "select count(*) filter (where v > 1) over (order by i rows 1 preceding) from t",
    ] {
        let plan = planned(query, false);
        assert_eq!(lost_by_datafusion(&plan).unwrap().field, "window_expr", "{query}");
        survives(&planned(query, true));
    }
}

#[test]
fn the_compression_of_files_is_caught_and_carried() {
    for kind in [FileCompressionType::GZIP, FileCompressionType::ZSTD, FileCompressionType::BZIP2] {
        let csv = scan(CsvSource::new(schema()), |scan| scan.with_file_compression_type(kind));
        let json = scan(JsonSource::new(schema()), |scan| scan.with_file_compression_type(kind));
        for plan in [csv, json] {
            is_lost(&plan, "DataSource", "file_compression_type");
            survives(&plan);
        }
    }
}

#[test]
fn options_of_csv_are_caught_and_carried() {
    let terminated = CsvSource::new(schema()).with_terminator(Some(b'|'));
    let plan = scan(terminated, |scan| scan);
    is_lost(&plan, "DataSource", "terminator");
    survives(&plan);
    let options = CsvOptions {
        has_header: Some(false),
        delimiter: b';',
        quote: b'\'',
        escape: Some(b'~'),
        comment: Some(b'#'),
        newlines_in_values: Some(true),
        truncated_rows: Some(true),
        ..CsvOptions::default()
    };
    survives(&scan(CsvSource::new(schema()).with_csv_options(options), |scan| scan));
}

#[test]
fn json_arrays_are_caught_and_carried() {
    let plan = scan(JsonSource::new(schema()).with_newline_delimited(false), |scan| scan);
    is_lost(&plan, "DataSource", "newline_delimited");
    survives(&plan);
    survives(&scan(JsonSource::new(schema()), |scan| scan));
}

#[test]
fn the_order_of_a_scan_is_caught_and_carried() {
    let plan = scan(CsvSource::new(schema()), |scan| scan.with_preserve_order(true));
    is_lost(&plan, "DataSource", "preserve_order");
    survives(&plan);
}

#[test]
fn limits_above_32_bits_are_caught_and_carried() {
    let rows = (1_usize << 32) + 1;
    let plan: Plan = Arc::new(GlobalLimitExec::new(empty(), rows, Some(7)));
    is_lost(&plan, "GlobalLimit", "skip");
    survives(&plan);
    let plan: Plan = Arc::new(LocalLimitExec::new(empty(), rows));
    is_lost(&plan, "LocalLimit", "fetch");
    survives(&plan);
    let plan = scan(CsvSource::new(schema()), |scan| scan.with_limit(Some(rows)));
    is_lost(&plan, "DataSource", "limit");
    survives(&plan);
}

#[test]
fn checked_arithmetic_is_caught_and_carried() {
    let sum = || BinaryExpr::new(column(), Operator::Plus, lit(1_i64));
    let plan = projected(sum().with_fail_on_overflow(true));
    is_lost(&plan, "Projection", "projector");
    survives(&plan);
    let inner = Arc::new(sum().with_fail_on_overflow(true));
    let plan = projected(BinaryExpr::new(inner, Operator::Plus, lit(1_i64)));
    is_lost(&plan, "Projection", "projector");
    survives(&plan);
    assert_eq!(lost_by_datafusion(&projected(sum())), None);
}

#[test]
fn fields_of_casts_are_caught_and_carried() {
    let target = Field::new("target", DataType::Int32, false);
    let target = Arc::new(target.with_metadata([("key".to_owned(), "value".to_owned())].into()));
    let cast = CastExpr::new_with_target_field(column(), Arc::clone(&target), None);
    let plans = [projected(cast), projected(TryCastExpr::new_with_target_field(column(), target))];
    for plan in plans {
        assert!(lost_by_datafusion(&plan).is_some());
        survives(&plan);
    }
}

#[test]
fn null_aware_joins_survive() {
    let join = HashJoinExec::try_new(
        empty(),
        empty(),
        vec![(column(), column())],
        None,
        &JoinType::LeftAnti,
        None,
        PartitionMode::CollectLeft,
        NullEquality::NullEqualsNothing,
        true,
    );
    let aware: Plan = Arc::new(join.unwrap());
    survives(&aware);
    let plain = HashJoinExec::try_new(
        empty(),
        empty(),
        vec![(column(), column())],
        None,
        &JoinType::LeftAnti,
        None,
        PartitionMode::CollectLeft,
        NullEquality::NullEqualsNothing,
        false,
    );
    let plain: Plan = Arc::new(plain.unwrap());
    assert_eq!(difference(&plain, &aware), Some(lost_field("HashJoin", "null_aware or fetch")));
}

fn lost_field(operator: &str, field: &str) -> Lost {
    Lost { operator: operator.to_owned(), field: field.to_owned() }
}

#[test]
fn a_lost_placement_is_caught() {
    let plan = empty();
    let by = |partitions| Placement::Partitioned(Partitioning::Hash(vec![column()], partitions));
    let decoded = Decoded::new(&plan, &by(3));
    assert_eq!(decoded.difference(&plan, &by(3)), None);
    for other in [by(4), Placement::Single] {
        let lost = decoded.difference(&plan, &other);
        assert_eq!(lost, Some(lost_field("Empty", "placement")));
    }
}

#[test]
fn a_lost_input_is_caught() {
    let shallow: Plan = Arc::new(LocalLimitExec::new(empty(), 1));
    let deep: Plan = Arc::new(LocalLimitExec::new(Arc::clone(&shallow), 1));
    assert_eq!(difference(&shallow, &deep), Some(lost_field("LocalLimit", "the operator itself")));
}

#[test]
fn the_original_is_looked_at_every_time() {
    let context = context();
    let plain: Plan = Arc::new(LocalLimitExec::new(empty(), 1));
    let encoder = Encoder::new(Arc::clone(&context));
    let program = encode_program(&plain, &Placement::Single, &encoder).unwrap();
    let guard = Guard::default();
    guard.check(&plain, &Placement::Single, &program, &context).unwrap();
    let other: Plan = Arc::new(LocalLimitExec::new(empty(), 2));
    let error = guard.check(&other, &Placement::Single, &program, &context).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`fetch` of `LocalLimit`"), "{text}");
}

#[test]
fn plans_of_every_clause_survive() {
    for query in [
        "select i, sum(f), count(distinct v) from t group by i having sum(f) > 1 order by 2 limit 3",
        "select * from t p join t q on p.i = q.i and p.v < q.v left join t r on r.f > p.f",
        "select * from t where i in (select v from t) or v not in (select i from t)",
        "select i, case when v = 1 then 'a' when v = 2 then 'b' else s end from \
         (select *, cast(i as varchar) as s from t)",
        "select i, rank() over (partition by v order by f), sum(f) over (order by i) from t",
        "select i from t union all select v from t except select 1 intersect select 2",
        "select grouping(i), i, v, count(*) from t group by cube (i, v)",
        "select date_trunc('day', to_timestamp(i)), array_agg(v order by f), random() from t \
         group by 1",
        "select unnest(make_array(i, v)), struct(i, f), map(['a'], [i]) from t",
        "select i like 'a%', i between 1 and 2, i is distinct from v, interval '1 day' from \
         (select cast(i as varchar) as i, cast(v as varchar) as v from t)",
        "select value from generate_series(1, 10) where value % 2 = 0",
        "select first_value(v order by f desc), approx_distinct(i), stddev(f), median(f) from t",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select * from r",
    ] {
        let plan = planned(query, true);
        if !format!("{plan:?}").contains("ScalarSubqueryExec") {
            survives(&plan);
        }
    }
}

/// Prints what a look costs: `cargo test --release -p gnist-operators a_look -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "it is run to be read")]
fn a_look_at_twenty_operators_is_measured() {
    let query = "select p.i, sum(q.f) as s, count(*) from t p join t q on p.i = q.i \
                 join (select i, max(f) as f from t where v > 1 group by i) r on r.i = p.i \
                 left join (select v, avg(f) as g from t group by v) s on s.v = p.v \
                 where p.f between 1 and 4 and q.v in (1, 2, 3, 4) group by p.i having sum(q.f) > 2 \
                 order by s desc limit 10";
    let plan = planned(query, true);
    let context = context();
    let encoder = Encoder::new(Arc::clone(&context));
    let program = encode_program(&plan, &Placement::Single, &encoder).unwrap();
    let guard = Guard::default();
    let rounds = 1000;
    let text = format!("{plan:?}").len();
    let look = || guard.check(&plan, &Placement::Single, &program, &context).unwrap();
    look();
    let begun = std::time::Instant::now();
    (0..rounds).for_each(|_| look());
    let us = begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
    println!("{} operators, {text} bytes of text: {us:.0} us a look", walk(&plan).len());
    let begun = std::time::Instant::now();
    (0..rounds).for_each(|_| drop(format!("{plan:?}")));
    let us = begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
    println!("the text alone: {us:.0} us");
}
