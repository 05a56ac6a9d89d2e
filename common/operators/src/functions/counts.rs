//! A rank or a length as a `BIGINT`: DataFusion gives them no sign.
//!
//! A cast from `BIGINT UNSIGNED` would do the same, but may fail for large values: rules keep such casts apart from
//! comparisons, and evaluate them late. No count is that large, so the function never fails. A column of it has the
//! name of its argument, and the order.

use std::sync::Arc;

use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The name of the function.
pub const SIGNED_COUNT: &str = "signed_count";

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    let types = vec![DataType::UInt64, DataType::Int64];
    let signature = Signature::uniform(1, types, Volatility::Immutable);
    Arc::new(ScalarUDF::from(SignedCount { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SignedCount {
    signature: Signature,
}

impl ScalarUDFImpl for SignedCount {
    fn name(&self) -> &str {
        SIGNED_COUNT
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Int64, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Array(counts) => {
                Ok(ColumnarValue::Array(cast(counts, &DataType::Int64)?))
            }
            ColumnarValue::Scalar(count) => {
                Ok(ColumnarValue::Scalar(count.cast_to(&DataType::Int64)?))
            }
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(inputs[0].sort_properties)
    }

    fn preserves_lex_ordering(&self, _: &[ExprProperties]) -> Result<bool> {
        Ok(true)
    }
}
