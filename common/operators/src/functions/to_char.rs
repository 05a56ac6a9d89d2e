//! `to_char` of a constant with a column of formats: DataFusion's takes the first row's for all of them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::functions::datetime::to_char;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::wrapped::wrapped;

/// The function, over DataFusion's of the same name.
pub(super) fn function() -> Arc<ScalarUDF> {
    wrapped(to_char(), each_in_its_format)
}

fn each_in_its_format(inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    if let [value @ ColumnarValue::Scalar(_), ColumnarValue::Array(formats)] =
        args.args.as_mut_slice()
    {
        *value = ColumnarValue::Array(value.to_array(formats.len())?);
    }
    inner.invoke_with_args(args)
}
