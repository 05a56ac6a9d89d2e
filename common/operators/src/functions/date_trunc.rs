//! `date_trunc` of every date there is.
//!
//! DataFusion casts dates to nanoseconds, which reach from 1677 to 2262, and goes through them for
//! timestamps of any unit. Here a date becomes microseconds, and weeks, months, quarters and years are
//! found by counting days. The rest is DataFusion's.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, FieldRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(DateTrunc { signature, inner: DateTruncFunc::new() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    signature: Signature,
    inner: DateTruncFunc,
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [unit, value] = types else {
            return plan_err!("`date_trunc` takes a unit and a date, time or timestamp");
        };
        let value = match value {
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Null => DataType::Timestamp(TimeUnit::Nanosecond, None),
            text if text.is_string() => DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => value.clone(),
            other => {
                return plan_err!("`date_trunc` takes dates, times and timestamps, not {other}");
            }
        };
        if !unit.is_string() {
            return plan_err!("the unit of `date_trunc` is text such as 'month', not {unit}");
        }
        Ok(vec![unit.clone(), value])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = match &args.args[0] {
            ColumnarValue::Scalar(unit) => unit.try_as_str().flatten().and_then(Calendar::of),
            ColumnarValue::Array(_) => None,
        };
        let (Some(unit), DataType::Timestamp(_, None)) = (unit, args.args[1].data_type()) else {
            return self.inner.invoke_with_args(args);
        };
        Ok(match &args.args[1] {
            ColumnarValue::Array(values) => ColumnarValue::Array(unit.truncate(values)?),
            ColumnarValue::Scalar(value) => {
                let values = unit.truncate(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
            }
        })
    }

    /// None in a time zone: where clocks went back over midnight, a day came twice.
    fn output_ordering(&self, args: &[ExprProperties]) -> Result<SortProperties> {
        if matches!(args[1].range.data_type(), DataType::Timestamp(_, Some(_))) {
            return Ok(SortProperties::Unordered);
        }
        self.inner.output_ordering(args)
    }
}

/// The units that have no fixed length, and weeks, which begin on a Monday.
#[derive(Clone, Copy)]
enum Calendar {
    Week,
    Month,
    Quarter,
    Year,
}

impl Calendar {
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }

    fn truncate(self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match values.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                self.truncate_by::<TimestampSecondType>(values, 1)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                self.truncate_by::<TimestampMillisecondType>(values, 1_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.truncate_by::<TimestampMicrosecondType>(values, 1_000_000)
            }
            _ => self.truncate_by::<TimestampNanosecondType>(values, 1_000_000_000),
        }
    }

    fn truncate_by<T: ArrowTimestampType>(
        self,
        values: &ArrayRef,
        per_second: i64,
    ) -> Result<ArrayRef, ArrowError> {
        let per_day = 86_400 * per_second;
        let truncated = values.as_primitive::<T>().try_unary::<_, T, ArrowError>(|value| {
            let day = self.first_day(value.div_euclid(per_day));
            day.checked_mul(per_day).ok_or_else(|| {
                ArrowError::ComputeError(format!(
                    "the result of `date_trunc` is before what a {} can be",
                    values.data_type()
                ))
            })
        })?;
        Ok(Arc::new(truncated))
    }

    /// The first day of the unit that a day lies in; days count from 1970-01-01, a Thursday.
    fn first_day(self, day: i64) -> i64 {
        let (year, month) = year_and_month(day);
        match self {
            Self::Week => day - (day + 3).rem_euclid(7),
            Self::Month => day_of(year, month),
            Self::Quarter => day_of(year, (month - 1) / 3 * 3 + 1),
            Self::Year => day_of(year, 1),
        }
    }
}

/// Days in 400 years of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01: eras begin in March, so that leap days come last.
const EPOCH: i64 = 719_468;

/// The year and month (1 to 12) of a day. Hinnant, "chrono-compatible low-level date algorithms".
fn year_and_month(day: i64) -> (i64, i64) {
    let day = day + EPOCH;
    let era = day.div_euclid(DAYS_PER_ERA);
    let day_of_era = day.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month)
}

/// The first day of a month (1 to 12).
fn day_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lies_in_the_month_that_begins_at_or_before_it() {
        let (mut year, mut month) = (-400, 1);
        for day in day_of(-400, 1)..day_of(10_400, 1) {
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            if day == day_of(next.0, next.1) {
                (year, month) = next;
            }
            assert_eq!(year_and_month(day), (year, month), "day {day}");
        }
        assert_eq!(day_of(1970, 1), 0);
        assert_eq!(day_of(2000, 3), 11_017);
        assert_eq!(day_of(1, 1), -719_162);
    }

    #[test]
    fn weeks_begin_on_monday() {
        // 2026-11-26 is a Thursday.
        assert_eq!(Calendar::Week.first_day(20_783), 20_780);
        assert_eq!(Calendar::Week.first_day(20_780), 20_780);
        assert_eq!(Calendar::Week.first_day(-719_162), -719_162);
    }
}
