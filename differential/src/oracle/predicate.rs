//! Predicates in three-valued logic: true, false, or none for unknown.

use super::{Evaluated, Oracle, Scope, equal};
use crate::tree::{Expr, Query};
use crate::value::Value;

pub(crate) type Truth = Option<bool>;

impl Oracle<'_> {
    /// The truth of a boolean expression.
    pub(crate) fn truth(&mut self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Truth> {
        Ok(match expr {
            Expr::Not(of) => self.truth(of, scope)?.map(|truth| !truth),
            Expr::And(left, right) => match self.truth(left, scope)? {
                Some(false) => Some(false),
                left => and(left, self.truth(right, scope)?),
            },
            Expr::Or(left, right) => match self.truth(left, scope)? {
                Some(true) => Some(true),
                left => or(left, self.truth(right, scope)?),
            },
            Expr::IsNull(of, negated) => Some(self.expr(of, scope)?.is_null() != *negated),
            Expr::IsTruth { of, truth, negated } => {
                Some((self.truth(of, scope)? == *truth) != *negated)
            }
            Expr::Compare(operator, left, right) => {
                let (left, right) = (self.expr(left, scope)?, self.expr(right, scope)?);
                compare(operator, &left, &right)
            }
            Expr::Distinct { left, right, negated } => {
                Some(self.expr(left, scope)?.same(&self.expr(right, scope)?) == *negated)
            }
            Expr::Between(of, negated) => {
                let [of, low, high] = &**of;
                let of = self.expr(of, scope)?;
                let low = compare(">=", &of, &self.expr(low, scope)?);
                let high = compare("<=", &of, &self.expr(high, scope)?);
                negate(and(low, high), *negated)
            }
            Expr::InList(of, list, negated) => {
                let of = self.expr(of, scope)?;
                let list: Evaluated<Vec<Value>> =
                    list.iter().map(|item| self.expr(item, scope)).collect();
                negate(is_in(&of, &list?), *negated)
            }
            Expr::Like { of, pattern, negated, insensitive } => {
                let truth = match self.expr(of, scope)? {
                    Value::Text(text) if *insensitive => {
                        Some(like(&text.to_lowercase(), &pattern.to_lowercase()))
                    }
                    Value::Text(text) => Some(like(&text, pattern)),
                    _ => None,
                };
                negate(truth, *negated)
            }
            Expr::Exists(query, negated) => {
                Some(self.query(query, Some(scope))?.is_empty() == *negated)
            }
            Expr::InQuery(of, query, negated) => {
                let of = self.expr(of, scope)?;
                negate(is_in(&of, &self.first_column(query, scope)?), *negated)
            }
            Expr::Quantified { operator, of, all, query } => {
                let of = self.expr(of, scope)?;
                let values = self.first_column(query, scope)?;
                let truths = values.iter().map(|value| compare(operator, &of, value));
                if *all { truths.fold(Some(true), and) } else { truths.fold(Some(false), or) }
            }
            other => match self.expr(other, scope)? {
                Value::Bool(truth) => Some(truth),
                _ => None,
            },
        })
    }

    fn first_column(&mut self, query: &Query, scope: &Scope<'_>) -> Evaluated<Vec<Value>> {
        Ok(self.query(query, Some(scope))?.iter().map(|row| row[0].clone()).collect())
    }
}

fn and(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(left: Truth, right: Truth) -> Truth {
    negate(and(negate(left, true), negate(right, true)), true)
}

fn negate(truth: Truth, negated: bool) -> Truth {
    truth.map(|truth| truth != negated)
}

/// A comparison of two values; unknown where one is null.
pub(crate) fn compare(operator: &str, left: &Value, right: &Value) -> Truth {
    if left.is_null() || right.is_null() {
        return None;
    }
    let order = left.compare(right);
    Some(match operator {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// True if one equals it, else unknown if a null could have, else false.
fn is_in(of: &Value, list: &[Value]) -> Truth {
    list.iter().map(|value| equal(of, value)).fold(Some(false), or)
}

/// `%` is any text, `_` any character.
fn like(text: &str, pattern: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('%') => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| like(&text[at..], rest.as_str()))
        }
        Some(wanted) => {
            let mut characters = text.chars();
            let first = characters.next();
            first.is_some_and(|first| wanted == '_' || first == wanted)
                && like(characters.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_in_with_a_null_is_never_true() {
        let (one, two, null) = (Value::Int(1), Value::Int(2), Value::Null);
        assert_eq!(is_in(&one, &[two.clone(), null.clone()]), None);
        assert_eq!(is_in(&two, &[two.clone(), null]), Some(true));
        assert_eq!(is_in(&Value::Null, &[]), Some(false));
    }

    #[test]
    fn patterns_match_as_in_sql() {
        assert!(like("abc", "a%"));
        assert!(like("abc", "%b%"));
        assert!(like("øl", "_l"));
        assert!(!like("abc", "_b"));
        assert!(like("", "%"));
    }
}
