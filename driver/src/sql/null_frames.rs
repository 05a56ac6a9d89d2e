//! `RANGE` frames with distances that stay clear of nulls, and distances in rows that no sum overflows.
//!
//! Where `x + distance` does not fit its type, DataFusion ends the frame at the edge of the partition, and so takes in
//! the rows whose key is null, though a null is at no distance from anything. Here
//!
//! - a frame between two distances, or a distance and the row itself, is one of a partition of its own for the rows
//!   whose key is null: `PARTITION BY …, x IS NULL`;
//! - a frame that is open at the end where the nulls are is over a key that is wide enough, if it is an integer. Over
//!   dates and timestamps a distance that reaches beyond all of them is refused.
//!
//! Rows and groups are counted in 64 bits, to which DataFusion adds the place of the row: distances above 2^63 are 2^63
//! - 1, which no partition has.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Window, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, cast,
};
use datafusion::optimizer::AnalyzerRule;

/// Months of a distance that leaves the range of timestamps in nanoseconds, 1677 to 2262, from most of them.
const MONTHS_OF_INSTANTS: i64 = 100 * 12;

/// Months of a distance that leaves the range of all dates from most of them.
const MONTHS_OF_DATES: i64 = 100_000 * 12;

const DAYS_OF_MONTH: i64 = 30;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct NullFrames;

impl AnalyzerRule for NullFrames {
    fn name(&self) -> &'static str {
        "null_frames"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let clear = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Window(window) => clear(window),
            other => Ok(Transformed::no(other)),
        });
        clear.data()
    }
}

/// The window with frames that are clear of nulls. Functions of one operator have the same partitions and order, so
/// those that are changed get operators of their own.
fn clear(window: Window) -> Result<Transformed<LogicalPlan>> {
    let mut groups: Vec<(Partitions, Vec<Expr>)> = Vec::new();
    let mut is_new = false;
    for expr in &window.window_expr {
        let (name, mut call) = match expr {
            Expr::WindowFunction(call) => (expr.schema_name().to_string(), call.clone()),
            Expr::Alias(alias) => match alias.expr.as_ref() {
                Expr::WindowFunction(call) => (alias.name.clone(), call.clone()),
                _ => return Ok(Transformed::no(LogicalPlan::Window(window))),
            },
            _ => return Ok(Transformed::no(LogicalPlan::Window(window))),
        };
        let is_changed = changed(&mut call, window.input.schema())?;
        is_new |= is_changed;
        let key = (call.params.partition_by.clone(), call.params.order_by.clone());
        let expr = match is_changed {
            true => Expr::WindowFunction(call).alias(name),
            false => expr.clone(),
        };
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(expr),
            None => groups.push((key, vec![expr])),
        }
    }
    if !is_new {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let mut plan = window.input;
    for (_, members) in groups {
        plan = Arc::new(LogicalPlan::Window(Window::try_new(members, plan)?));
    }
    let columns = window.schema.columns().into_iter().map(Expr::Column);
    let plan = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
    Ok(Transformed::yes(plan))
}

/// What the functions of one operator have in common: partitions and order.
type Partitions = (Vec<Expr>, Vec<Sort>);

/// Changes the frame, the partitions or the order of a function, where the frame is not right.
fn changed(call: &mut WindowFunction, schema: &DFSchema) -> Result<bool> {
    let frame = &mut call.params.window_frame;
    match frame.units {
        WindowFrameUnits::Rows | WindowFrameUnits::Groups => {
            let is_new = shorten(&mut frame.start_bound);
            Ok(shorten(&mut frame.end_bound) || is_new)
        }
        WindowFrameUnits::Range => clear_of_nulls(call, schema),
    }
}

