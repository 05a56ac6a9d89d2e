//! Arithmetic by the ANSI rules: a result that its type does not have is an error. Floats are IEEE.

use super::{Evaluated, Fault, Stop};
use crate::types::Type;
use crate::value::Value;

/// The zero of a numeric type.
pub(crate) fn zero(of: &Type) -> Value {
    match of {
        Type::F32 | Type::F64 => Value::Float(0.0),
        Type::Decimal(_, scale) => Value::Decimal(0, *scale),
        _ => Value::Int(0),
    }
}

/// The result of an operator, of this type.
pub(crate) fn arithmetic(
    operator: &str,
    left: &Value,
    right: &Value,
    of: &Type,
) -> Evaluated<Value> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::Int(left), Value::Int(right)) => int(operator, *left, *right, of),
        (Value::Float(left), Value::Float(right)) => {
            let result = match operator {
                "+" => left + right,
                "-" => left - right,
                "*" => left * right,
                "/" => left / right,
                _ => left % right,
            };
            Ok(Value::Float(if *of == Type::F32 { f64::from(result as f32) } else { result }))
        }
        _ => decimal(operator, left, right, of),
    }
}

fn int(operator: &str, left: i128, right: i128, of: &Type) -> Evaluated<Value> {
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        _ if right == 0 => return Err(Stop::Fault(Fault::DivisionByZero)),
        "/" => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    in_range(result, of)
}

/// An integer, if its type has it.
pub(crate) fn in_range(number: Option<i128>, of: &Type) -> Evaluated<Value> {
    let (least, greatest) = of.int_range().ok_or(Stop::NotCovered("arithmetic of this type"))?;
    match number {
        Some(number) if (least..=greatest).contains(&number) => Ok(Value::Int(number)),
        _ => Err(Stop::Fault(Fault::Overflow)),
    }
}

fn decimal(operator: &str, left: &Value, right: &Value, of: &Type) -> Evaluated<Value> {
    let (Type::Decimal(precision, scale), Some(left), Some(right)) =
        (of, units(left), units(right))
    else {
        return Err(Stop::NotCovered("arithmetic of this type"));
    };
    let result = match operator {
        "+" | "-" => {
            let (left, right) = (rescaled(left, *scale), rescaled(right, *scale));
            let right = right
                .and_then(|right| if operator == "-" { right.checked_neg() } else { Some(right) });
            left.zip(right).and_then(|(left, right)| left.checked_add(right))
        }
        "*" => left.0.checked_mul(right.0),
        _ => return Err(Stop::NotCovered("division of decimals")),
    };
    decimal_in_range(result, *precision, *scale)
}

fn units(value: &Value) -> Option<(i128, u8)> {
    match value {
        Value::Int(number) => Some((*number, 0)),
        Value::Decimal(units, scale) => Some((*units, *scale)),
        _ => None,
    }
}

fn rescaled((units, scale): (i128, u8), to: u8) -> Option<i128> {
    units.checked_mul(10_i128.checked_pow(u32::from(to.checked_sub(scale)?))?)
}

/// A decimal, if its precision allows it.
pub(crate) fn decimal_in_range(units: Option<i128>, precision: u8, scale: u8) -> Evaluated<Value> {
    match units {
        Some(units) if units.unsigned_abs() < 10_u128.pow(u32::from(precision)) => {
            Ok(Value::Decimal(units, scale))
        }
        _ => Err(Stop::Fault(Fault::Overflow)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_an_error() {
        let max = Value::Int(i128::from(i64::MAX));
        let sum = arithmetic("+", &max, &Value::Int(1), &Type::I64);
        assert!(matches!(sum, Err(Stop::Fault(Fault::Overflow))));
        let quotient = arithmetic("/", &max, &Value::Int(0), &Type::I64);
        assert!(matches!(quotient, Err(Stop::Fault(Fault::DivisionByZero))));
        let product = arithmetic(
            "*",
            &Value::Decimal(150, 2),
            &Value::Decimal(-25, 1),
            &Type::Decimal(16, 3),
        );
        assert!(product.is_ok_and(|product| product.same(&Value::Decimal(-3750, 3))));
    }
}
