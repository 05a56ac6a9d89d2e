//! Intervals compare by their length.
//!
//! DataFusion compares an interval as months, then days, then nanoseconds: 60 hours, the difference of
//! two timestamps, are less than `INTERVAL '1 day'`. Here lengths are compared, a day being 24 hours
//! and a month 30 days, as in PostgreSQL. A difference of timestamps is compared with an interval
//! without months exactly; other intervals by their seconds, as doubles.

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, lit};
use gnist_operators::functions::date_part;

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct IntervalLengths;

impl FunctionRewrite for IntervalLengths {
    fn name(&self) -> &'static str {
        "interval_lengths"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else {
            return Ok(Transformed::no(expr));
        };
        if !compares(*op) {
            return Ok(Transformed::no(expr));
        }
        // What has no type has no interval either; the error comes later, with its place.
        let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema))
        else {
            return Ok(Transformed::no(expr));
        };
        let sides = match (&left_type, &right_type) {
            (DataType::Duration(unit), DataType::Interval(_)) => {
                as_duration(right, *unit).map(|right| (left.as_ref().clone(), right))
            }
            (DataType::Interval(_), DataType::Duration(unit)) => {
                as_duration(left, *unit).map(|left| (left, right.as_ref().clone()))
            }
            (DataType::Interval(_), DataType::Interval(_)) => None,
            _ => return Ok(Transformed::no(expr)),
        };
        let (left, right) = sides.unwrap_or_else(|| (seconds(left), seconds(right)));
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op: *op, right })))
    }
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// A written interval as a duration in this unit, where that is exact.
fn as_duration(interval: &Expr, unit: TimeUnit) -> Option<Expr> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) = interval else {
        return None;
    };
    let IntervalMonthDayNano { months: 0, days, nanoseconds } = *value else { return None };
    let nanoseconds = i64::from(days).checked_mul(86_400_000_000_000)?.checked_add(nanoseconds)?;
    let in_units = |per_unit: i64| (nanoseconds % per_unit == 0).then_some(nanoseconds / per_unit);
    let value = match unit {
        TimeUnit::Second => ScalarValue::DurationSecond(Some(in_units(1_000_000_000)?)),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(Some(in_units(1_000_000)?)),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(Some(in_units(1_000)?)),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(Some(nanoseconds)),
    };
    Some(Expr::Literal(value, None))
}

fn seconds(length: &Expr) -> Expr {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let interval = Expr::Cast(Cast::new(Box::new(length.clone()), interval));
    date_part::function().call(vec![lit("epoch"), interval])
}
