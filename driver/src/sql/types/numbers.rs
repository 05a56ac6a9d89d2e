//! Decimals that meet floats: compared, and put into one column, as `DOUBLE`.
//!
//! DataFusion converts floats to decimals with 15 digits after the point: `1e-16` becomes zero, and NaN is an error.
//! Here the decimal becomes a `DOUBLE`, as in PostgreSQL and Spark.
//!
//! DataFusion reads a number with a point as a float. Beside a decimal it is a decimal here, the one that is written,
//! so that a column is compared as it is:
//!
//! ```text
//! double > decimal              double > cast(decimal as double)
//! decimal > 0.05                decimal > Decimal128(5, 2, 2)
//! decimal < 0.06 + 0.01         decimal < Decimal128(7, 2, 2), though the sum of the floats is less
//! decimal > 1e300               cast(decimal as double) > 1e300
//! ```

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, cast, lit};

use super::operands::Meeting;

/// Digits that arithmetic on floats leaves right.
const RIGHT_DIGITS: usize = 15;

/// Casts operands to one kind of number. Returns true if they had two.
pub(super) fn meet(meeting: Meeting, operands: &mut [&mut Expr], types: &[DataType]) -> bool {
    if meeting == Meeting::Subtracted || !are_mixed(types) {
        return false;
    }
    let written: Option<Vec<(usize, ScalarValue)>> = (0..)
        .zip(operands.iter())
        .filter(|(at, _): &(usize, _)| types[*at].is_floating())
        .map(|(at, operand)| Some((at, as_written(operand)?)))
        .collect();
    if let Some(written) = written.filter(|written| fit_together(types, written)) {
        written.into_iter().for_each(|(at, value)| *operands[at] = lit(value));
        return true;
    }
    let decimals = operands.iter_mut().zip(types).filter(|(_, of)| of.is_decimal());
    decimals.for_each(|(operand, _)| **operand = as_double(std::mem::take(*operand)));
    true
}

fn as_double(expr: Expr) -> Expr {
    cast(expr, DataType::Float64)
}

/// The decimal that a number is written as, if a decimal has so many digits.
fn as_written(expr: &Expr) -> Option<ScalarValue> {
    let text = match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => format!("{value:e}"),
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => format!("{value:e}"),
        expr => format!("{:.*e}", RIGHT_DIGITS - 1, computed(expr)?),
    };
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = i32::try_from(fraction.len()).ok()? - exponent.parse::<i32>().ok()?;
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    let units = units.checked_mul(10_i128.checked_pow(u32::try_from(-scale).unwrap_or(0))?)?;
    let scale = u8::try_from(scale.max(0)).ok()?;
    let digits = u8::try_from(units.unsigned_abs().to_string().len()).ok()?;
    let precision = digits.max(scale);
    let fits = precision <= DECIMAL128_MAX_PRECISION;
    fits.then_some(ScalarValue::Decimal128(Some(units), precision, scale as i8))
}

/// The value of arithmetic on written numbers, `0.06 + 0.01`; none of integers alone, which is not that of floats.
fn computed(expr: &Expr) -> Option<f64> {
    let operand = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value as f64),
        expr => computed(expr),
    };
    match expr {
        Expr::Literal(ScalarValue::Float64(value), _) => *value,
        Expr::Negative(inner) => Some(-computed(inner)?),
        Expr::BinaryExpr(binary) => {
            let is_integer = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.data_type().is_integer());
            if is_integer(&binary.left) && is_integer(&binary.right) {
                return None;
            }
            let (left, right) = (operand(&binary.left)?, operand(&binary.right)?);
            match binary.op {
                Operator::Plus => Some(left + right),
                Operator::Minus => Some(left - right),
                Operator::Multiply => Some(left * right),
                Operator::Divide => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns true if one type of decimals has all the digits of these ones, before and after the point.
fn fit_together(types: &[DataType], written: &[(usize, ScalarValue)]) -> bool {
    let written = written.iter().map(|(_, value)| value.data_type());
    let (mut whole, mut fraction, mut limit) = (0_i32, 0_i32, DECIMAL128_MAX_PRECISION);
    for of in types.iter().cloned().chain(written) {
        let (precision, scale) = match of {
            DataType::Decimal256(precision, scale) => {
                limit = DECIMAL256_MAX_PRECISION;
                (precision, scale)
            }
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => (precision, scale),
            _ => continue,
        };
        whole = whole.max(i32::from(precision) - i32::from(scale));
        fraction = fraction.max(i32::from(scale));
    }
    whole + fraction <= i32::from(limit)
}

fn are_mixed(types: &[DataType]) -> bool {
    types.iter().any(DataType::is_decimal) && types.iter().any(DataType::is_floating)
}
