//! Windows that are ordered by intervals, times, bytes, structs and the like, with the default frame.
//!
//! DataFusion refuses every `RANGE` frame over them as a bug of its own, also that of `rank()`,
//! which looks at no frame. Without a distance a `RANGE` frame is a `GROUPS` frame: both begin and end
//! with peers. A distance over texts, booleans or dictionaries it takes for an infinite one, and a number over dates for
//! months: here it is days, as in `d - 1` and in Spark.
//! Days over instants in a zone where clocks change are refused.

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits,
};

const BY_SECONDS: &str = "order by its seconds, `extract(epoch from x)`, or write a `ROWS` frame";

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct IntervalFrames;

impl FunctionRewrite for IntervalFrames {
    fn name(&self) -> &'static str {
        "interval_frames"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let (frame, order) = (&call.params.window_frame, &call.params.order_by);
        let key = order.first().and_then(|sort| sort.expr.get_type(schema).ok());
        let is_range = frame.units == WindowFrameUnits::Range;
        if is_range && let Some(key) = key.as_ref().filter(|key| is_temporal(key)) {
            let bounds = (in_days(&frame.start_bound, key)?, in_days(&frame.end_bound, key)?);
            refuse_days(&bounds.0, key)?;
            refuse_days(&bounds.1, key)?;
            let frame = &mut call.params.window_frame;
            let is_new = bounds.0 != frame.start_bound || bounds.1 != frame.end_bound;
            (frame.start_bound, frame.end_bound) = bounds;
            return Ok(Transformed::new_transformed(Expr::WindowFunction(call), is_new));
        }
        let has_distance = has_distance(&frame.start_bound) || has_distance(&frame.end_bound);
        let key = key.filter(|key| !has_ranges(key) || has_distance && !has_distances(key));
        let (true, Some(key)) = (is_range, key) else {
            return Ok(Transformed::no(Expr::WindowFunction(call)));
        };
        if has_distance {
            let (what, instead) = match key {
                DataType::Interval(_) | DataType::Duration(_) => ("an interval", BY_SECONDS),
                DataType::Time32(_) | DataType::Time64(_) => ("a time", BY_SECONDS),
                _ => ("what is no number and no date", "write a `ROWS` or `GROUPS` frame"),
            };
            return plan_err!(
                "a `RANGE` frame with a distance over {what} is not supported yet; {instead}"
            );
        }
        let bounds = (frame.start_bound.clone(), frame.end_bound.clone());
        call.params.window_frame =
            WindowFrame::new_bounds(WindowFrameUnits::Groups, bounds.0, bounds.1);
        Ok(Transformed::yes(Expr::WindowFunction(call)))
    }
}

/// Returns true for the types over which DataFusion has `RANGE` frames.
fn has_ranges(key: &DataType) -> bool {
    use DataType::{
        Boolean, Date32, Date64, Dictionary, FixedSizeList, LargeList, List, Null, Timestamp,
    };
    match key {
        Dictionary(_, value) => has_ranges(value),
        List(_) | LargeList(_) | FixedSizeList(..) => true,
        Boolean | Null | Date32 | Date64 | Timestamp(..) => true,
        key => key.is_numeric() || key.is_string(),
    }
}

fn is_temporal(key: &DataType) -> bool {
    matches!(key, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

/// A bound whose distance, if it is a number, is so many days.
fn in_days(bound: &WindowFrameBound, key: &DataType) -> Result<WindowFrameBound> {
    let days = |distance: &ScalarValue| match distance.try_as_str().flatten() {
        Some(number) if number.trim().parse::<f64>().is_ok() => match key {
            DataType::Timestamp(..) => plan_err!(
                "the distance of a `RANGE` frame over a timestamp is an interval, as `INTERVAL '{number} days'`"
            ),
            _ => Ok(ScalarValue::from(format!("{number} days"))),
        },
        _ => Ok(distance.clone()),
    };
    Ok(match bound {
        WindowFrameBound::Preceding(distance) => WindowFrameBound::Preceding(days(distance)?),
        WindowFrameBound::Following(distance) => WindowFrameBound::Following(days(distance)?),
        WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
    })
}

/// Refuses a distance of days or months over instants where clocks change: DataFusion takes the first one of an hour
/// that comes twice, wherever the row is.
///
/// # Errors
/// `Plan`, with the distance in hours instead.
fn refuse_days(bound: &WindowFrameBound, key: &DataType) -> Result<()> {
    let (WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance), true) =
        (bound, changes_clocks(key))
    else {
        return Ok(());
    };
    let interval = distance.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano));
    let Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) = interval else { return Ok(()) };
    if interval.months == 0 && interval.days == 0 {
        return Ok(());
    }
    plan_err!(
        "a `RANGE` frame of days or months over a timestamp with a time zone in which clocks change is not \
         supported yet; write it in hours (`INTERVAL '24 hours'`), or order by the local time (`x::timestamp`)"
    )
}

/// Returns true for timestamps in a zone that is no fixed distance from UTC.
fn changes_clocks(key: &DataType) -> bool {
    let DataType::Timestamp(_, Some(zone)) = key else { return false };
    !zone.starts_with(['+', '-']) && !["UTC", "GMT", "Etc/UTC", "Z"].contains(&zone.as_ref())
}

/// Returns true for the types whose values have distances.
fn has_distances(key: &DataType) -> bool {
    use DataType::{Date32, Date64, Null, Timestamp};
    key.is_numeric() || matches!(key, Null | Date32 | Date64 | Timestamp(..))
}

fn has_distance(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
            !distance.is_null()
        }
        WindowFrameBound::CurrentRow => false,
    }
}
