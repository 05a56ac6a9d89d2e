//! Dates and timestamps where DataFusion loses time.
//!
//! `DATE + INTERVAL` is a date in DataFusion, which drops the hours. Here it is a timestamp, as in
//! PostgreSQL, unless the interval is written and has whole days: then it is a date, as in Spark.
//!
//! `DATE - DATE` is a number of days to DataFusion's types and a length to its bounds, by which files are
//! pruned: a comparison of it fails. Here it is a difference of numbers.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator};

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct DateTimes;

impl FunctionRewrite for DateTimes {
    fn name(&self) -> &'static str {
        "date_times"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let type_of = |expr: &Expr| expr.get_type(schema).ok();
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::Plus | Operator::Minus) =>
            {
                let is_date = |expr: &Expr| type_of(expr).is_some_and(|of| is_date(&of));
                let has_time = |expr: &Expr| {
                    type_of(expr).is_some_and(|of| matches!(of, DataType::Interval(_)))
                        && !has_whole_days(expr)
                };
                if op == Operator::Minus && is_date(&left) && is_date(&right) {
                    return Ok(Transformed::yes(binary(days(*left), op, days(*right))));
                }
                let (left, right) = match (&*left, &*right) {
                    (date, interval) if is_date(date) && has_time(interval) => {
                        (Box::new(midnight(date)), right)
                    }
                    (interval, date) if is_date(date) && has_time(interval) => {
                        (left, Box::new(midnight(date)))
                    }
                    _ => return Ok(Transformed::no(binary(left, op, right))),
                };
                Transformed::yes(binary(left, op, right))
            }
            other => Transformed::no(other),
        })
    }
}

fn binary(left: Box<Expr>, op: Operator, right: Box<Expr>) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left, op, right })
}

fn is_date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}

/// True if an interval is written, or of months alone, and has no hours.
fn has_whole_days(interval: &Expr) -> bool {
    match interval {
        Expr::Alias(alias) => has_whole_days(&alias.expr),
        Expr::Negative(interval) => has_whole_days(interval),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => {
            value.is_none_or(|value| value.nanoseconds == 0)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(value), _) => {
            value.is_none_or(|value| value.milliseconds == 0)
        }
        Expr::Literal(ScalarValue::IntervalYearMonth(_), _) => true,
        _ => false,
    }
}

/// The days from 1970 to a date.
fn days(date: Expr) -> Box<Expr> {
    let date = Expr::Cast(Cast::new(Box::new(date), DataType::Date32));
    Box::new(Expr::Cast(Cast::new(Box::new(date), DataType::Int64)))
}

/// The first moment of a date: in microseconds, which reach as far as dates do.
fn midnight(date: &Expr) -> Expr {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    Expr::Cast(Cast::new(Box::new(date.clone()), timestamp))
}
