//! One NaN and one zero.
//!
//! IEEE 754 has many NaNs and two zeros. Arrow orders and hashes floats by their bits, so that the
//! NaN of `0.0 / 0.0`, whose sign is set on x86, comes before all numbers, and forms a group beside
//! the one of `'NaN'`. `normal_float(x)` is `x` with the sign and payload of NaN and the sign of zero
//! gone. The driver puts it where floats are compared.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type,
};
use datafusion::logical_expr::ScalarUDF;

use super::same_type::Kind;

const KIND: Kind =
    Kind { name: "normal_float", takes: "one float", takes_type: is_float, apply: normal };

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    KIND.function()
}

/// Returns true if a function is this one.
pub fn is_normal_float(function: &ScalarUDF) -> bool {
    KIND.is_of(function)
}

/// Returns true if values of a type have several NaNs and zeros.
pub fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

/// The same floats with one NaN and one zero; the same array where it has no other.
pub fn normal(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float16 => normal_of::<Float16Type>(values, |value| {
            let is_odd = value.is_nan() || value.to_bits() == 0x8000;
            if value.is_nan() {
                (is_odd, half_nan())
            } else {
                (is_odd, if is_odd { Default::default() } else { value })
            }
        }),
        DataType::Float32 => normal_of::<Float32Type>(values, |value| {
            let normal = if value.is_nan() { f32::NAN } else { value + 0.0 };
            (normal.to_bits() != value.to_bits(), normal)
        }),
        DataType::Float64 => normal_of::<Float64Type>(values, |value| {
            let normal = if value.is_nan() { f64::NAN } else { value + 0.0 };
            (normal.to_bits() != value.to_bits(), normal)
        }),
        _ => Arc::clone(values),
    }
}

type Half = <Float16Type as ArrowPrimitiveType>::Native;

fn half_nan() -> Half {
    Half::NAN
}

/// `normal` says whether a value changes, and into what.
fn normal_of<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    normal: impl Fn(T::Native) -> (bool, T::Native),
) -> ArrayRef {
    let floats = values.as_primitive::<T>();
    let changes = floats.values().iter().fold(false, |any, value| any | normal(*value).0);
    if !changes {
        return Arc::clone(values);
    }
    let changed: PrimitiveArray<T> = floats.unary(|value| normal(value).1);
    Arc::new(changed)
}
