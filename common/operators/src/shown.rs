//! Values that no text shows: moments beyond the years of Arrow's calendar.
//!
//! A TIMESTAMP(0) holds seconds of which most are in no year that Arrow knows. Its formatters write their error, or
//! `<invalid>`, in place of such a value, and panic where a time zone moves one over the end of the calendar.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{cast, filter};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::Result;
use gnist_common::error::{ErrorKind, Failure};

use crate::failure::external;

/// The first and the last second of the calendar: of the years -262143 and 262142.
const SECONDS: (i64, i64) = (-8_334_601_228_800, 8_210_266_876_799);

const DAY: i64 = 86_400;

/// Looks for a value without a text.
///
/// # Errors
/// There is one, which the error names.
pub fn check(rows: &RecordBatch) -> Result<()> {
    rows.columns().iter().try_for_each(check_column)
}

/// Looks for one in a column.
pub(crate) fn check_column(values: &ArrayRef) -> Result<()> {
    let of = values.data_type();
    if !has_moments(of) {
        return Ok(());
    }
    match of {
        DataType::List(_) => {
            values.as_list::<i32>().iter().flatten().try_for_each(|list| check_column(&list))
        }
        DataType::LargeList(_) => {
            values.as_list::<i64>().iter().flatten().try_for_each(|list| check_column(&list))
        }
        DataType::FixedSizeList(..) => {
            let lists = values.as_fixed_size_list();
            lists.iter().flatten().try_for_each(|list| check_column(&list))
        }
        DataType::Map(..) => values.as_map().iter().flatten().try_for_each(|entries| {
            let entries: ArrayRef = Arc::new(entries);
            check_column(&entries)
        }),
        DataType::Struct(_) => {
            let parts = values.as_struct();
            let valid = parts.nulls().map(|nulls| BooleanArray::new(nulls.inner().clone(), None));
            parts.columns().iter().try_for_each(|part| match &valid {
                Some(valid) => check_column(&filter(part, valid)?),
                None => check_column(part),
            })
        }
        DataType::Dictionary(_, of) => check_column(&cast(values, of)?),
        of => check_moments(values, of),
    }
}

fn check_moments(values: &ArrayRef, of: &DataType) -> Result<()> {
    let Some((first, last)) = ends(of) else { return Ok(()) };
    let numbers = cast(values, &DataType::Int64)?;
    let mut numbers = numbers.as_primitive::<Int64Type>().iter().flatten();
    match numbers.find(|number| *number < first || *number > last) {
        Some(number) => {
            let message = format!(
                "`{number}` can't be shown as a {of}: `{first}` is the first value that can, \
                 `{last}` the last"
            );
            Err(external(Failure::new(ErrorKind::User, message)))
        }
        None => Ok(()),
    }
}

/// Returns true for types with a value that can't be shown, at any depth.
fn has_moments(of: &DataType) -> bool {
    match of {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_moments(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_moments(field.data_type())),
        DataType::Dictionary(_, of) => has_moments(of),
        of => ends(of).is_some(),
    }
}

/// The first and the last value of a type that can be shown; none if all can.
fn ends(of: &DataType) -> Option<(i64, i64)> {
    let (first, last) = SECONDS;
    let per_second = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    Some(match of {
        // Nanoseconds of 64 bits end long before.
        DataType::Timestamp(TimeUnit::Nanosecond, _) => return None,
        DataType::Timestamp(unit, zone) => {
            // A zone moves a moment by less than a day.
            let margin = if zone.is_some() { DAY } else { 0 };
            let per = per_second(unit);
            ((first + margin) * per, (last + 1 - margin) * per - 1)
        }
        DataType::Date32 => (first / DAY, last / DAY),
        DataType::Date64 => (first * 1_000, (last + 1) * 1_000 - 1),
        DataType::Time32(unit) | DataType::Time64(unit) => (0, DAY * per_second(unit) - 1),
        DataType::Duration(TimeUnit::Second) => (-(i64::MAX / 1_000), i64::MAX / 1_000),
        DataType::Duration(TimeUnit::Millisecond) => (-i64::MAX, i64::MAX),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        Date32Array, ListArray, Time32SecondArray, TimestampMicrosecondArray, TimestampSecondArray,
    };
    use datafusion::arrow::datatypes::TimestampSecondType;
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    #[test]
    fn what_arrow_shows_is_taken_and_the_next_value_refused() {
        let (first, last) = SECONDS;
        let of = |value: i64| -> [ArrayRef; 3] {
            let micros = value.saturating_mul(1_000_000);
            let day = i32::try_from(value.div_euclid(DAY)).unwrap();
            [
                Arc::new(TimestampSecondArray::from(vec![None, Some(value)])),
                Arc::new(TimestampMicrosecondArray::from(vec![None, Some(micros)])),
                Arc::new(Date32Array::from(vec![None, Some(day)])),
            ]
        };
        let options = FormatOptions::new().with_display_error(false);
        for (value, is_shown) in
            [(first, true), (last, true), (first - 1, false), (last + 1, false)]
        {
            for values in of(value) {
                let formatter = ArrayFormatter::try_new(values.as_ref(), &options).unwrap();
                let text = formatter.value(1).try_to_string();
                assert_eq!(text.is_ok(), is_shown, "{value} {}", values.data_type());
                assert_eq!(check_column(&values).is_ok(), is_shown, "{value}");
            }
        }
    }

    #[test]
    fn zones_times_and_lists_are_looked_at() {
        let last = SECONDS.1;
        let zoned = TimestampSecondArray::from(vec![last]).with_timezone("+10:00");
        let list = ListArray::from_iter_primitive::<TimestampSecondType, _, _>([
            None,
            Some(vec![Some(0), Some(last + 1)]),
        ]);
        let refused: [ArrayRef; 3] =
            [Arc::new(zoned), Arc::new(Time32SecondArray::from(vec![-5])), Arc::new(list)];
        for values in refused {
            assert!(check_column(&values).is_err(), "{}", values.data_type());
        }
    }
}
