//! `RANGE` frames with distances that stay clear of nulls, and distances in rows that no sum overflows.
//!
//! Nulls are at no distance from anything. DataFusion ends a frame at the edge of the partition where `x + distance`
//! does not fit its type, and so takes in the rows whose key is null. Here
//!
//! - a frame between two distances, or a distance and the row itself, is one of a partition of its own for the rows
//!   whose key is null: `PARTITION BY …, x IS NULL`;
//! - a frame that is open at the end where the nulls are is one of all rows for them, and of such a partition for
//!   the others;
//! - one that begins at a distance and ends where the nulls are has a key that is wide enough, if it is an integer.
//!   Over dates and timestamps a distance that leads out of most of them is refused.
//!
//! ```text
//! sum(v) over (order by x range between unbounded preceding and 1 following)
//! case when x is null then sum(v) over (order by x rows between unbounded preceding and unbounded following)
//!      else sum(v) over (partition by x is null order by x range between unbounded preceding and 1 following) end
//! ```
//!
//! Rows and groups are counted in 64 bits, to which DataFusion adds the place of the row: distances above 2^63 are 2^63
//! - 1, which no partition has.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Window, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, cast, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::reserved::reserved;

/// Years of a distance that leads from most timestamps out of the range of nanoseconds, 1677 to 2262.
const YEARS_OF_INSTANTS: i64 = 100;

/// Years of a distance that leads from most dates out of their range.
const YEARS_OF_DATES: i64 = 100_000;

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
    let mut add = |call: WindowFunction, name: String| {
        let key = (call.params.partition_by.clone(), call.params.order_by.clone());
        let expr = Expr::WindowFunction(Box::new(call)).alias(name);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(expr),
            None => groups.push((key, vec![expr])),
        }
    };
    let columns = window.input.schema().columns();
    let mut shown: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
    let mut is_new = false;
    for (at, expr) in window.window_expr.iter().enumerate() {
        let (name, call) = match expr {
            Expr::WindowFunction(call) => (expr.schema_name().to_string(), call),
            Expr::Alias(alias) => match alias.expr.as_ref() {
                Expr::WindowFunction(call) => (alias.name.clone(), call),
                _ => return Ok(Transformed::no(LogicalPlan::Window(window))),
            },
            _ => return Ok(Transformed::no(LogicalPlan::Window(window))),
        };
        let column = |name: &str| Expr::Column(Column::new_unqualified(name));
        match changed(call, window.input.schema())? {
            Change::None => {
                shown.push(column(&name));
                add(call.as_ref().clone(), name);
            }
            Change::One(call) => {
                is_new = true;
                shown.push(column(&name));
                add(*call, name);
            }
            Change::Two { key, of_nulls, of_others } => {
                is_new = true;
                let null_name = reserved(format!("nulls_{at}"));
                let other_name = reserved(format!("others_{at}"));
                let value =
                    when(key.is_null(), column(&null_name)).otherwise(column(&other_name))?;
                shown.push(value.alias(name));
                add(*of_nulls, null_name);
                add(*of_others, other_name);
            }
        }
    }
    if !is_new {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let mut plan = window.input;
    for (_, members) in groups {
        plan = Arc::new(LogicalPlan::Window(Window::try_new(members, plan)?));
    }
    Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(shown)?.build()?))
}

/// The partitions and the order that the functions of one operator have in common.
type Partitions = (Vec<Expr>, Vec<Sort>);

/// The functions in place of one.
enum Change {
    /// The same.
    None,
    /// Another.
    One(Box<WindowFunction>),
    /// One for the rows whose key is null, and one for the others.
    Two { key: Box<Expr>, of_nulls: Box<WindowFunction>, of_others: Box<WindowFunction> },
}

/// Changes the frame and the partitions of a function, where the frame is not right.
fn changed(call: &WindowFunction, schema: &DFSchema) -> Result<Change> {
    if call.params.window_frame.units == WindowFrameUnits::Range {
        return clear_of_nulls(call, schema);
    }
    let mut call = call.clone();
    let frame = &mut call.params.window_frame;
    let is_new = shorten(&mut frame.start_bound);
    let is_new = shorten(&mut frame.end_bound) || is_new;
    Ok(if is_new { Change::One(Box::new(call)) } else { Change::None })
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
fn clear_of_nulls(call: &WindowFunction, schema: &DFSchema) -> Result<Change> {
    let [order] = call.params.order_by.as_slice() else { return Ok(Change::None) };
    let frame = &call.params.window_frame;
    let key = order.expr.clone();
    let is_null = Expr::IsNull(Box::new(key.clone()));
    if !looks_at_frames(&call.fun)
        || !(is_distance(&frame.start_bound) || is_distance(&frame.end_bound))
        || call.params.partition_by.contains(&is_null)
        || !key.nullable(schema)?
    {
        return Ok(Change::None);
    }
    let is_open_to_nulls = match order.nulls_first {
        true => is_open(&frame.start_bound),
        false => is_open(&frame.end_bound),
    };
    if is_open_to_nulls {
        return reaching_nulls(call, schema);
    }
    let mut of_others = Box::new(call.clone());
    of_others.params.partition_by.push(is_null);
    if !(is_open(&frame.start_bound) || is_open(&frame.end_bound)) {
        return Ok(Change::One(of_others));
    }
    let mut of_nulls = Box::new(call.clone());
    let (first, last) = (ScalarValue::UInt64(None), ScalarValue::UInt64(None));
    of_nulls.params.window_frame = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(first),
        WindowFrameBound::Following(last),
    );
    Ok(Change::Two { key: Box::new(key), of_nulls, of_others })
}

/// A frame that ends where the nulls are. If its other bound leads in the same direction, the nulls are all that is left
/// where the distance leaves the type: a wider key holds the sum, if it is an integer.
fn reaching_nulls(call: &WindowFunction, schema: &DFSchema) -> Result<Change> {
    let (frame, order) = (&call.params.window_frame, &call.params.order_by[0]);
    let (bound, is_towards) = match order.nulls_first {
        true => (&frame.end_bound, matches!(frame.end_bound, WindowFrameBound::Preceding(_))),
        false => (&frame.start_bound, matches!(frame.start_bound, WindowFrameBound::Following(_))),
    };
    if !is_towards {
        return Ok(Change::None);
    }
    let wide = match order.expr.get_type(schema)? {
        DataType::Int64 | DataType::UInt64 => DataType::Decimal128(38, 0),
        integer if integer.is_integer() => DataType::Int64,
        of => return refuse_long(bound, &of).map(|()| Change::None),
    };
    let mut call = call.clone();
    call.params.order_by[0].expr = cast(order.expr.clone(), wide);
    Ok(Change::One(Box::new(call)))
}

/// Refuses a distance that most dates or timestamps have no sum with.
fn refuse_long(bound: &WindowFrameBound, key: &DataType) -> Result<()> {
    let most = match key {
        DataType::Timestamp(..) => YEARS_OF_INSTANTS,
        DataType::Date32 | DataType::Date64 => YEARS_OF_DATES,
        _ => return Ok(()),
    };
    let (WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance)) = bound
    else {
        return Ok(());
    };
    let interval = distance.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano));
    let Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) = interval else { return Ok(()) };
    let days = i64::from(interval.months) * 30
        + i64::from(interval.days)
        + interval.nanoseconds / 86_400_000_000_000;
    if days < most * 360 {
        return Ok(());
    }
    plan_err!(
        "a `RANGE` frame from a distance of {most} years or more to the rows whose key is null is not supported yet; \
         leave out the nulls, or write a `ROWS` frame"
    )
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
