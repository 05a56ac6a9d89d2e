//! Decimals that meet floats: compared, put into one column, and in arithmetic, as `DOUBLE`.
//!
//! DataFusion converts floats that are compared or put into one column to decimals with 15 digits after the point:
//! `1e-16` becomes zero, and NaN is an error. Here the decimal becomes a `DOUBLE`, as in PostgreSQL and Spark.
//!
//! DataFusion reads a number with a point as a float. Beside a decimal it is a decimal here, the one that is written,
//! so that a column is compared as it is, and what is calculated from it is exact:
//!
//! ```text
//! double > decimal              double > cast(decimal as double)
//! decimal > 0.05                decimal > Decimal128(5, 2, 2)
//! decimal < 0.06 + 0.01         decimal < Decimal128(7, 2, 2), though the sum of the floats is less
//! decimal > 1e300               cast(decimal as double) > 1e300
//! decimal * 1.1                 decimal * Decimal128(11, 2, 1)
//! decimal * 1e-40               cast(decimal as double) * 1e-40
//! decimal / 3.0                 cast(decimal as double) / 3.0, which has more digits
//! ```
//!
//! A quotient of decimals has four digits more behind the point than its dividend, which gets two: as in Spark, six
//! are the least.
//!
//! DataFusion reads a text that is compared with a decimal as a decimal of the same type, so that 1.50 is equal to
//! '1.499'. Here a text that is written is the decimal with its digits, and others are floats, as in Spark.

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{Expr, Operator, cast, lit};

use super::operands::Meeting;

/// Digits of a written number in arithmetic, at most: with more, few are left for the other one.
const FACTOR_DIGITS_MAX: u8 = 18;
/// Digits of an integer, at most.
const INTEGER_DIGITS: u8 = 20;
/// Digits that arithmetic on floats leaves right.
const RIGHT_DIGITS: usize = 15;

/// Casts operands to one kind of number. Returns true if they had two.
pub(super) fn meet(meeting: Meeting, operands: &mut [&mut Expr], types: &[DataType]) -> bool {
    let mut types = types.to_vec();
    let has_texts = read_texts(meeting, operands, &mut types);
    meet_as_numbers(operands, &types)
        || meeting == Meeting::Compared && meet_wide(operands, &types)
        || has_texts
}

/// Gives numbers that are compared a type with room for all of their digits, where DataFusion has none. Returns true if
/// it did.
fn meet_wide(operands: &mut [&mut Expr], types: &[DataType]) -> bool {
    let Some(wide) = wide(types) else { return false };
    for (operand, of) in operands.iter_mut().zip(types) {
        if *of != wide && !of.is_null() {
            **operand = cast(std::mem::take(*operand), wide.clone());
        }
    }
    true
}

/// The type that DataFusion does not find for numbers: decimals and integers of more than 38 digits together are
/// refused at the first value that does not fit, and large integers are rounded beside a `REAL`.
fn wide(types: &[DataType]) -> Option<DataType> {
    let is_number = |of: &DataType| of.is_numeric() || of.is_null();
    if !types.iter().all(is_number) {
        return None;
    }
    if types.iter().any(|of| of.is_decimal()) {
        let (mut whole, mut fraction) = (0, 0);
        for of in types.iter().filter(|of| !of.is_null()) {
            let (of_whole, of_fraction) = digits_of(of)?;
            (whole, fraction) = (whole.max(of_whole), fraction.max(of_fraction));
        }
        let precision = whole + fraction;
        let is_wide = precision > DECIMAL128_MAX_PRECISION && precision <= DECIMAL256_MAX_PRECISION;
        return is_wide.then_some(DataType::Decimal256(precision, fraction as i8));
    }
    let is_large = |of: &DataType| of.is_integer() && of.primitive_width() > Some(2);
    let has = |of: DataType| types.contains(&of);
    let rounds = has(DataType::Float32) && !has(DataType::Float64) && types.iter().any(is_large);
    rounds.then_some(DataType::Float64)
}

/// Digits before and behind the point.
fn digits_of(number: &DataType) -> Option<(u8, u8)> {
    Some(match number {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let fraction = u8::try_from(*scale).ok()?;
            (precision.checked_sub(fraction)?, fraction)
        }
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        of if of.is_integer() => (INTEGER_DIGITS, 0),
        _ => return None,
    })
}

