//! `round` and `trunc` of floats to digits that a float doesn't reach.
//!
//! DataFusion multiplies by a power of ten, which may be infinite where the value is not. A float has no digits
//! there, so that it is its own rounding; and nothing is left of it where it is rounded to more digits before the
//! point than floats have.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int64Type,
};
use datafusion::common::Result;
use datafusion::functions::math::{round, trunc};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::wrapped::{over_array, wrapped};

/// Digits before the point beyond which a power of ten is zero as a float.
const DIGITS_MIN: i64 = -324;

/// The functions of this module, over DataFusion's of the same name.
pub(super) fn all() -> [Arc<ScalarUDF>; 2] {
    [round(), trunc()].map(|inner| wrapped(inner, rounded))
}

fn rounded(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let [value, digits] = args.args.as_slice() else { return inner.invoke_with_args(args) };
    let (value, digits, rows) = (value.clone(), digits.clone(), args.number_rows);
    let result = inner.invoke_with_args(args)?;
    let mend: fn(&ArrayRef, &ArrayRef, &ArrayRef) -> ArrayRef = match result.data_type() {
        DataType::Float32 => mended::<Float32Type>,
        DataType::Float64 => mended::<Float64Type>,
        _ => return Ok(result),
    };
    over_array(&result, |results| {
        let rows = if results.len() == 1 { 1 } else { rows };
        let values = cast(&value.to_array(rows)?, results.data_type())?;
        let digits = cast(&digits.to_array(rows)?, &DataType::Int64)?;
        Ok(mend(results, &values, &digits))
    })
}

/// The results, with the right ones for finite values whose result is not finite.
fn mended<T>(results: &ArrayRef, values: &ArrayRef, digits: &ArrayRef) -> ArrayRef
where
    T: ArrowPrimitiveType<Native: Into<f64> + Default>,
{
    let results = results.as_primitive::<T>();
    let is_finite = |value: T::Native| Into::<f64>::into(value).is_finite();
    if results.values().iter().all(|value| is_finite(*value)) {
        return Arc::new(results.clone());
    }
    let values = values.as_primitive::<T>();
    let digits = digits.as_primitive::<Int64Type>();
    let rows = results.iter().zip(values.iter()).zip(digits.iter());
    let mended = rows.map(|((result, value), digits)| {
        let (result, value) = (result?, value?);
        Some(match digits? {
            _ if is_finite(result) => result,
            _ if !is_finite(value) => value,
            1.. => value,
            ..=DIGITS_MIN => T::Native::default(),
            _ => result,
        })
    });
    Arc::new(mended.collect::<PrimitiveArray<T>>())
}
