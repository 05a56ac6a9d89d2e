//! Arithmetic on integers and decimals that never answers with a wrapped number.
//!
//! `checked_*` stand for the operators in the plans of the driver and fail; `try_*` give null and
//! are for users. A batch is computed by Arrow's checked kernels. Only when one refuses is the batch
//! looked at row by row: to name the values, or to find which rows are null.
//!
//! They are functions, not `BinaryExpr::with_fail_on_overflow`: that flag exists on physical
//! expressions only, so that constants would be folded without it, and it says nothing about the
//! precision of decimals.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Datum, Scalar};
use datafusion::arrow::compute::kernels::{cmp, numeric};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options, nullif};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::interval_arithmetic::{Interval, apply_operator};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::decimal::{has_its_precision, narrow_product};
use super::overflow::{by_zero, does_not_fit};
use super::quotients::quotients;

/// An operation of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
    /// `a * b`.
    Multiply,
    /// `a / b`.
    Divide,
    /// `a % b`.
    Modulo,
    /// `-a`.
    Negate,
}

/// Every operation, with its checked function and the one that gives null.
const OPERATIONS: [(Operation, &str, &str); 6] = [
    (Operation::Add, "checked_add", "try_add"),
    (Operation::Subtract, "checked_subtract", "try_subtract"),
    (Operation::Multiply, "checked_multiply", "try_multiply"),
    (Operation::Divide, "checked_divide", "try_divide"),
    (Operation::Modulo, "checked_mod", "try_mod"),
    (Operation::Negate, "checked_negate", "try_negate"),
];

impl Operation {
    /// The operation of an SQL operator.
    pub fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Plus => Self::Add,
            Operator::Minus => Self::Subtract,
            Operator::Multiply => Self::Multiply,
            Operator::Divide => Self::Divide,
            Operator::Modulo => Self::Modulo,
            _ => return None,
        })
    }

    /// The SQL operator; none for the unary minus.
    fn operator(self) -> Option<Operator> {
        Some(match self {
            Self::Add => Operator::Plus,
            Self::Subtract => Operator::Minus,
            Self::Multiply => Operator::Multiply,
            Self::Divide => Operator::Divide,
            Self::Modulo => Operator::Modulo,
            Self::Negate => return None,
        })
    }

    fn names(self) -> (&'static str, &'static str) {
        let found = OPERATIONS.into_iter().find(|(operation, ..)| *operation == self);
        let (_, checked, lenient) = found.expect("every operation is listed");
        (checked, lenient)
    }

    fn kernel(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Add => numeric::add(left, right),
            Self::Subtract => numeric::sub(left, right),
            Self::Multiply => match narrow_product(left, right) {
                Some(product) => Ok(product),
                None => numeric::mul(left, right),
            },
            Self::Divide => match quotients(left, right) {
                Some(quotients) => quotients,
                None => numeric::div(left, right),
            },
            Self::Modulo => numeric::rem(left, right),
            Self::Negate => numeric::neg(right.get().0),
        }
    }

    /// `3 + 4`, from the texts of its operands.
    fn text(self, operands: &[String]) -> String {
        match (self.operator(), operands) {
            (Some(operator), [left, right]) => format!("{left} {operator} {right}"),
            (_, operands) => match operands.concat() {
                operand if operand.starts_with('-') => format!("-({operand})"),
                operand => format!("-{operand}"),
            },
        }
    }
}

/// Every function of this module.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let both = |(operation, _, _): (Operation, _, _)| {
        [function(operation, false), function(operation, true)]
    };
    OPERATIONS.into_iter().flat_map(both).collect()
}

/// The function of an operation. A lenient one gives null where the other fails.
pub fn function(operation: Operation, is_lenient: bool) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Arithmetic { operation, is_lenient, signature }))
}

/// Returns true if a function is one of these that fails.
pub fn can_fail(function: &ScalarUDF) -> bool {
    Arithmetic::of(function).is_some_and(|arithmetic| !arithmetic.is_lenient)
}

/// The operator that a function is the lenient form of: `+` for `try_add`.
pub fn tried(function: &ScalarUDF) -> Option<Operator> {
    let lenient = Arithmetic::of(function).filter(|arithmetic| arithmetic.is_lenient);
    lenient.and_then(|arithmetic| arithmetic.operation.operator())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operation: Operation,
    is_lenient: bool,
    signature: Signature,
}

