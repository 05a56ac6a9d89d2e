//! Casts: a value that the target does not have is an error.

use super::arithmetic::{decimal_in_range, in_range};
use super::{Evaluated, Fault, Stop};
use crate::calendar::{self, DAY_NS};
use crate::types::Type;
use crate::value::Value;

const FAILS: Stop = Stop::Fault(Fault::Cast);

/// The value as the target type.
pub(crate) fn cast(value: &Value, to: &Type) -> Evaluated<Value> {
    let cast = match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Text(text), _) => from_text(text, to),
        (_, Type::Text) => to_text(value),
        (Value::Int(number), Type::Int { .. }) => in_range(Some(*number), to),
        (Value::Bool(truth), Type::Int { .. }) => Ok(Value::Int(i128::from(*truth))),
        (Value::Int(number), Type::Bool) => Ok(Value::Bool(*number != 0)),
        (Value::Int(number), Type::F64) => Ok(Value::Float(*number as f64)),
        (Value::Int(number), Type::Decimal(precision, scale)) => {
            let units = number.checked_mul(10_i128.pow(u32::from(*scale)));
            decimal_in_range(units, *precision, *scale)
        }
        (Value::Float(number), Type::F64) => Ok(Value::Float(*number)),
        (Value::Float(number), Type::Int { .. }) => {
            let whole = number.trunc();
            let exact = (whole.abs() < 1e18).then_some(whole as i128);
            in_range(exact, to)
        }
        (Value::Decimal(units, scale), Type::Decimal(precision, to_scale)) => {
            decimal_in_range(rounded(*units, *scale, *to_scale), *precision, *to_scale)
        }
        (Value::Decimal(units, scale), Type::Int { .. }) => {
            in_range(Some(units / 10_i128.pow(u32::from(*scale))), to)
        }
        (Value::Decimal(units, scale), Type::F64) => {
            Ok(Value::Float(*units as f64 / 10_f64.powi(i32::from(*scale))))
        }
        (Value::Date(days), Type::Timestamp) => {
            days.checked_mul(DAY_NS).map(Value::Timestamp).ok_or(FAILS)
        }
        (Value::Timestamp(ns), Type::Date) => Ok(Value::Date(ns.div_euclid(DAY_NS))),
        (Value::Date(_), Type::Date) | (Value::Timestamp(_), Type::Timestamp) => Ok(value.clone()),
        _ => Err(Stop::NotCovered("this cast")),
    };
    match cast {
        Err(Stop::Fault(_)) => Err(FAILS),
        cast => cast,
    }
}

/// Digits beyond the scale are rounded, half away from zero.
fn rounded(units: i128, scale: u8, to: u8) -> Option<i128> {
    if to >= scale {
        return units.checked_mul(10_i128.checked_pow(u32::from(to - scale))?);
    }
    let divisor = 10_i128.pow(u32::from(scale - to));
    let (quotient, rest) = (units / divisor, units % divisor);
    Some(if rest.abs() * 2 >= divisor { quotient + units.signum() } else { quotient })
}

fn from_text(text: &str, to: &Type) -> Evaluated<Value> {
    match to {
        Type::Text => Ok(Value::text(text)),
        Type::Int { .. } => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            in_range(text.parse().ok().filter(|_| is_number), to)
        }
        Type::Date => calendar::parse_date(text).map(Value::Date).ok_or(FAILS),
        _ => Err(Stop::NotCovered("this cast of text")),
    }
}

fn to_text(value: &Value) -> Evaluated<Value> {
    match value {
        Value::Bool(_) | Value::Int(_) | Value::Date(_) | Value::Decimal(..) => {
            Ok(Value::text(&value.plain()))
        }
        _ => Err(Stop::NotCovered("this cast to text")),
    }
}
