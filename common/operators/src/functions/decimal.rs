//! Products of decimals without a check per row, and the check of a batch against its precision.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum, PrimitiveArray};
use datafusion::arrow::compute::binary;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DecimalType,
};

type Decimals = PrimitiveArray<Decimal128Type>;

/// The product of two batches of decimals whose unscaled values all fit 64 bits, as nearly all do:
/// it has fewer than 38 digits, so that nothing is left to check. None where one does not fit.
pub(super) fn narrow_product(left: &dyn Datum, right: &dyn Datum) -> Option<ArrayRef> {
    let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
    let (l, r) = (left.as_primitive_opt::<Decimal128Type>()?, right.as_primitive_opt()?);
    let (precision, scale) = product_type(l, r)?;
    if !fits_64_bits(l) || !fits_64_bits(r) {
        return None;
    }
    let product: Decimals = match (left_is_scalar, right_is_scalar) {
        (false, true) if r.is_valid(0) => times(l, r.value(0)),
        (true, false) if l.is_valid(0) => times(r, l.value(0)),
        (false, false) => binary(l, r, multiply).ok()?,
        _ => return None,
    };
    Some(Arc::new(product.with_precision_and_scale(precision, scale).ok()?))
}

fn times(values: &Decimals, factor: i128) -> Decimals {
    values.unary(|value| multiply(value, factor))
}

/// Multiplies two numbers that fit 64 bits each: the processor has one instruction for this.
#[expect(clippy::cast_possible_truncation, reason = "the batch was looked at")]
fn multiply(left: i128, right: i128) -> i128 {
    i128::from(left as i64) * i128::from(right as i64)
}

#[expect(clippy::cast_possible_truncation, reason = "what is lost is looked at")]
fn fits_64_bits(values: &Decimals) -> bool {
    let lost = |value: &i128| value ^ i128::from(*value as i64);
    values.values().iter().fold(0, |any, value| any | lost(value)) == 0
}

/// Arrow's rule for the type of a product; none where it refuses one.
fn product_type(left: &Decimals, right: &Decimals) -> Option<(u8, i8)> {
    let precision = left.precision().saturating_add(right.precision()).saturating_add(1);
    let scale = left.scale().checked_add(right.scale())?;
    (scale <= DECIMAL128_MAX_SCALE).then(|| (precision.min(DECIMAL128_MAX_PRECISION), scale))
}

/// True if every value has at most the digits of its type. Arrow looks at the bits alone, and only
/// a result type that was capped can be too narrow for what the operands allow.
pub(super) fn has_its_precision(values: &dyn Array) -> bool {
    match values.data_type() {
        DataType::Decimal32(precision, _) => is_within::<Decimal32Type>(values, *precision),
        DataType::Decimal64(precision, _) => is_within::<Decimal64Type>(values, *precision),
        DataType::Decimal128(precision, _) => is_within::<Decimal128Type>(values, *precision),
        DataType::Decimal256(precision, _) => is_within::<Decimal256Type>(values, *precision),
        _ => true,
    }
}

fn is_within<T: DecimalType>(values: &dyn Array, precision: u8) -> bool {
    let is_capped = precision == T::MAX_PRECISION;
    !is_capped || values.as_primitive::<T>().validate_decimal_precision(precision).is_ok()
}
