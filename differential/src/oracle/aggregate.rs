//! Aggregates over the rows of a group or of a window frame.

use std::cmp::Ordering;

use super::scope::{Scope, directed};
use super::{Evaluated, Oracle, Stop, arithmetic};
use crate::tree::Aggregate;
use crate::types::Type;
use crate::value::{Row, Value, compare_rows};

impl Oracle<'_> {
    /// An aggregate over the rows of the scope's group.
    pub(crate) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        scope: &Scope<'_>,
    ) -> Evaluated<Value> {
        let group = scope.group.ok_or(Stop::NotCovered("an aggregate outside of a group"))?;
        let mut rows = Vec::new();
        for row in &group.rows {
            let scope = Scope::of(&group.columns, row, scope.outer);
            if let Some(filter) = &aggregate.filter
                && self.truth(filter, &scope)? != Some(true)
            {
                continue;
            }
            let arguments: Evaluated<Row> =
                aggregate.arguments.iter().map(|of| self.expr(of, &scope)).collect();
            let keys: Evaluated<Row> =
                aggregate.order.iter().map(|(key, _)| self.expr(key, &scope)).collect();
            rows.push((keys?, arguments?));
        }
        rows.sort_by(|(left, _), (right, _)| {
            let keys = aggregate
                .order
                .iter()
                .enumerate()
                .map(|(at, (_, direction))| directed(&left[at], &right[at], *direction));
            keys.fold(Ordering::Equal, Ordering::then)
        });
        let mut arguments: Vec<Row> = rows.into_iter().map(|(_, arguments)| arguments).collect();
        if aggregate.distinct {
            keep_first(&mut arguments);
        }
        fold(aggregate.function, &arguments, &aggregate.of)
    }
}

fn keep_first(rows: &mut Vec<Row>) {
    let mut kept: Vec<Row> = Vec::new();
    for row in rows.drain(..) {
        if !kept.iter().any(|other| compare_rows(other, &row).is_eq()) {
            kept.push(row);
        }
    }
    *rows = kept;
}

/// The aggregate of these arguments, in this order.
pub(crate) fn fold(function: &str, rows: &[Row], of: &Type) -> Evaluated<Value> {
    if rows.first().is_none_or(Vec::is_empty) && function == "count" {
        return Ok(Value::Int(rows.len() as i128));
    }
    let all = || rows.iter().map(|row| &row[0]);
    let known: Vec<&Value> = all().filter(|value| !value.is_null()).collect();
    Ok(match function {
        "count" => Value::Int(known.len() as i128),
        "sum" => return sum(&known, of),
        "avg" => return average(&known, of),
        "min" => least(&known).cloned().unwrap_or(Value::Null),
        "max" => greatest(&known).cloned().unwrap_or(Value::Null),
        "bool_and" => folded(&known, |left, right| left && right),
        "bool_or" => folded(&known, |left, right| left || right),
        "first_value" => all().next().cloned().unwrap_or(Value::Null),
        "last_value" => all().next_back().cloned().unwrap_or(Value::Null),
        "array_agg" if rows.is_empty() => Value::Null,
        "array_agg" => Value::List(all().cloned().collect()),
        "string_agg" if known.is_empty() => Value::Null,
        "string_agg" => {
            let texts: Vec<String> = known.iter().map(|value| value.plain()).collect();
            Value::text(&texts.join(&rows[0][1].plain()))
        }
        _ => return Err(Stop::NotCovered("this aggregate")),
    })
}

fn least<'a>(known: &[&'a Value]) -> Option<&'a Value> {
    known.iter().copied().min_by(|left, right| left.compare(right))
}

fn greatest<'a>(known: &[&'a Value]) -> Option<&'a Value> {
    known.iter().copied().max_by(|left, right| left.compare(right))
}

fn folded(known: &[&Value], combine: impl Fn(bool, bool) -> bool) -> Value {
    let truths = known.iter().filter_map(|value| match value {
        Value::Bool(truth) => Some(*truth),
        _ => None,
    });
    truths.reduce(combine).map_or(Value::Null, Value::Bool)
}

