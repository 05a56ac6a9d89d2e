//! `array_repeat`, `array_resize`, `range` and `generate_series` whose arrays fit in memory.
//!
//! The same as [`super::bounded`] for arrays: what is asked for is counted before DataFusion makes it. A series of
//! dates or timestamps is counted by the longest form of its step; one whose step may stand still has no end.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{Result, exec_err};
use datafusion::functions_nested::range::{gen_series_udf, range_udf};
use datafusion::functions_nested::repeat::array_repeat_udf;
use datafusion::functions_nested::resize::array_resize_udf;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::bounded::{Asked, product};
use super::instants::nanoseconds_of;
use super::wrapped::wrapped;
use crate::size::{column_bytes, fixed_bytes};

/// Bytes of an element, at least: it is copied by its place, which is a number of 64 bits.
const ELEMENT_BYTES_MIN: u64 = 8;

const DAY_NANOS: i128 = 86_400_000_000_000;

/// The functions, over DataFusion's of the same name.
pub(super) fn all() -> [Arc<ScalarUDF>; 4] {
    [
        wrapped(array_repeat_udf(), array_repeat),
        wrapped(array_resize_udf(), array_resize),
        wrapped(range_udf(), series),
        wrapped(gen_series_udf(), series),
    ]
}

fn array_repeat(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    if let [element, count] = args.args.as_slice() {
        let mut asked = constants(&args)?;
        let (widths, counts) = (Widths::of(element)?, Numbers::of(count)?);
        for row in 0..rows_of(&args) {
            if let Some(count) = counts.at(row).filter(|count| *count > 0) {
                asked.add_bytes(product(count, widths.at(row)));
            }
        }
        check(&asked, inner)?;
    }
    inner.invoke_with_args(args)
}

fn array_resize(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let [lists, size, fill @ ..] = args.args.as_slice() else {
        return inner.invoke_with_args(args);
    };
    let (DataType::List(item) | DataType::LargeList(item)) = lists.data_type() else {
        return inner.invoke_with_args(args);
    };
    let mut asked = constants(&args)?;
    let (values, is_constant) = rows_in(lists)?;
    let lengths = Numbers::new(&length(values.as_ref())?, is_constant)?;
    let sizes = Numbers::of(size)?;
    let fills = match fill.first() {
        Some(fill) => Widths::of(fill)?,
        None => Widths::of_type(item.data_type()),
    };
    for row in 0..rows_of(&args) {
        let (Some(length), Some(size)) = (lengths.at(row), sizes.at(row)) else { continue };
        if size < 0 {
            return exec_err!("`array_resize` makes an array of 0 or more elements, not of {size}");
        }
        let filled = if size > length { product(size - length, fills.at(row)) } else { 0 };
        asked.add_bytes(filled.max(product(size, ELEMENT_BYTES_MIN)));
    }
    check(&asked, inner)?;
    inner.invoke_with_args(args)
}

/// `range` and `generate_series`, which has its end as an element too.
fn series(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let (start, stop, step) = match args.args.as_slice() {
        // A null without a type has no series.
        args if args.iter().any(|arg| arg.data_type().is_null()) => (None, None, None),
        [stop] => (None, Some(stop), None),
        [start, stop] => (Some(start), Some(stop), None),
        [start, stop, step] => (Some(start), Some(stop), Some(step)),
        _ => (None, None, None),
    };
    if let Some(stop) = stop {
        let mut asked = constants(&args)?;
        let start = start.map(Points::of).transpose()?;
        let stop = Points::of(stop)?;
        let steps = step.map(Steps::of).transpose()?;
        let is_closed = inner.name() == "generate_series";
        for row in 0..rows_of(&args) {
            let start = start.as_ref().map_or(Some(0), |start| start.at(row));
            let step = steps.as_ref().map_or(Some((1, 1)), |steps| steps.at(row));
            if let (Some(start), Some(stop), Some(step)) = (start, stop.at(row), step) {
                let elements = elements(stop - start, step, is_closed);
                asked.add_bytes(elements.saturating_mul(ELEMENT_BYTES_MIN));
            }
        }
        check(&asked, inner)?;
    }
    inner.invoke_with_args(args)
}

