//! Scalar functions.

use super::{Evaluated, Fault, Oracle, Scope, Stop, arithmetic};
use crate::calendar::{self, DAY_NS, SECOND_NS};
use crate::tree::{Call, Expr};
use crate::types::Type;
use crate::value::Value;

impl Oracle<'_> {
    pub(crate) fn call(
        &mut self,
        call: Call,
        arguments: &[Expr],
        of: &Type,
        scope: &Scope<'_>,
    ) -> Evaluated<Value> {
        if call == Call::Coalesce {
            for argument in arguments {
                let value = self.expr(argument, scope)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        let values: Evaluated<Vec<Value>> =
            arguments.iter().map(|argument| self.expr(argument, scope)).collect();
        let values = values?;
        match call {
            Call::Greatest | Call::Least => Ok(extreme(&values, call == Call::Greatest)),
            Call::NullIf if super::equal(&values[0], &values[1]) == Some(true) => Ok(Value::Null),
            Call::NullIf => Ok(values[0].clone()),
            Call::ToTimestamp => self.to_timestamp(&values[0]),
            _ if values.iter().any(Value::is_null) => Ok(Value::Null),
            Call::Abs => abs(&values[0], of),
            Call::ArrayLength | Call::Element => list(call, &values),
            Call::Year | Call::Month | Call::Day | Call::Hour => part(call, &values[0]),
            Call::TruncateToMonth | Call::TruncateToDay => truncate(call, &values[0]),
            Call::AddDays => add_days(&values[0], &values[1]),
            _ => text(call, &values),
        }
    }

    /// A text without a zone is a time in the session's zone.
    fn to_timestamp(&self, value: &Value) -> Evaluated<Value> {
        let Value::Text(text) = value else { return Ok(Value::Null) };
        let Some((date, time)) = text.split_once('T') else {
            return Err(Stop::NotCovered("this text of a time"));
        };
        let days = calendar::parse_date(date).ok_or(Stop::Fault(Fault::Cast))?;
        let parts: Vec<i64> = time.split(':').filter_map(|part| part.parse().ok()).collect();
        let [hour, minute, second] = parts[..] else {
            return Err(Stop::NotCovered("this text of a time"));
        };
        let zone = i64::from(self.settings.zone_minutes) * 60;
        let seconds = hour * 3600 + minute * 60 + second - zone;
        Ok(Value::Timestamp(days * DAY_NS + seconds * SECOND_NS))
    }
}

/// The greatest or least value that is not null.
fn extreme(values: &[Value], greatest: bool) -> Value {
    let known = values.iter().filter(|value| !value.is_null());
    let found = if greatest {
        known.max_by(|left, right| left.compare(right))
    } else {
        known.min_by(|left, right| left.compare(right))
    };
    found.cloned().unwrap_or(Value::Null)
}

fn abs(value: &Value, of: &Type) -> Evaluated<Value> {
    match value {
        Value::Int(number) => arithmetic::in_range(number.checked_abs(), of),
        Value::Float(number) => Ok(Value::Float(number.abs())),
        Value::Decimal(units, scale) => Ok(Value::Decimal(units.abs(), *scale)),
        _ => Err(Stop::NotCovered("abs of this type")),
    }
}

fn text(call: Call, values: &[Value]) -> Evaluated<Value> {
    let Value::Text(text) = &values[0] else {
        return Err(Stop::NotCovered("a function of this type"));
    };
    let argument = |at: usize| match &values[at] {
        Value::Text(text) => text.to_string(),
        other => other.plain(),
    };
    Ok(match call {
        Call::Length => Value::Int(text.chars().count() as i128),
        Call::Upper => Value::text(&text.to_uppercase()),
        Call::Lower => Value::text(&text.to_lowercase()),
        Call::Reverse => Value::text(&text.chars().rev().collect::<String>()),
        Call::Concat => Value::text(&format!("{text}{}", argument(1))),
        Call::Replace => Value::text(&text.replace(&argument(1), &argument(2))),
        Call::Substr => match (&values[1], &values[2]) {
            (Value::Int(first), Value::Int(count)) if *first >= 1 && *count >= 0 => {
                let (first, count) = (*first as usize - 1, *count as usize);
                Value::text(&text.chars().skip(first).take(count).collect::<String>())
            }
            _ => return Err(Stop::NotCovered("this substr")),
        },
        _ => return Err(Stop::NotCovered("this function")),
    })
}

fn list(call: Call, values: &[Value]) -> Evaluated<Value> {
    let Value::List(list) = &values[0] else { return Ok(Value::Null) };
    match (call, values.get(1)) {
        // As in PostgreSQL: an empty list has no dimension.
        (Call::ArrayLength, _) if list.is_empty() => {
            Err(Stop::NotCovered("an empty list's length"))
        }
        (Call::ArrayLength, _) => Ok(Value::Int(list.len() as i128)),
        (_, Some(Value::Int(at))) if *at >= 1 => {
            Ok(list.get(*at as usize - 1).cloned().unwrap_or(Value::Null))
        }
        _ => Err(Stop::NotCovered("this element")),
    }
}

fn part(call: Call, value: &Value) -> Evaluated<Value> {
    let (days, of_day) = match value {
        Value::Date(days) => (*days, 0),
        Value::Timestamp(ns) => (ns.div_euclid(DAY_NS), ns.rem_euclid(DAY_NS)),
        _ => return Err(Stop::NotCovered("a part of this type")),
    };
    let (year, month, day) = calendar::civil(days);
    let part = match call {
        Call::Year => year,
        Call::Month => month,
        Call::Day => day,
        _ => of_day / SECOND_NS / 3600,
    };
    Ok(Value::Int(part.into()))
}

fn truncate(call: Call, value: &Value) -> Evaluated<Value> {
    let Value::Timestamp(ns) = value else {
        return Err(Stop::NotCovered("truncation of this type"));
    };
    let day = ns.div_euclid(DAY_NS);
    let (_, _, of_month) = calendar::civil(day);
    let day = if call == Call::TruncateToMonth { day - (of_month - 1) } else { day };
    Ok(Value::Timestamp(day * DAY_NS))
}

fn add_days(value: &Value, days: &Value) -> Evaluated<Value> {
    match (value, days) {
        (Value::Date(date), Value::Int(days)) => Ok(Value::Date(date + *days as i64)),
        (Value::Timestamp(ns), Value::Int(days)) => {
            let sum = ns.checked_add(*days as i64 * DAY_NS);
            sum.map(Value::Timestamp).ok_or(Stop::Fault(Fault::Overflow))
        }
        _ => Err(Stop::NotCovered("an interval and this type")),
    }
}
