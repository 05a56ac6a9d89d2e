//! One NaN and one zero.
//!
//! IEEE 754 has many NaNs and two zeros. Arrow orders and hashes floats by their bits, so that the
//! NaN of `0.0 / 0.0`, whose sign is set on x86, comes before all numbers, and forms a group beside
//! the one of `'NaN'`. `normal_float(x)` is `x` with the sign and payload of NaN and the sign of zero
//! gone. The driver puts it where floats are compared.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float16Type, Float32Type, Float64Type,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(NormalFloat { signature }))
}

/// Returns true if a function is this one.
pub fn is_normal_float(function: &ScalarUDF) -> bool {
    function.inner().is::<NormalFloat>()
}

/// Returns true if values of a type have several NaNs and zeros.
pub fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NormalFloat {
    signature: Signature,
}

impl ScalarUDFImpl for NormalFloat {
    fn name(&self) -> &'static str {
        "normal_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.coerce_types(types)?.remove(0))
    }

    /// The field has one name: calls over equal columns are equal keys only if their fields are.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let argument = &args.arg_fields[0];
        let data_type = argument.data_type().clone();
        Ok(Arc::new(Field::new(self.name(), data_type, argument.is_nullable())))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [data_type] if is_float(data_type) => Ok(vec![data_type.clone()]),
            other => plan_err!("`normal_float` takes one float, not {other:?}"),
        }
    }

    /// A float that is normal already stays as it is.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match args.as_slice() {
            [inner @ Expr::ScalarFunction(call)] if call.name() == self.name() => {
                Ok(ExprSimplifyResult::Simplified(inner.clone()))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Array(values) => ColumnarValue::Array(normal(values)),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&normal(&value.to_array()?), 0)?)
            }
        })
    }
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
