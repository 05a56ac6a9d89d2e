//! One interval of each length.
//!
//! Arrow compares intervals by their months, then days, then nanoseconds, and hashes their bits:
//! `INTERVAL '1 day'` and `INTERVAL '24 hours'` are two groups, and 36 hours come before a day.
//! `normal_interval(x)` has the length of `x`, a day being 24 hours and a month 30 days, with as many
//! whole months as fit and then as many days, as PostgreSQL's `justify_interval`. All parts have one
//! sign, so that Arrow's order is that of the lengths. The driver puts it where intervals are compared.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::logical_expr::ScalarUDF;

use super::same_type::Kind;

const DAY_NANOSECONDS: i128 = 86_400_000_000_000;
const DAY_MILLISECONDS: i64 = 86_400_000;
const MONTH_DAYS: i128 = 30;

const KIND: Kind =
    Kind { name: "normal_interval", takes: "one interval", takes_type: is_interval, apply: normal };

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    KIND.function()
}

/// Returns true if a function is this one.
pub fn is_normal_interval(function: &ScalarUDF) -> bool {
    KIND.is_of(function)
}

/// Returns true if a type has several intervals of one length.
pub fn is_interval(data_type: &DataType) -> bool {
    use IntervalUnit::{DayTime, MonthDayNano};
    matches!(data_type, DataType::Interval(DayTime | MonthDayNano))
}

/// Intervals of the same lengths, one form each; the same array where it has no other.
pub fn normal(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            normal_of::<IntervalMonthDayNanoType>(values, months_days_nanoseconds)
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            normal_of::<IntervalDayTimeType>(values, days_milliseconds)
        }
        _ => Arc::clone(values),
    }
}

fn normal_of<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    normal: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    let intervals = values.as_primitive::<T>();
    if intervals.values().iter().all(|value| normal(*value) == *value) {
        return Arc::clone(values);
    }
    let changed: PrimitiveArray<T> = intervals.unary(normal);
    Arc::new(changed)
}

/// An interval whose months would not fit stays as it is: it has 178 million years.
fn months_days_nanoseconds(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let days = i128::from(value.months) * MONTH_DAYS + i128::from(value.days);
    let length = days * DAY_NANOSECONDS + i128::from(value.nanoseconds);
    let (days, nanoseconds) = (length / DAY_NANOSECONDS, length % DAY_NANOSECONDS);
    let months = i32::try_from(days / MONTH_DAYS);
    match (months, i32::try_from(days % MONTH_DAYS), i64::try_from(nanoseconds)) {
        (Ok(months), Ok(days), Ok(nanoseconds)) => {
            IntervalMonthDayNano { months, days, nanoseconds }
        }
        _ => value,
    }
}

/// An interval whose days would not fit stays as it is, as in [`months_days_nanoseconds`].
fn days_milliseconds(value: IntervalDayTime) -> IntervalDayTime {
    let length = i64::from(value.days) * DAY_MILLISECONDS + i64::from(value.milliseconds);
    let parts = (length / DAY_MILLISECONDS, length % DAY_MILLISECONDS);
    match (i32::try_from(parts.0), i32::try_from(parts.1)) {
        (Ok(days), Ok(milliseconds)) => IntervalDayTime { days, milliseconds },
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(months: i32, days: i32, hours: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano { months, days, nanoseconds: hours * 3_600_000_000_000 }
    }

    #[test]
    fn one_length_has_one_form() {
        for (given, normal) in [
            (interval(0, 0, 36), interval(0, 1, 12)),
            (interval(0, 45, 0), interval(1, 15, 0)),
            (interval(0, 0, -24), interval(0, -1, 0)),
            (interval(1, -1, 0), interval(0, 29, 0)),
            (interval(0, 1, -25), interval(0, 0, -1)),
            (interval(12, 3, 4), interval(12, 3, 4)),
            (interval(i32::MAX, i32::MAX, 0), interval(i32::MAX, i32::MAX, 0)),
        ] {
            assert_eq!(months_days_nanoseconds(given), normal);
        }
    }

    #[test]
    fn the_order_is_that_of_lengths() {
        let hours = |value: IntervalMonthDayNano| {
            (i64::from(value.months) * 30 + i64::from(value.days)) * 24
                + value.nanoseconds / 3_600_000_000_000
        };
        let parts = [-2, -1, 0, 1, 2];
        let all = parts.iter().flat_map(|months| {
            parts.iter().flat_map(move |days| {
                parts.map(|h| interval(*months, days * 25, i64::from(h) * 20))
            })
        });
        let all: Vec<IntervalMonthDayNano> = all.collect();
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            let normal = months_days_nanoseconds(a).cmp(&months_days_nanoseconds(b));
            assert_eq!(normal, hours(a).cmp(&hours(b)), "{a:?} {b:?}");
        }
    }
}
