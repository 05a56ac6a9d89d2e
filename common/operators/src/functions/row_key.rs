//! Keys of structs, lists and maps that are ordered as these are.
//!
//! `row_key(x, nulls_first)` is null for null, and else bytes whose order is that of `x`, with the nulls inside
//! of it first or last. The driver puts it into `ORDER BY`, for DataFusion has several opinions on nulls inside of values.
//! The null test and the fields of a struct in its place were rejected: lists of structs have no such form, and a null
//! struct may hide fields that are not null.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryArray};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

/// The function, for the registries of driver and executors.
pub(super) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(ScalarUDF::from(RowKey { signature }))
}

/// Returns true for types of values inside of which there are others, and whose keys can be made.
pub fn has_row_key(data_type: &DataType) -> bool {
    data_type.is_nested() && RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

/// The key of an expression in an order.
pub fn row_key(of: Expr, is_ascending: bool, nulls_first: bool) -> Expr {
    // A descending order turns the bytes round, and the nulls in them.
    function().call(vec![of, lit(nulls_first == is_ascending)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowKey {
    signature: Signature,
}

impl ScalarUDFImpl for RowKey {
    fn name(&self) -> &'static str {
        "row_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [of, ColumnarValue::Scalar(ScalarValue::Boolean(Some(nulls_first)))] =
            args.args.as_slice()
        else {
            return plan_err!("`row_key` takes a value and true or false");
        };
        match of {
            ColumnarValue::Array(values) => Ok(ColumnarValue::Array(keys(values, *nulls_first)?)),
            ColumnarValue::Scalar(value) => {
                let keys = keys(&value.to_array()?, *nulls_first)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&keys, 0)?))
            }
        }
    }
}

fn keys(values: &ArrayRef, nulls_first: bool) -> Result<ArrayRef> {
    let options = SortOptions { descending: false, nulls_first };
    let field = SortField::new_with_options(values.data_type().clone(), options);
    let rows = RowConverter::new(vec![field])?.convert_columns(&[Arc::clone(values)])?;
    let (offsets, bytes, _) = rows.try_into_binary()?.into_parts();
    Ok(Arc::new(BinaryArray::new(offsets, bytes, values.logical_nulls())))
}