/// The exact sum. One that fits, though the sum of its positive or of its negative terms does not,
/// overflows in some orders of the rows.
fn sum(known: &[&Value], of: &Type) -> Evaluated<Value> {
    if known.is_empty() {
        return Ok(Value::Null);
    }
    match of {
        Type::F32 | Type::F64 => Ok(Value::Float(float_sum(known)?)),
        Type::Decimal(precision, scale) => {
            in_any_order(known, |units| arithmetic::decimal_in_range(units, *precision, *scale))
        }
        _ => in_any_order(known, |units| arithmetic::in_range(units, of)),
    }
}

fn in_any_order(
    known: &[&Value],
    in_range: impl Fn(Option<i128>) -> Evaluated<Value>,
) -> Evaluated<Value> {
    let zero = Value::Int(0);
    let of_sign = |order: Ordering| {
        let terms: Vec<&Value> =
            known.iter().copied().filter(|value| value.compare(&zero) == order).collect();
        in_range(exact_sum(&terms))
    };
    let sum = in_range(exact_sum(known))?;
    match (of_sign(Ordering::Greater), of_sign(Ordering::Less)) {
        (Ok(_), Ok(_)) => Ok(sum),
        _ => Err(Stop::Undetermined("a sum that overflows in some orders")),
    }
}

/// The sum, if 128 bits have it. Terms are added so that the sum on the way stays near zero: one that
/// leaves 128 bits only in some order is no overflow.
fn exact_sum(known: &[&Value]) -> Option<i128> {
    let units = known.iter().map(|value| match value {
        Value::Int(units) | Value::Decimal(units, _) => *units,
        _ => 0,
    });
    let (mut below, mut above): (Vec<i128>, Vec<i128>) = units.partition(|units| *units < 0);
    let mut sum = 0_i128;
    while let Some(units) = if sum < 0 {
        above.pop().or_else(|| below.pop())
    } else {
        below.pop().or_else(|| above.pop())
    } {
        sum = sum.checked_add(units)?;
    }
    Some(sum)
}

/// The part of the sum of absolute terms below which rounded terms cancel each other out: what is left of them are the last
/// bits, which the order of the rows decides.
const CANCELLED: f64 = 1e-4;

/// Floats that are multiples of one of this many parts of 1, and stay below this number of parts, are added exactly.
const EXACT_PARTS: f64 = 1024.0;
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The sum of floats, unless nothing but rounding is left of it.
fn float_sum(known: &[&Value]) -> Evaluated<f64> {
    let sum: f64 = floats(known).sum();
    let absolute: f64 = floats(known).map(f64::abs).sum();
    // Quarters and the like add up exactly in any order.
    let is_whole = |number: f64| (number * EXACT_PARTS).fract() == 0.0;
    let is_exact = floats(known).all(is_whole) && absolute * EXACT_PARTS < EXACT_MAX;
    if !is_exact && absolute.is_finite() && sum.abs() < absolute * CANCELLED {
        return Err(Stop::Undetermined("a sum of floats that cancels out"));
    }
    Ok(sum)
}

fn floats<'a>(known: &'a [&Value]) -> impl Iterator<Item = f64> + 'a {
    known.iter().map(|value| match value {
        Value::Float(number) => *number,
        Value::Int(number) => *number as f64,
        _ => 0.0,
    })
}

fn average(known: &[&Value], of: &Type) -> Evaluated<Value> {
    if known.is_empty() {
        return Ok(Value::Null);
    }
    match (of, known[0]) {
        (Type::Decimal(..), _) => Err(Stop::NotCovered("an average of decimals")),
        _ => Ok(Value::Float(float_sum(known)? / known.len() as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_rounded_floats_that_cancel_is_not_known() {
        let sum = |terms: &[f64]| {
            let rows: Vec<Row> = terms.iter().map(|term| vec![Value::Float(*term)]).collect();
            fold("sum", &rows, &Type::F64)
        };
        let is = |terms: &[f64], wanted: f64| matches!(sum(terms), Ok(Value::Float(found)) if found.total_cmp(&wanted) == Ordering::Equal);
        let third = 1.0 / 3.0;
        assert!(matches!(sum(&[third, 0.1, -third, -0.1]), Err(Stop::Undetermined(_))));
        assert!(is(&[0.25, 0.5, -0.25, -0.5], 0.0));
        assert!(is(&[third, third], third + third));
        assert!(is(&[f64::INFINITY, third, -third], f64::INFINITY));
        assert!(is(&[f64::NAN, third], f64::NAN));
    }
}
