//! Quotients of decimals, rounded half away from zero, as in PostgreSQL and Spark.
//!
//! Arrow drops the digits beyond the scale: two thirds are 0.666666. Types are Arrow's here.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Datum, Decimal256Array, PrimitiveArray, UInt64Array, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options, try_binary};
use datafusion::arrow::datatypes::{
    ArrowNativeType, ArrowNativeTypeOp, ArrowPrimitiveType, DECIMAL256_MAX_PRECISION, DataType,
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, UInt64Type, i256,
};
use datafusion::arrow::error::ArrowError;

/// The quotients of two batches of decimals; none for other types.
pub(super) fn quotients(
    left: &dyn Datum,
    right: &dyn Datum,
) -> Option<Result<ArrayRef, ArrowError>> {
    Some(match (left.get().0.data_type(), right.get().0.data_type()) {
        (DataType::Decimal32(..), DataType::Decimal32(..)) => divided::<Decimal32Type>(left, right),
        (DataType::Decimal64(..), DataType::Decimal64(..)) => divided::<Decimal64Type>(left, right),
        (DataType::Decimal128(..), DataType::Decimal128(..)) => {
            divided::<Decimal128Type>(left, right)
        }
        (DataType::Decimal256(..), DataType::Decimal256(..)) => {
            divided::<Decimal256Type>(left, right)
        }
        _ => return None,
    })
}

fn divided<T: DecimalType>(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
    let (precision, scale, factors) = result_type::<T>(left, right)?;
    let (left_by, right_by) = factors;
    let quotient = |left: T::Native, right: T::Native| {
        rounded(left.mul_checked(left_by)?, right.mul_checked(right_by)?)
    };
    let scalar = |values: &PrimitiveArray<T>| values.is_valid(0).then(|| values.value(0));
    let nothing = |rows: usize| {
        new_null_array(&T::TYPE_CONSTRUCTOR(precision, scale), rows).as_primitive::<T>().clone()
    };
    let quotients: PrimitiveArray<T> = match (left_is_scalar, right_is_scalar) {
        (false, true) => match scalar(right) {
            Some(right) => left.try_unary(|left| quotient(left, right))?,
            None => nothing(left.len()),
        },
        (true, false) => match scalar(left) {
            Some(left) => right.try_unary(|right| quotient(left, right))?,
            None => nothing(right.len()),
        },
        _ => try_binary(left, right, quotient)?,
    };
    Ok(Arc::new(quotients.with_precision_and_scale(precision, scale)?))
}

/// Factors of a dividend and of its divisor.
type Factors<T> = (<T as ArrowPrimitiveType>::Native, <T as ArrowPrimitiveType>::Native);

/// Precision and scale of a quotient by Arrow's rule, and what dividend and divisor are multiplied by.
fn result_type<T: DecimalType>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
) -> Result<(u8, i8, Factors<T>), ArrowError> {
    let scale = left.scale().saturating_add(4).min(T::MAX_SCALE);
    let power = scale - left.scale() + right.scale();
    let precision = power.saturating_add(left.precision().cast_signed()).cast_unsigned();
    let factor = <T::Native as ArrowNativeType>::usize_as(10)
        .pow_checked(u32::from(power.unsigned_abs()))?;
    let one = T::Native::ONE;
    let factors = if power < 0 { (one, factor) } else { (factor, one) };
    Ok((precision.min(T::MAX_PRECISION), scale, factors))
}

/// The quotient of two integers, rounded half away from zero.
fn rounded<N: ArrowNativeTypeOp>(dividend: N, divisor: N) -> Result<N, ArrowError> {
    let quotient = dividend.div_checked(divisor)?;
    let rest = size(dividend.sub_wrapping(quotient.mul_wrapping(divisor)));
    let divisor_size = size(divisor);
    if rest.is_lt(divisor_size.sub_wrapping(rest)) {
        return Ok(quotient);
    }
    match dividend.is_lt(N::ZERO) == divisor.is_lt(N::ZERO) {
        true => quotient.add_checked(N::ONE),
        false => quotient.sub_checked(N::ONE),
    }
}

fn size<N: ArrowNativeTypeOp>(value: N) -> N {
    if value.is_lt(N::ZERO) { value.neg_wrapping() } else { value }
}

/// Averages of decimals, from their sums and counts; null without a value. The result has at least the scale of
/// the sums.
///
/// # Errors
/// An average has more digits than its type.
pub(super) fn averages(
    sums: &ArrayRef,
    counts: &UInt64Array,
    to: &DataType,
) -> Result<ArrayRef, ArrowError> {
    if let (DataType::Decimal128(_, from), DataType::Decimal128(precision, scale)) =
        (sums.data_type(), to)
        && let Some(averages) = narrow_averages(sums.as_primitive(), counts, scale - from)
    {
        let averages = averages.with_precision_and_scale(*precision, *scale)?;
        averages.validate_decimal_precision(*precision)?;
        return Ok(Arc::new(averages));
    }
    let from = scale_of(sums.data_type());
    let scale = scale_of(to);
    let wide = cast(sums, &DataType::Decimal256(DECIMAL256_MAX_PRECISION, from))?;
    let wide = wide.as_primitive::<Decimal256Type>();
    let factor = power(scale - from)?;
    let rows = wide.iter().zip(counts.iter());
    let averages = rows.map(|row| match row {
        (Some(sum), Some(count)) if count > 0 => {
            rounded(sum.mul_checked(factor)?, i256::from(i128::from(count))).map(Some)
        }
        _ => Ok(None),
    });
    let averages = averages.collect::<Result<Decimal256Array, ArrowError>>()?;
    let averages = averages.with_precision_and_scale(DECIMAL256_MAX_PRECISION, scale)?;
    let exactly = CastOptions { safe: false, ..CastOptions::default() };
    match to {
        DataType::Decimal256(precision, _) => {
            averages.validate_decimal_precision(*precision)?;
            Ok(Arc::new(averages.with_precision_and_scale(*precision, scale)?))
        }
        to => cast_with_options(&averages, to, &exactly),
    }
}

/// The averages by 128 bits; none where one does not fit on the way.
fn narrow_averages(
    sums: &PrimitiveArray<Decimal128Type>,
    counts: &PrimitiveArray<UInt64Type>,
    digits: i8,
) -> Option<PrimitiveArray<Decimal128Type>> {
    let factor = 10_i128.checked_pow(u32::try_from(digits).ok()?)?;
    let rows = sums.iter().zip(counts.iter());
    let averages = rows.map(|row| match row {
        (Some(sum), Some(count)) if count > 0 => {
            rounded(sum.mul_checked(factor)?, i128::from(count)).map(Some)
        }
        _ => Ok(None),
    });
    averages.collect::<Result<_, ArrowError>>().ok()
}

fn power(digits: i8) -> Result<i256, ArrowError> {
    i256::from(10).pow_checked(u32::try_from(digits).unwrap_or(0))
}

pub(super) fn scale_of(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (dividend, divisor, want) in [
            (2, 3, 1),
            (1, 3, 0),
            (1, 2, 1),
            (-1, 2, -1),
            (1, -2, -1),
            (-1, -2, 1),
            (-1, 3, 0),
            (-2, 3, -1),
            (4, 2, 2),
            (0, 5, 0),
            (i128::MAX, i128::MAX, 1),
            (i128::MAX, i128::MAX - 1, 1),
        ] {
            assert_eq!(rounded::<i128>(dividend, divisor).unwrap(), want, "{dividend} / {divisor}");
        }
        assert!(rounded::<i128>(1, 0).is_err());
    }
}
