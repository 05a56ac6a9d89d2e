//! `date_bin` of every date and timestamp there is.
//!
//! DataFusion counts in nanoseconds of 64 bits, which reach from 1677 to 2262, gives null beyond, and times of day
//! before the origin below zero. Here bins are counted in 128 bits, a date becomes microseconds, and what the type
//! of the value can't hold is an error. Strides of months are DataFusion's own idea; they follow its rule, that the
//! day of the origin is the last of a shorter month.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use datafusion::arrow::datatypes::{
    DataType, IntervalUnit, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::calendar::{day_of, year_and_month};
use super::instants::nanoseconds_of;
use super::wrapped::{over_array, wrapped_with_types};

const DAY: i128 = 86_400_000_000_000;

/// The function, over DataFusion's of the same name.
pub(super) fn function() -> Arc<ScalarUDF> {
    wrapped_with_types(date_bin(), types, binned)
}

/// The types of stride, value and origin: dates and texts become timestamps.
fn types(given: &[DataType]) -> Result<Vec<DataType>> {
    let (stride, value, origin) = match given {
        [stride, value] => (stride, value, None),
        [stride, value, origin] => (stride, value, Some(origin)),
        _ => return plan_err!("`date_bin` takes a stride, a timestamp, and perhaps an origin"),
    };
    let stride = match stride {
        DataType::Interval(IntervalUnit::DayTime) => stride.clone(),
        of if of.is_string() || matches!(of, DataType::Interval(_) | DataType::Null) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        other => return plan_err!("the stride of `date_bin` is an interval, not {other}"),
    };
    let value = instant(value)?;
    let mut types = vec![stride, value.clone()];
    if let Some(origin) = origin {
        types.push(match (&value, instant(origin)?) {
            (DataType::Timestamp(_, Some(zone)), DataType::Timestamp(unit, _)) => {
                DataType::Timestamp(unit, Some(Arc::clone(zone)))
            }
            (DataType::Timestamp(_, None), DataType::Timestamp(unit, _)) => {
                DataType::Timestamp(unit, None)
            }
            (DataType::Time32(_) | DataType::Time64(_), DataType::Timestamp(..)) => {
                return plan_err!("the origin of `date_bin` of a time is a time too");
            }
            (DataType::Timestamp(..), _) => {
                return plan_err!("the origin of `date_bin` of a timestamp is a timestamp too");
            }
            (time, _) => time.clone(),
        });
    }
    Ok(types)
}

fn instant(data_type: &DataType) -> Result<DataType> {
    Ok(match data_type {
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Null => DataType::Timestamp(TimeUnit::Nanosecond, None),
        text if text.is_string() => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => data_type.clone(),
        other => return plan_err!("`date_bin` takes dates, times and timestamps, not {other}"),
    })
}

fn binned(_: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let (ColumnarValue::Scalar(stride), value) = (&args.args[0], &args.args[1]) else {
        return exec_err!("the stride of `date_bin` is a constant, not a column");
    };
    let origin = match args.args.get(2) {
        None => Some(0),
        Some(ColumnarValue::Scalar(origin)) => nanoseconds(origin),
        Some(ColumnarValue::Array(_)) => {
            return exec_err!("the origin of `date_bin` is a constant, not a column");
        }
    };
    let (Some(origin), false) = (origin, stride.is_null()) else {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?));
    };
    let bins = Bins { stride: Stride::of(stride)?, origin };
    let is_time = matches!(value.data_type(), DataType::Time32(_) | DataType::Time64(_));
    if is_time && !matches!(bins.stride, Stride::Nanoseconds(length) if length < DAY) {
        return exec_err!("the stride of `date_bin` of a time is less than a day");
    }
    over_array(value, |values| Ok(bins.of_array(values)?))
}

/// Nanoseconds since 1970 or midnight; none for null.
fn nanoseconds(value: &ScalarValue) -> Option<i128> {
    let (count, unit) = match value {
        ScalarValue::TimestampSecond(count, _) => ((*count)?, TimeUnit::Second),
        ScalarValue::TimestampMillisecond(count, _) => ((*count)?, TimeUnit::Millisecond),
        ScalarValue::TimestampMicrosecond(count, _) => ((*count)?, TimeUnit::Microsecond),
        ScalarValue::TimestampNanosecond(count, _) => ((*count)?, TimeUnit::Nanosecond),
        ScalarValue::Time32Second(count) => ((*count)?.into(), TimeUnit::Second),
        ScalarValue::Time32Millisecond(count) => ((*count)?.into(), TimeUnit::Millisecond),
        ScalarValue::Time64Microsecond(count) => ((*count)?, TimeUnit::Microsecond),
        ScalarValue::Time64Nanosecond(count) => ((*count)?, TimeUnit::Nanosecond),
        _ => return None,
    };
    Some(i128::from(count) * i128::from(nanoseconds_of(unit)))
}