impl Arithmetic {
    fn of(function: &ScalarUDF) -> Option<&Self> {
        function.inner().downcast_ref()
    }

    /// The operands of a function that stands for an operator between them.
    fn checked_operands<'a>(&self, args: &'a [Expr]) -> Option<(Operator, &'a Expr, &'a Expr)> {
        match (self.operation.operator(), args) {
            (Some(operator), [left, right]) if !self.is_lenient => Some((operator, left, right)),
            _ => None,
        }
    }

    fn result_type(&self, operands: &[DataType]) -> Result<DataType> {
        match (self.operation.operator(), operands) {
            (Some(operator), [left, right]) => {
                BinaryTypeCoercer::new(left, &operator, right).get_result_type()
            }
            (None, [operand]) => Ok(operand.clone()),
            (_, operands) => plan_err!("`{}` does not take {} values", self.name(), operands.len()),
        }
    }

    /// The results of a batch, all of which fit.
    fn evaluate(&self, operands: &[ColumnarValue], to: &DataType) -> Result<ColumnarValue> {
        let (left, right) = (&operands[0], &operands[operands.len() - 1]);
        let by_zero_is_null =
            self.is_lenient && matches!(self.operation, Operation::Divide | Operation::Modulo);
        let divisor = by_zero_is_null.then(|| without_zeros(right)).transpose()?;
        let right = divisor.as_ref().unwrap_or(right);
        match apply(left, right, |left, right| self.operation.kernel(left, right)) {
            Ok(value) if fits(&value) => Ok(value),
            Err(error) if !matches!(to, DataType::Decimal128(..)) => Err(error),
            Ok(_) if !matches!(to, DataType::Decimal128(..)) => {
                let message = format!("more digits than {to} has");
                Err(ArrowError::ArithmeticOverflow(message).into())
            }
            _ => self.evaluate_wide(&[left.clone(), right.clone()], to),
        }
    }

    /// The results of decimals by 256 bits: Arrow scales operands up, which may not fit 128 bits
    /// although the result does.
    fn evaluate_wide(&self, operands: &[ColumnarValue], to: &DataType) -> Result<ColumnarValue> {
        let operands = ColumnarValue::values_to_arrays(operands)?;
        let wide = operands.iter().map(|operand| match operand.data_type() {
            DataType::Decimal128(precision, scale) => {
                cast(operand, &DataType::Decimal256(*precision, *scale))
            }
            _ => Ok(Arc::clone(operand)),
        });
        let wide = wide.collect::<Result<Vec<_>, _>>()?;
        let result = self.operation.kernel(&wide[0], &wide[1])?;
        let exactly = CastOptions { safe: false, ..CastOptions::default() };
        Ok(ColumnarValue::Array(cast_with_options(&result, to, &exactly)?))
    }

    /// The batch again, a row at a time.
    fn row_by_row(&self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = args.return_field.data_type();
        let operands = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = operands.first().map_or(0, |operand| operand.len());
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let cells: Vec<ArrayRef> =
                operands.iter().map(|operand| operand.slice(row, 1)).collect();
            let arguments: Vec<_> = cells.iter().cloned().map(ColumnarValue::Array).collect();
            values.push(match self.evaluate(&arguments, data_type) {
                Ok(value) => ScalarValue::try_from_array(&value.into_array(1)?, 0)?,
                Err(_) if self.is_lenient => ScalarValue::try_new_null(data_type)?,
                Err(_) => return Err(self.failure(&cells, args)?),
            });
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }

    fn failure(
        &self,
        cells: &[ArrayRef],
        args: &ScalarFunctionArgs,
    ) -> Result<datafusion::common::DataFusionError> {
        let texts = cells.iter().map(|cell| array_value_to_string(cell, 0));
        let value = self.operation.text(&texts.collect::<Result<Vec<_>, _>>()?);
        let divisor = ScalarValue::try_from_array(&cells[cells.len() - 1], 0)?;
        let divides = matches!(self.operation, Operation::Divide | Operation::Modulo);
        let (expression, instead) = (args.return_field.name(), self.operation.names().1);
        if divides && divisor == ScalarValue::new_zero(&divisor.data_type())? {
            return Ok(by_zero(&value, expression, instead));
        }
        Ok(does_not_fit(&value, args.return_field.data_type(), expression, instead))
    }
}

