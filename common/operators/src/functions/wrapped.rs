//! A function of DataFusion's whose values are computed by Gnist, and whose every other answer is DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

/// The values of a call, from DataFusion's function and the arguments.
pub(super) type Invoke = fn(&ScalarUDF, ScalarFunctionArgs) -> Result<ColumnarValue>;

/// The types that arguments are cast to.
pub(super) type Coerce = fn(&[DataType]) -> Result<Vec<DataType>>;

/// A function whose values `invoke` computes. It becomes no other expression when a plan is simplified.
pub(super) fn wrapped(inner: Arc<ScalarUDF>, invoke: Invoke) -> Arc<ScalarUDF> {
    let signature = inner.signature().clone();
    Arc::new(ScalarUDF::from(Wrapped { inner, signature, coerce: None, invoke }))
}

/// A [`wrapped`] function that takes other types than DataFusion's.
pub(super) fn wrapped_with_types(
    inner: Arc<ScalarUDF>,
    coerce: Coerce,
    invoke: Invoke,
) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Wrapped { inner, signature, coerce: Some(coerce), invoke }))
}

/// Returns true for a function of this module.
pub(super) fn is_wrapped(function: &ScalarUDF) -> bool {
    function.inner().is::<Wrapped>()
}

/// The value of a call from its value for an array: a scalar argument is an array of one row.
pub(super) fn over_array(
    argument: &ColumnarValue,
    values_of: impl FnOnce(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    Ok(match argument {
        ColumnarValue::Array(values) => ColumnarValue::Array(values_of(values)?),
        ColumnarValue::Scalar(value) => {
            let values = values_of(&value.to_array()?)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        }
    })
}

/// The value of a call whose arguments are all columns: a constant is one of equal rows.
pub(super) fn over_columns(
    inner: &ScalarUDF,
    mut args: ScalarFunctionArgs,
) -> Result<ColumnarValue> {
    let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    if is_constant {
        args.number_rows = 1;
    }
    for arg in &mut args.args {
        *arg = ColumnarValue::Array(arg.to_array(args.number_rows)?);
    }
    Ok(match inner.invoke_with_args(args)? {
        ColumnarValue::Array(values) if is_constant => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        }
        value => value,
    })
}

#[derive(Debug)]
struct Wrapped {
    inner: Arc<ScalarUDF>,
    signature: Signature,
    coerce: Option<Coerce>,
    invoke: Invoke,
}

impl PartialEq for Wrapped {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Wrapped {}

impl Hash for Wrapped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Wrapped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.coerce {
            Some(coerce) => coerce(types),
            None => self.inner.inner().coerce_types(types),
        }
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        let (signature, coerce) = (self.signature.clone(), self.coerce);
        Some(ScalarUDF::from(Self { inner, signature, coerce, invoke: self.invoke }))
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.invoke)(&self.inner, args)
    }
}