/// The length of a bin, more than 0.
#[derive(Clone, Copy)]
enum Stride {
    Nanoseconds(i128),
    Months(i64),
}

impl Stride {
    fn of(interval: &ScalarValue) -> Result<Self> {
        let (months, nanoseconds) = match interval {
            ScalarValue::IntervalMonthDayNano(Some(interval)) => {
                let days = i128::from(interval.days) * DAY;
                (i64::from(interval.months), days + i128::from(interval.nanoseconds))
            }
            ScalarValue::IntervalDayTime(Some(interval)) => {
                let milliseconds = i128::from(interval.milliseconds) * 1_000_000;
                (0, i128::from(interval.days) * DAY + milliseconds)
            }
            other => return exec_err!("the stride of `date_bin` is an interval, not {other}"),
        };
        match (months, nanoseconds) {
            (0, 1..) => Ok(Self::Nanoseconds(nanoseconds)),
            (1.., 0) => Ok(Self::Months(months)),
            (0, _) | (..0, 0) => exec_err!("the stride of `date_bin` is more than 0"),
            _ => exec_err!("the stride of `date_bin` has months, or days and hours, not both"),
        }
    }
}

/// Bins of one stride, one of which begins at the origin: nanoseconds since 1970 or midnight.
#[derive(Clone, Copy)]
struct Bins {
    stride: Stride,
    origin: i128,
}

impl Bins {
    fn of_array(self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match values.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                self.of::<TimestampSecondType>(values, TimeUnit::Second)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                self.of::<TimestampMillisecondType>(values, TimeUnit::Millisecond)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.of::<TimestampMicrosecondType>(values, TimeUnit::Microsecond)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                self.of::<TimestampNanosecondType>(values, TimeUnit::Nanosecond)
            }
            DataType::Time32(TimeUnit::Second) => {
                self.of::<Time32SecondType>(values, TimeUnit::Second)
            }
            DataType::Time32(_) => self.of::<Time32MillisecondType>(values, TimeUnit::Millisecond),
            DataType::Time64(TimeUnit::Microsecond) => {
                self.of::<Time64MicrosecondType>(values, TimeUnit::Microsecond)
            }
            _ => self.of::<Time64NanosecondType>(values, TimeUnit::Nanosecond),
        }
    }

    fn of<T>(self, values: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef, ArrowError>
    where
        T: ArrowPrimitiveType<Native: Into<i64> + TryFrom<i64>>,
    {
        let unit = i128::from(nanoseconds_of(unit));
        let is_time = !matches!(values.data_type(), DataType::Timestamp(..));
        let values = values.as_primitive::<T>();
        let starts = values.try_unary::<_, T, ArrowError>(|value| {
            let start = self.start(i128::from(Into::<i64>::into(value)) * unit);
            let start = if is_time { start.rem_euclid(DAY) } else { start };
            let start = i64::try_from(start.div_euclid(unit)).ok();
            start.and_then(|start| T::Native::try_from(start).ok()).ok_or_else(|| {
                ArrowError::ComputeError(format!(
                    "the result of `date_bin` is beyond what a {} can be",
                    values.data_type()
                ))
            })
        })?;
        Ok(Arc::new(starts.with_data_type(values.data_type().clone())))
    }

    /// The start of the bin that a value lies in.
    fn start(self, value: i128) -> i128 {
        match self.stride {
            Stride::Nanoseconds(length) => value - (value - self.origin).rem_euclid(length),
            Stride::Months(stride) => {
                let apart = month(value) - month(self.origin);
                let months = apart - apart.rem_euclid(stride);
                let start = self.after(months);
                if start > value { self.after(months - stride) } else { start }
            }
        }
    }

    /// The origin so many months later.
    fn after(self, months: i64) -> i128 {
        let (day, time) = (self.origin.div_euclid(DAY) as i64, self.origin.rem_euclid(DAY));
        let of_month = day - first_of(month(self.origin));
        let first = first_of(month(self.origin) + months);
        let last = first_of(month(self.origin) + months + 1) - 1;
        i128::from((first + of_month).min(last)) * DAY + time
    }
}

/// The month of a moment, counted from the year 0.
fn month(moment: i128) -> i64 {
    let (year, month) = year_and_month(moment.div_euclid(DAY) as i64);
    year * 12 + month - 1
}

/// The first day of a month that is counted from the year 0.
fn first_of(month: i64) -> i64 {
    day_of(month.div_euclid(12), month.rem_euclid(12) + 1)
}