fn joined_backwards(terms: &[String]) -> String {
    terms.iter().rev().map(String::as_str).collect()
}

fn without_zeros(divisor: &ColumnarValue) -> Result<ColumnarValue> {
    let divisors = ColumnarValue::values_to_arrays(std::slice::from_ref(divisor))?.remove(0);
    let zero = Scalar::new(ScalarValue::new_zero(divisors.data_type())?.to_array()?);
    let divisors = nullif(&divisors, &cmp::eq(&divisors, &zero)?)?;
    Ok(match divisor {
        ColumnarValue::Array(_) => ColumnarValue::Array(divisors),
        ColumnarValue::Scalar(_) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&divisors, 0)?)
        }
    })
}

fn fits(value: &ColumnarValue) -> bool {
    match value {
        ColumnarValue::Array(values) => has_its_precision(values),
        ColumnarValue::Scalar(value) => {
            value.to_array().is_ok_and(|value| has_its_precision(&value))
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        let (checked, lenient) = self.operation.names();
        if self.is_lenient { lenient } else { checked }
    }

    /// Returns the name of the operator it stands for: a rewritten plan has the columns of the plan
    /// as typed.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let (mut function, mut args) = (self, args);
        // A chain is as deep as it is long: its terms are gathered once, from the last one.
        let mut terms = Vec::new();
        while let Some((operator, left, right)) = function.checked_operands(args) {
            terms.push(format!(" {operator} {}", right.schema_name()));
            match left {
                Expr::ScalarFunction(call) if let Some(inner) = Self::of(&call.func) => {
                    (function, args) = (inner, &call.args);
                }
                left => {
                    terms.push(left.schema_name().to_string());
                    return Ok(joined_backwards(&terms));
                }
            }
        }
        let names = args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>();
        terms.push(match function.is_lenient {
            true => format!("{}({})", function.name(), names.join(",")),
            false => function.operation.text(&names),
        });
        Ok(joined_backwards(&terms))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        self.result_type(operands)
    }

    /// The field's name is the expression's text, for the error.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let constants = args.scalar_arguments.iter();
        let texts = args.arg_fields.iter().zip(constants).map(|(field, constant)| match constant {
            Some(value) => value.to_string(),
            None if field.name().contains(' ') => format!("({})", field.name()),
            None => field.name().clone(),
        });
        let text = self.operation.text(&texts.collect::<Vec<_>>());
        let is_nullable =
            self.is_lenient || args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(text, self.result_type(&types)?, is_nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.evaluate(&args.args, args.return_field.data_type()) {
            Ok(value) => Ok(value),
            Err(_) => self.row_by_row(&args),
        }
    }

    fn coerce_types(&self, operands: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = match (self.operation.operator(), operands) {
            (Some(operator), [left, right]) => {
                let (left, right) =
                    BinaryTypeCoercer::new(left, &operator, right).get_input_types()?;
                vec![left, right]
            }
            (None, [operand]) => vec![operand.clone()],
            (Some(_), _) => return plan_err!("`{}` takes two numbers", self.name()),
            (None, _) => return plan_err!("`{}` takes one number", self.name()),
        };
        match coerced.iter().find(|operand| !operand.is_numeric()) {
            Some(other) => plan_err!("`{}` takes numbers, not {other}", self.name()),
            None => Ok(coerced),
        }
    }

    fn evaluate_bounds(&self, operands: &[&Interval]) -> Result<Interval> {
        let bounds = match (self.operation.operator(), operands) {
            // DataFusion's do not round.
            (Some(Operator::Divide), [left, _]) if left.data_type().is_decimal() => None,
            (Some(operator), [left, right]) => apply_operator(&operator, left, right).ok(),
            _ => None,
        };
        match bounds {
            Some(bounds) => Ok(bounds),
            None => Interval::make_unbounded(
                &operands.first().map_or(DataType::Null, |operand| operand.data_type()),
            ),
        }
    }

    /// Sums of what is sorted are sorted, since none of them wraps.
    fn output_ordering(&self, operands: &[ExprProperties]) -> Result<SortProperties> {
        Ok(match (self.operation, self.is_lenient, operands) {
            (Operation::Add, false, [left, right]) => {
                left.sort_properties.add(&right.sort_properties)
            }
            (Operation::Subtract, false, [left, right]) => {
                left.sort_properties.sub(&right.sort_properties)
            }
            _ => SortProperties::Unordered,
        })
    }
}