/// Makes a distance in rows one that can be added to a place.
fn shorten(bound: &mut WindowFrameBound) -> bool {
    let (WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance)) = bound
    else {
        return false;
    };
    let longest = i64::MAX.unsigned_abs();
    let is_longer = match &*distance {
        ScalarValue::UInt64(Some(rows)) => *rows > longest,
        other => other
            .try_as_str()
            .flatten()
            .is_some_and(|rows| rows.trim().parse::<u64>().is_ok_and(|rows| rows > longest)),
    };
    if is_longer {
        *distance = match distance {
            ScalarValue::UInt64(_) => ScalarValue::UInt64(Some(longest)),
            _ => ScalarValue::from(longest.to_string()),
        };
    }
    is_longer
}

/// Keeps the nulls out of the frames of other rows.
fn clear_of_nulls(call: &mut WindowFunction, schema: &DFSchema) -> Result<bool> {
    let [order] = call.params.order_by.as_slice() else { return Ok(false) };
    let frame = &call.params.window_frame;
    if !looks_at_frames(&call.fun)
        || !(is_distance(&frame.start_bound) || is_distance(&frame.end_bound))
        || !order.expr.nullable(schema)?
    {
        return Ok(false);
    }
    if !(is_open(&frame.start_bound) || is_open(&frame.end_bound)) {
        let is_null = Expr::IsNull(Box::new(order.expr.clone()));
        if call.params.partition_by.contains(&is_null) {
            return Ok(false);
        }
        call.params.partition_by.push(is_null);
        return Ok(true);
    }
    let is_open_to_nulls = match order.nulls_first {
        true => is_open(&frame.end_bound) && is_preceding(&frame.start_bound),
        false => is_open(&frame.start_bound) && is_following(&frame.end_bound),
    };
    if !is_open_to_nulls {
        return Ok(false);
    }
    let key = order.expr.get_type(schema)?;
    let wide = match &key {
        DataType::Int64 | DataType::UInt64 => DataType::Decimal128(38, 0),
        integer if integer.is_integer() => DataType::Int64,
        other => return refuse_long(frame, other).map(|()| false),
    };
    call.params.order_by[0].expr = cast(order.expr.clone(), wide);
    Ok(true)
}

/// Refuses distances that most values of a type have no sum with.
fn refuse_long(frame: &WindowFrame, key: &DataType) -> Result<()> {
    let most = match key {
        DataType::Timestamp(..) => MONTHS_OF_INSTANTS,
        DataType::Date32 | DataType::Date64 => MONTHS_OF_DATES,
        _ => return Ok(()),
    };
    for bound in [&frame.start_bound, &frame.end_bound] {
        let (WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance)) = bound
        else {
            continue;
        };
        let interval = distance.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano));
        let Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) = interval else { continue };
        if i64::from(interval.months) + i64::from(interval.days) / DAYS_OF_MONTH >= most {
            let years = most / 12;
            return plan_err!(
                "a `RANGE` frame with a distance of {years} years or more that is unbounded where the nulls are is not \
                 supported yet; leave out the nulls, or write a `ROWS` frame"
            );
        }
    }
    Ok(())
}

/// Returns true for functions of the rows of a frame, and not of all rows of a partition.
fn looks_at_frames(function: &WindowFunctionDefinition) -> bool {
    match function {
        WindowFunctionDefinition::AggregateUDF(_) => true,
        WindowFunctionDefinition::WindowUDF(function) => {
            ["first_value", "last_value", "nth_value"].contains(&function.name())
        }
    }
}

fn is_open(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
            distance.is_null()
        }
        WindowFrameBound::CurrentRow => false,
    }
}

fn is_distance(bound: &WindowFrameBound) -> bool {
    !is_open(bound) && *bound != WindowFrameBound::CurrentRow
}

fn is_preceding(bound: &WindowFrameBound) -> bool {
    is_distance(bound) && matches!(bound, WindowFrameBound::Preceding(_))
}

fn is_following(bound: &WindowFrameBound) -> bool {
    is_distance(bound) && matches!(bound, WindowFrameBound::Following(_))
}