/// Makes numbers of texts beside decimals, in one column of those that are written. Returns true if there are such.
fn read_texts(meeting: Meeting, operands: &mut [&mut Expr], types: &mut [DataType]) -> bool {
    if !types.iter().any(DataType::is_decimal) {
        return false;
    }
    let mut is_new = false;
    for (operand, of) in operands.iter_mut().zip(types).filter(|(_, of)| of.is_string()) {
        (*of, **operand) = match std::mem::take(*operand) {
            Expr::Literal(text, metadata) => {
                match text.try_as_str().flatten().and_then(number_of) {
                    Some(number) => (number.data_type(), lit(number)),
                    None => (of.clone(), Expr::Literal(text, metadata)),
                }
            }
            column if meeting == Meeting::Compared => (DataType::Float64, as_double(column)),
            column => (of.clone(), column),
        };
        is_new |= !of.is_string();
    }
    is_new
}

/// The decimal that a text is, or the float if no decimal has its digits.
pub(crate) fn number_of(text: &str) -> Option<ScalarValue> {
    let text = text.trim();
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let is_plain = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let decimal = is_plain.then(|| decimal(&format!("{digits}e{exponent}"))).flatten();
    decimal.or_else(|| text.parse().ok().map(|number| ScalarValue::Float64(Some(number))))
}

fn meet_as_numbers(operands: &mut [&mut Expr], types: &[DataType]) -> bool {
    if !are_mixed(types) {
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

/// Makes a written number beside a decimal the decimal that it is, if one has the digits of the result, and gives a
/// dividend its digits. Returns true if it did. What is left DataFusion calculates as floats.
pub(super) fn calculate(
    operator: Operator,
    operands: &mut [&mut Expr; 2],
    types: &[DataType],
) -> bool {
    if operator == Operator::Divide {
        return widen_dividend(operands[0], types);
    }
    let Some(at) = types.iter().position(DataType::is_floating) else { return false };
    if !are_mixed(types) {
        return false;
    }
    let mut of_operands = types.to_vec();
    let written = as_written(operands[at]).filter(|written| {
        of_operands[at] = written.data_type();
        let [left, right] = of_operands.as_slice() else { return false };
        let result = BinaryTypeCoercer::new(left, &operator, right).get_result_type();
        precision_of(&of_operands[at]) <= FACTOR_DIGITS_MAX && result.is_ok()
    });
    match written {
        Some(written) => *operands[at] = lit(written),
        // DataFusion calculates a decimal and a `REAL` as `REAL`.
        None if types[at] != DataType::Float64 => {
            *operands[at] = as_double(std::mem::take(operands[at]));
        }
        None => return false,
    }
    true
}

/// Makes a written number that is cast to a decimal the decimal that it is: 1.005 is 1.01 then, its float a little less
/// than 1.005. Returns true if it did.
pub(super) fn cast_written(expr: &mut Expr, to: &DataType) -> bool {
    let number = as_written(expr).filter(|_| to.is_decimal());
    number.map(|number| *expr = lit(number)).is_some()
}

fn precision_of(decimal: &DataType) -> u8 {
    match decimal {
        DataType::Decimal128(precision, _) => *precision,
        _ => 0,
    }
}

/// Digits behind the point that a quotient has more than its dividend.
const QUOTIENT_SCALE: i8 = 4;
/// Digits behind the point of a dividend, at least.
const DIVIDEND_SCALE_MIN: i8 = 2;

/// Gives a dividend more digits behind the point, if it has few. Returns true if it did.
fn widen_dividend(dividend: &mut Expr, types: &[DataType]) -> bool {
    let [of, divisor] = types else { return false };
    let (precision, scale) = match of {
        DataType::Decimal128(precision, scale) if divisor.is_decimal() || divisor.is_integer() => {
            (*precision, *scale)
        }
        of if of.is_integer() && divisor.is_decimal() => (INTEGER_DIGITS, 0),
        _ => return false,
    };
    let divisor_scale = match divisor {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    let more = (DIVIDEND_SCALE_MIN - scale).max(0);
    // The digits of the quotient.
    let before = i32::from(precision) - i32::from(scale) + i32::from(divisor_scale);
    let behind = i32::from(DIVIDEND_SCALE_MIN + QUOTIENT_SCALE);
    if more == 0 || before + behind > i32::from(DECIMAL128_MAX_PRECISION) {
        return false;
    }
    let wide = DataType::Decimal128(precision + more.unsigned_abs(), DIVIDEND_SCALE_MIN);
    *dividend = cast(std::mem::take(dividend), wide);
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
    decimal(&text)
}

/// The decimal that a text with an exponent is.
fn decimal(text: &str) -> Option<ScalarValue> {
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