/// Elements of a series over a distance, at least, by the least and the greatest length of its step.
fn elements(distance: i128, (least, most): (i128, i128), is_closed: bool) -> u64 {
    if least == 0 && most == 0 {
        // DataFusion's error.
        return 0;
    }
    if least <= 0 && most >= 0 {
        return u64::MAX;
    }
    let (distance, longest) = if least > 0 { (distance, most) } else { (-distance, -least) };
    let distance = distance - i128::from(!is_closed);
    if distance < 0 {
        return 0;
    }
    u64::try_from(distance / longest + 1).unwrap_or(u64::MAX)
}

fn check(asked: &Asked, function: &ScalarUDF) -> Result<()> {
    asked.check(function.name(), "an array", "the arrays of a batch")
}

fn is_once(args: &ScalarFunctionArgs) -> bool {
    args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
}

/// The rows that are computed: of constants alone, one.
fn rows_of(args: &ScalarFunctionArgs) -> usize {
    if is_once(args) { 1 } else { args.number_rows }
}

/// The bytes of constants beside columns: DataFusion makes columns of them first.
fn constants(args: &ScalarFunctionArgs) -> Result<Asked> {
    let mut all = 0_u64;
    if !is_once(args) {
        for arg in &args.args {
            if let ColumnarValue::Scalar(value) = arg {
                let bytes = column_bytes(&value.to_array()?) as u64;
                all = all.saturating_add(bytes.saturating_mul(args.number_rows as u64));
            }
        }
    }
    Ok(Asked { longest: 0, all })
}

/// The values of an argument, and true if it is a constant, with one row.
fn rows_in(arg: &ColumnarValue) -> Result<(ArrayRef, bool)> {
    Ok(match arg {
        ColumnarValue::Scalar(value) => (value.to_array()?, true),
        ColumnarValue::Array(values) => (Arc::clone(values), false),
    })
}

/// Integers, row by row.
struct Numbers {
    values: Int64Array,
    is_constant: bool,
}

impl Numbers {
    fn of(arg: &ColumnarValue) -> Result<Self> {
        let (values, is_constant) = rows_in(arg)?;
        Self::new(&values, is_constant)
    }

    fn new(values: &ArrayRef, is_constant: bool) -> Result<Self> {
        let values = cast(values, &DataType::Int64)?;
        Ok(Self { values: values.as_primitive::<Int64Type>().clone(), is_constant })
    }

