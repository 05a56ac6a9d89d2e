//! Tests of fields that DataFusion's own encoding loses: the guard sees it, and ours keeps them.

use datafusion::common::config::CsvOptions;
use datafusion::common::{JoinType, NullEquality};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{CsvSource, JsonSource};
use datafusion::logical_expr::{Operator, WindowFrame};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, TryCastExpr, lit};
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::windows::{WindowAggExec, create_udwf_window_expr};

use super::*;

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
    let lag = create_udwf_window_expr(
        &context().window_functions()["lag"],
        &[column()],
        &schema(),
        "lag".to_owned(),
        false,
    );
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
