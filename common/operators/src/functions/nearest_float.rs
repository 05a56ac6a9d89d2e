//! The float that is nearest to a decimal.
//!
//! Arrow makes a float of the units and divides it by a power of ten: two roundings, of which the second one may be off
//! the nearest float, so that `cast(0.1 as decimal(38, 30))` is not equal to 0.1. Where both numbers have few digits
//! they are floats themselves, and their quotient is rounded once; else the digits are read as a text is. The driver
//! puts the functions in the place of casts.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef,
};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::wrapped::over_array;

/// Powers of ten that are floats of 64 bits.
const POWERS: usize = 23;

/// The functions, of `REAL` and of `DOUBLE`.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&REAL), Arc::clone(&DOUBLE)]
}

static REAL: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("nearest_real", DataType::Float32));
static DOUBLE: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("nearest_double", DataType::Float64));

fn function(name: &'static str, to: DataType) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(NearestFloat { name, to, signature }))
}

/// The expression in place of the cast of a decimal to a type of floats; none for other types.
pub fn in_place_of_cast(decimal: &Expr, from: &DataType, to: &DataType) -> Option<Expr> {
    let function = match to {
        DataType::Float32 => &REAL,
        DataType::Float64 => &DOUBLE,
        _ => return None,
    };
    from.is_decimal().then(|| function.call(vec![decimal.clone()]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NearestFloat {
    name: &'static str,
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for NearestFloat {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name, self.to.clone(), args.arg_fields[0].is_nullable())))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of] if of.is_decimal() => Ok(types.to_vec()),
            other => plan_err!("`{}` takes a decimal, not {other:?}", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.first() else {
            return exec_err!("`{}` takes a decimal", self.name);
        };
        over_array(value, |decimals| nearest(decimals, &self.to))
    }
}

fn nearest(decimals: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let wide = |scale| cast(decimals, &DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale));
    Ok(match decimals.data_type() {
        DataType::Decimal128(_, scale) => {
            let units = decimals.as_primitive::<Decimal128Type>();
            match to {
                DataType::Float32 => {
                    let floats = units.iter().map(|units| Some(nearest_real(units?, *scale)));
                    Arc::new(floats.collect::<Float32Array>())
                }
                _ => {
                    let floats = units.iter().map(|units| Some(nearest_double(units?, *scale)));
                    Arc::new(floats.collect::<Float64Array>())
                }
            }
        }
        DataType::Decimal256(_, scale) => of_texts(decimals, *scale, to),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
            of_texts(&wide(*scale)?, *scale, to)
        }
        other => return exec_err!("{other} is no decimal"),
    })
}

fn of_texts(decimals: &ArrayRef, scale: i8, to: &DataType) -> ArrayRef {
    let units = decimals.as_primitive::<Decimal256Type>();
    match to {
        DataType::Float32 => {
            let floats = units.iter().map(|units| read(units?, scale).parse::<f32>().ok());
            Arc::new(floats.collect::<Float32Array>())
        }
        _ => {
            let floats = units.iter().map(|units| read(units?, scale).parse::<f64>().ok());
            Arc::new(floats.collect::<Float64Array>())
        }
    }
}

fn nearest_double(units: i128, scale: i8) -> f64 {
    static TENS: LazyLock<[f64; POWERS]> =
        LazyLock::new(|| std::array::from_fn(|power| 10_u128.pow(power as u32) as f64));
    let tens = usize::try_from(scale).ok().and_then(|scale| TENS.get(scale));
    match tens {
        Some(tens) if units.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS => units as f64 / tens,
        _ => read(units, scale).parse().unwrap_or(f64::NAN),
    }
}

fn nearest_real(units: i128, scale: i8) -> f32 {
    read(units, scale).parse().unwrap_or(f32::NAN)
}

/// A decimal as the text of a float.
fn read(units: impl Display, scale: i8) -> String {
    format!("{units}e{}", -i32::from(scale))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Decimal128Array, Decimal256Array};
    use datafusion::arrow::datatypes::{Float32Type, Float64Type, i256};
    use proptest::prelude::*;

    use super::*;

    /// A number and a null, as decimals of 38 and of 76 digits.
    fn decimals(units: i128, scale: i8) -> [ArrayRef; 2] {
        let narrow = Decimal128Array::from(vec![Some(units), None]);
        let wide = Decimal256Array::from(vec![Some(i256::from_i128(units)), None]);
        [
            Arc::new(narrow.with_precision_and_scale(38, scale).unwrap()),
            Arc::new(wide.with_precision_and_scale(76, scale).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn the_float_is_the_one_that_the_digits_are_read_as(
            units in any::<i128>(),
            shift in 0..126_u32,
            scale in 0..38_i8,
        ) {
            let units = (units >> shift) % 10_i128.pow(38);
            let places = usize::try_from(scale).unwrap();
            let digits = format!("{:0>width$}", units.unsigned_abs(), width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let sign = if units < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}0");
            for decimals in decimals(units, scale) {
                let floats = nearest(&decimals, &DataType::Float64).unwrap();
                let double = floats.as_primitive::<Float64Type>().value(0);
                prop_assert_eq!(double, text.parse::<f64>().unwrap());
                prop_assert!(floats.is_null(1));
                let floats = nearest(&decimals, &DataType::Float32).unwrap();
                let real = floats.as_primitive::<Float32Type>().value(0);
                prop_assert_eq!(real, text.parse::<f32>().unwrap());
            }
        }
    }
}
