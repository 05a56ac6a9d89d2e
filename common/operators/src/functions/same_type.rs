//! Functions of one value whose result has the value's type. The driver alone puts them into plans.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::wrapped::over_array;

/// Name, argument and values of one of these functions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Name by which driver and executors know it.
    pub(super) name: &'static str,
    /// The values it takes, in words: `one float`.
    pub(super) takes: &'static str,
    /// True for the types it takes.
    pub(super) takes_type: fn(&DataType) -> bool,
    /// Result for an array of arguments. It is idempotent: the result is its own result.
    pub(super) apply: fn(&ArrayRef) -> ArrayRef,
}

impl Kind {
    /// The function.
    pub(super) fn function(self) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(SameType { kind: self, signature }))
    }

    /// Returns true if a function is the one of this kind.
    pub(super) fn is_of(self, function: &ScalarUDF) -> bool {
        let found = function.inner().downcast_ref::<SameType>();
        found.is_some_and(|found| found.kind.name == self.name)
    }
}

#[derive(Debug)]
struct SameType {
    kind: Kind,
    signature: Signature,
}

impl PartialEq for SameType {
    fn eq(&self, other: &Self) -> bool {
        self.kind.name == other.kind.name
    }
}

impl Eq for SameType {}

impl Hash for SameType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.name.hash(state);
    }
}

impl ScalarUDFImpl for SameType {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    /// Returns a name with the casts of the argument, which the names of other functions leave out:
    /// keys of one join are told apart by them.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(format!("{}({})", self.kind.name, args.join(",")))
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
            [data_type] if (self.kind.takes_type)(data_type) => Ok(vec![data_type.clone()]),
            other => plan_err!("`{}` takes {}, not {other:?}", self.kind.name, self.kind.takes),
        }
    }

    /// The call of a call is the inner one.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match args.as_slice() {
            [inner @ Expr::ScalarFunction(call)] if self.kind.is_of(&call.func) => {
                Ok(ExprSimplifyResult::Simplified(inner.clone()))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = &args.args[0];
        if args.number_rows == 0 {
            // DataFusion takes an expression for a constant that has one value over no rows: a CASE of columns
            // has one, null.
            return Ok(ColumnarValue::Array(value.to_array(0)?));
        }
        over_array(value, |values| Ok((self.kind.apply)(values)))
    }
}
