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

use super::calendar::{day_of, year_and_month};
use super::wrapped::over_array;

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

impl DateTrunc {
    /// DataFusion's values, always those that it has for a column: for a constant it goes through nanoseconds.
    fn by_datafusion(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(value) = &args.args[1] else {
            return self.inner.invoke_with_args(args);
        };
        let unit = &args.args[0];
        if !matches!(unit, ColumnarValue::Scalar(_)) {
            return self.inner.invoke_with_args(args);
        }
        args.args[1] = ColumnarValue::Array(value.to_array()?);
        args.number_rows = 1;
        let values = self.inner.invoke_with_args(args)?.into_array(1)?;
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
    }
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
            return self.by_datafusion(args);
        };
        over_array(&args.args[1], |values| Ok(unit.truncate(values)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday() {
        // 2026-11-26 is a Thursday.
        assert_eq!(Calendar::Week.first_day(20_783), 20_780);
        assert_eq!(Calendar::Week.first_day(20_780), 20_780);
        assert_eq!(Calendar::Week.first_day(-719_162), -719_162);
    }
}
