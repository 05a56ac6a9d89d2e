//! Types that have all values of another one, or all of their digits.

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

/// Returns true if no cast from a type to another one loses digits without saying so. A number that is
/// too large is an error, and so is a text that is no number.
pub fn keeps_digits(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Date32, Date64, Dictionary, Float16, Float32, Float64, LargeList, List, Struct,
    };
    if from == to {
        return true;
    }
    if let (Some(from), Some(to)) = (digits(from), digits(to)) {
        return from.fraction() <= to.fraction();
    }
    let item = |from: &Field, to: &Field| keeps_digits(from.data_type(), to.data_type());
    match (from, to) {
        (Dictionary(_, from), to) => keeps_digits(from, to),
        (from, Dictionary(_, to)) => keeps_digits(from, to),
        (List(from) | LargeList(from), List(to) | LargeList(to)) => item(from, to),
        (Struct(from), Struct(to)) => to.iter().all(|to| {
            let from = from.iter().find(|from| from.name() == to.name());
            from.is_none_or(|from| item(from, to))
        }),
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (from, Float32) => has_at_most(from, 24),
        (from, Float64) => has_at_most(from, 53),
        (Date32, Date64) | (Date32 | Date64, DataType::Timestamp(_, None)) => true,
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => from <= to,
        (
            DataType::Time32(from) | DataType::Time64(from),
            DataType::Time32(to) | DataType::Time64(to),
        )
        | (DataType::Duration(from), DataType::Duration(to)) => from <= to,
        _ => !(is_ordered(from) && is_ordered(to)),
    }
}

/// Returns true for integers of at most this many bits; a float of so many has them all.
fn has_at_most(data_type: &DataType, bits: u32) -> bool {
    match digits(data_type) {
        Some(Digits::Integer { min, max }) => -(1 << bits) <= min && max <= 1 << bits,
        Some(Digits::Decimal { .. }) => false,
        None => !is_ordered(data_type),
    }
}

/// The value in another type, if that type has it.
pub fn exactly(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
    let there = value.cast_to(data_type).ok()?;
    (there.cast_to(&value.data_type()).ok()? == *value).then_some(there)
}

/// True if a type of numbers has every value of another one; none if one of the two is no integer and no
/// decimal.
pub fn is_within(from: &DataType, to: &DataType) -> Option<bool> {
    Some(digits(from)?.are_within(digits(to)?))
}

/// Returns true for types whose order DataFusion takes for the order behind a cast, or that it moves casts
/// between.
pub fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean
}

/// Decimal digits before and behind the point. An integer has limits that are no powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Integer { min: i128, max: i128 },
    Decimal { whole: u32, fraction: u32 },
}

impl Digits {
    fn fraction(self) -> u32 {
        match self {
            Self::Integer { .. } => 0,
            Self::Decimal { fraction, .. } => fraction,
        }
    }

    fn are_within(self, other: Self) -> bool {
        use Digits::{Decimal, Integer};
        let most = |whole: u32| 10_i128.checked_pow(whole).map_or(i128::MAX, |power| power - 1);
        match (self, other) {
            (Integer { min, max }, Integer { min: least, max: most }) => {
                least <= min && max <= most
            }
            (Integer { min, max }, Decimal { whole, .. }) => {
                -most(whole) <= min && max <= most(whole)
            }
            (Decimal { whole, fraction: 0 }, Integer { min, max }) => {
                min <= -most(whole) && most(whole) <= max
            }
            (Decimal { .. }, Integer { .. }) => false,
            (
                Decimal { whole, fraction },
                Decimal { whole: other_whole, fraction: other_fraction },
            ) => whole <= other_whole && fraction <= other_fraction,
        }
    }
}

fn digits(data_type: &DataType) -> Option<Digits> {
    use DataType::{
        Decimal32, Decimal64, Decimal128, Decimal256, Int8, Int16, Int32, Int64, UInt8, UInt16,
        UInt32, UInt64,
    };
    let (min, max) = match data_type {
        Int8 => (i8::MIN.into(), i8::MAX.into()),
        Int16 => (i16::MIN.into(), i16::MAX.into()),
        Int32 => (i32::MIN.into(), i32::MAX.into()),
        Int64 => (i64::MIN.into(), i64::MAX.into()),
        UInt8 => (0, u8::MAX.into()),
        UInt16 => (0, u16::MAX.into()),
        UInt32 => (0, u32::MAX.into()),
        UInt64 => (0, u64::MAX.into()),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => {
            let fraction = u32::try_from(*scale).ok()?;
            let whole = u32::from(*precision).checked_sub(fraction)?;
            return Some(Digits::Decimal { whole, fraction });
        }
        _ => return None,
    };
    Some(Digits::Integer { min, max })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit::{Microsecond, Nanosecond};

    use super::*;

    #[test]
    fn a_wider_type_keeps_digits_and_a_narrower_one_does_not() {
        use DataType::{Decimal128, Float32, Float64, Int8, Int32, Int64, UInt32, Utf8};
        let timestamp = |unit| DataType::Timestamp(unit, None);
        for (from, to) in [
            (Int8, Int64),
            (UInt32, Int64),
            (Int32, Float64),
            (Int32, Decimal128(12, 2)),
            (Decimal128(9, 0), Int32),
            (Decimal128(10, 2), Decimal128(12, 3)),
            (Float32, Float64),
            (timestamp(Microsecond), timestamp(Nanosecond)),
            (DataType::Date32, timestamp(Microsecond)),
            (Int64, Int32),
            (Int64, Decimal128(18, 0)),
            (Decimal128(10, 0), Int32),
            (Decimal128(10, 2), Decimal128(10, 3)),
            (Int64, Utf8),
            (DataType::Binary, Utf8),
        ] {
            assert!(keeps_digits(&from, &to), "{from} {to}");
        }
        for (from, to) in [
            (Int64, Float64),
            (Int32, Float32),
            (Decimal128(10, 2), Decimal128(10, 1)),
            (Decimal128(10, 2), Float64),
            (Float64, Float32),
            (Float64, Int64),
            (timestamp(Nanosecond), timestamp(Microsecond)),
            (timestamp(Microsecond), DataType::Date32),
            (Int64, DataType::Boolean),
        ] {
            assert!(!keeps_digits(&from, &to), "{from} {to}");
        }
    }

    #[test]
    fn a_type_is_within_one_that_has_its_least_and_its_largest_value() {
        use DataType::{Decimal128, Int8, Int32, Int64, UInt32};
        for (from, to, within) in [
            (Int8, Int64, Some(true)),
            (UInt32, Int64, Some(true)),
            (Int32, UInt32, Some(false)),
            (Int64, Int32, Some(false)),
            (Int32, Decimal128(12, 2), Some(true)),
            (Int32, Decimal128(11, 2), Some(false)),
            (Decimal128(9, 0), Int32, Some(true)),
            (Decimal128(10, 0), Int32, Some(false)),
            (Decimal128(9, 1), Int64, Some(false)),
            (Decimal128(10, 2), Decimal128(12, 3), Some(true)),
            (Decimal128(10, 2), Decimal128(10, 3), Some(false)),
            (Int64, DataType::Float64, None),
        ] {
            assert_eq!(is_within(&from, &to), within, "{from} {to}");
        }
    }
}