    fn at(&self, row: usize) -> Option<i64> {
        let row = if self.is_constant { 0 } else { row };
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

/// The ends of series, row by row: integers, or nanoseconds since 1970.
struct Points {
    numbers: Numbers,
    unit: i128,
}

impl Points {
    fn of(arg: &ColumnarValue) -> Result<Self> {
        let unit = match arg.data_type() {
            DataType::Date32 => DAY_NANOS,
            DataType::Date64 => 1_000_000,
            DataType::Timestamp(unit, _) => nanoseconds_of(unit).into(),
            _ => 1,
        };
        Ok(Self { numbers: Numbers::of(arg)?, unit })
    }

    fn at(&self, row: usize) -> Option<i128> {
        Some(i128::from(self.numbers.at(row)?) * self.unit)
    }
}

/// The steps of series, row by row.
enum Steps {
    Numbers(Numbers),
    Intervals(ArrayRef, bool),
}

impl Steps {
    fn of(arg: &ColumnarValue) -> Result<Self> {
        if !matches!(arg.data_type(), DataType::Interval(_)) {
            return Ok(Self::Numbers(Numbers::of(arg)?));
        }
        let (values, is_constant) = rows_in(arg)?;
        let values = cast(&values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
        Ok(Self::Intervals(values, is_constant))
    }

    /// The least and the greatest length: a month has 28 to 31 days.
    fn at(&self, row: usize) -> Option<(i128, i128)> {
        match self {
            Self::Numbers(numbers) => {
                let step = i128::from(numbers.at(row)?);
                Some((step, step))
            }
            Self::Intervals(values, is_constant) => {
                let row = if *is_constant { 0 } else { row };
                let values = values.as_primitive::<IntervalMonthDayNanoType>();
                let step = values.is_valid(row).then(|| values.value(row))?;
                let rest = i128::from(step.days) * DAY_NANOS + i128::from(step.nanoseconds);
                let of_month = |days: i128| i128::from(step.months) * days * DAY_NANOS + rest;
                let (short, long) = (of_month(28), of_month(31));
                let is_nothing = step.months == 0 && step.days == 0 && step.nanoseconds == 0;
                match (short.min(long), short.max(long)) {
                    // A day less 24 hours stands still too.
                    (0, 0) if !is_nothing => Some((-1, 1)),
                    lengths => Some(lengths),
                }
            }
        }
    }
}

/// The bytes of an element, row by row.
enum Widths {
    All(u64),
    Of(ArrayRef),
}

impl Widths {
    fn of(elements: &ColumnarValue) -> Result<Self> {
        let of = elements.data_type();
        Ok(match elements {
            _ if of.primitive_width().is_some() => Self::of_type(&of),
            ColumnarValue::Scalar(value) => Self::All(element_bytes(&value.to_array()?)),
            ColumnarValue::Array(values) => Self::Of(Arc::clone(values)),
        })
    }

    fn of_type(of: &DataType) -> Self {
        Self::All((fixed_bytes(of) as u64).max(ELEMENT_BYTES_MIN))
    }

    fn at(&self, row: usize) -> u64 {
        match self {
            Self::All(bytes) => *bytes,
            Self::Of(values) => element_bytes(&values.slice(row, 1)),
        }
    }
}

fn element_bytes(element: &ArrayRef) -> u64 {
    (column_bytes(element) as u64).max(ELEMENT_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::display::array_value_to_string;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::failure::failure_of;
    use crate::functions::register_functions;

    async fn answer(query: &str) -> Result<String> {
        let mut context = SessionContext::new();
        register_functions(&mut context)?;
        let rows = context.sql(query).await?.collect().await?;
        let mut texts = Vec::new();
        for batch in &rows {
            for row in 0..batch.num_rows() {
                texts.push(array_value_to_string(batch.column(0), row)?);
            }
        }
        Ok(texts.join("|"))
    }

    #[tokio::test]
    async fn arrays_that_fit_are_datafusions() {
        for (query, want) in [
            ("array_repeat(1, x) from (values (2), (null), (-2)) t(x)", "[1, 1]||[]"),
            ("array_repeat([1, 2], 2)", "[[1, 2], [1, 2]]"),
            ("array_resize([1, 2], x, 9) from (values (3), (null), (0)) t(x)", "[1, 2, 9]||[]"),
            ("generate_series(5, 1, -2)", "[5, 3, 1]"),
            ("range(1, 1)", "[]"),
            ("generate_series(1, 9223372036854775807, 9223372036854775807)", "[1]"),
            ("cardinality(range(0, 30000000))", "30000000"),
        ] {
            assert_eq!(answer(&format!("select {query}")).await.unwrap(), want, "{query}");
        }
    }

    #[tokio::test]
    async fn arrays_beyond_memory_are_refused_before_they_are_made() {
        for (query, part) in [
            ("array_repeat(1, 300000000)", "an array of 2.2 GiB"),
            ("array_repeat(1, x) from (values (3), (300000000)) t(x)", "an array of 2.2 GiB"),
            ("array_repeat(repeat('x', 1000000), 1000)", "an array of"),
            ("array_repeat(range(0, 1000000), 100)", "an array of"),
            ("list_resize([1], 2000000000)", "`array_resize` would make an array"),
            ("array_resize(['a'], 1000, repeat('x', 1000000))", "an array of"),
            ("generate_series(1, 100000000)", "`generate_series` would make an array"),
            ("range(9223372036854775807)", "`range` would make an array"),
            (
                "range(timestamp '2024-01-01', timestamp '2025-01-01', interval '1 millisecond')",
                "an array of",
            ),
            (
                "range(date '2024-01-31', date '2020-01-01', interval '1 month -31 days')",
                "an array of",
            ),
            (
                "range(date '2024-01-01', date '2024-02-01', interval '1 day -24 hours')",
                "an array of",
            ),
            (
                "array_repeat(1, x) from (values (30000000), (30000001), (30000002), \
                 (30000003), (30000004)) t(x)",
                "the arrays of a batch of",
            ),
            ("array_resize([1], -1)", "0 or more elements, not of -1"),
        ] {
            let error = answer(&format!("select {query}")).await.expect_err(query);
            let message = failure_of(&error).message;
            assert!(message.contains(part), "{query}: {message}");
        }
    }
}
