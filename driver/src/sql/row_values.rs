//! Rows that are written, `(a, b)` and `row(a, b)`, compared value by value.
//!
//! DataFusion makes structs of them, whose nulls are equal to each other. By the standard a row equals another where
//! all of its values do, is different where some value is, and else the answer is null:
//!
//! ```text
//! (a, b) = (c, d)                     a = c AND b = d
//! (a, b) < (c, d)                     a < c OR (a = c AND b < d); of more values by halves
//! (a, b) IN ((c, d), (e, f))          (a = c AND b = d) OR (a = e AND b = f)
//! ```
//!
//! A long list of constants is searched as DataFusion does it, for the rows without a null:
//!
//! ```text
//! CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN struct(a, b) IN (struct(1, 2), ...) ELSE ... END
//! ```
//!
//! Structs that are no written rows, such as columns, are values: nulls inside of them are equal.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
    Value, ValueWithSpan, visit_expressions,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::chains::{SHORT, balanced};
use super::clauses::{Refused, refused};
use super::dialect::GnistDialect;

/// Volatile functions.
const DRAWN: [&str; 2] = ["random", "uuid"];

/// Expressions that the comparisons of rows in one statement may become. Comparisons inside of each other, and long
/// lists of wide rows, multiply.
const EXPRESSIONS_MAX: usize = 300_000;

/// Replaces a comparison of rows, and adds to `made` the expressions that it becomes. Breaks off at one that would
/// become too many.
pub(super) fn by_values(expr: &mut Expr, made: &mut usize) -> ControlFlow<Refused> {
    if let Expr::InList { expr: row, list, .. } = &*expr
        && list.len() > 1
        && row_of(row).is_some_and(|row| row.iter().any(has_query))
        && list.iter().all(|item| row_of(item).is_some())
    {
        return refused(
            "a query in a row that is compared with several rows",
            "give its value a name in a query in `FROM`",
        );
    }
    *made += expressions(expr);
    if *made > EXPRESSIONS_MAX {
        return refused(
            "comparisons of rows that become more than 300,000 expressions",
            "compare with a query: `(a, b) IN (SELECT * FROM (VALUES ...) v)`",
        );
    }
    replace(expr);
    ControlFlow::Continue(())
}

fn has_query(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Number of expressions that a comparison of rows becomes, roughly; 0 if it is none.
fn expressions(expr: &Expr) -> usize {
    let size = |row: &Expr| {
        let mut count = 0;
        let _ = visit_expressions(row, |_| {
            count += 1;
            ControlFlow::<()>::Continue(())
        });
        count
    };
    match expr {
        Expr::BinaryOp { left, right, .. } => match (row_of(left), row_of(right)) {
            (Some(row), Some(_)) => {
                (size(left) + size(right)) * (row.len().max(1).ilog2() as usize + 1)
            }
            _ => 0,
        },
        Expr::InList { expr: row, list, .. } if row_of(row).is_some() => {
            list.len() * size(row) + list.iter().map(size).sum::<usize>()
        }
        Expr::Between { expr: row, low, high, .. } => match row_of(row) {
            Some(values) => {
                let depth = values.len().max(1).ilog2() as usize + 1;
                (2 * size(row) + size(low) + size(high)) * depth
            }
            None => 0,
        },
        _ => 0,
    }
}

fn replace(expr: &mut Expr) {
    let by_values = match expr {
        Expr::BinaryOp { left, op, right } => match (row_of(left), row_of(right)) {
            (Some(left), Some(right)) => compared(&left, op, &right),
            _ => None,
        },
        Expr::InList { expr: row, list, negated } => row_of(row).and_then(|row| {
            let list: Option<Vec<_>> = list.iter().map(row_of).collect();
            in_list(&row, &list?, *negated)
        }),
        Expr::Between { expr: row, negated, low, high } => between(row, low, high, *negated),
        _ => None,
    };
    if let Some(by_values) = by_values {
        *expr = Expr::Nested(Box::new(by_values));
    }
}

/// The values of a written row.
pub(super) fn row_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(values) => Some(values.clone()),
        Expr::Nested(inner) => row_of(inner),
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let values = list.args.iter().map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
                _ => None,
            });
            values.collect()
        }
        _ => None,
    }
}

fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    if left.len() != right.len() || left.is_empty() || is_drawn(left) || is_drawn(right) {
        return None;
    }
    match op {
        BinaryOperator::Eq => Some(equal(left, right)),
        BinaryOperator::NotEq => Some(not(equal(left, right))),
        BinaryOperator::Lt | BinaryOperator::Gt => Some(ordered(left, op, op, right)),
        BinaryOperator::LtEq => Some(ordered(left, &BinaryOperator::Lt, op, right)),
        BinaryOperator::GtEq => Some(ordered(left, &BinaryOperator::Gt, op, right)),
        _ => None,
    }
}

fn between(row: &Expr, low: &Expr, high: &Expr, is_negated: bool) -> Option<Expr> {
    let (row, low, high) = (row_of(row)?, row_of(low)?, row_of(high)?);
    let low = compared(&row, &BinaryOperator::GtEq, &low)?;
    let high = compared(&row, &BinaryOperator::LtEq, &high)?;
    let both = joined(vec![low, high], &BinaryOperator::And);
    Some(if is_negated { not(both) } else { both })
}

fn in_list(row: &[Expr], list: &[Vec<Expr>], is_negated: bool) -> Option<Expr> {
    let has_its_length = |item: &Vec<Expr>| item.len() == row.len() && !is_drawn(item);
    if list.is_empty() || !list.iter().all(has_its_length) || list.len() > 1 && is_drawn(row) {
        return None;
    }
    let equal = list.iter().map(|item| equal(row, item)).collect();
    let found = joined(equal, &BinaryOperator::Or);
    Some(match (list.len() > SHORT, is_negated) {
        (false, false) => found,
        (false, true) => not(found),
        // No chain of AND, which would be as deep as it is long.
        (true, _) if !list.iter().flatten().all(is_value) => {
            let (then, other) = if is_negated { ("false", "true") } else { ("true", "false") };
            let case = format!("case null when true then {then} when false then {other} end");
            filled(&case, |case| case.0 = Some(Box::new(found)))
        }
        (true, _) => {
            let known = row.iter().map(|value| Expr::IsNotNull(Box::new(nested(value))));
            let known = joined(known.collect(), &BinaryOperator::And);
            let list = list.iter().map(|item| as_struct(item)).collect();
            let searched =
                Expr::InList { expr: Box::new(as_struct(row)), list, negated: is_negated };
            let other = if is_negated { not(found) } else { found };
            filled("case when true then true else true end", |case| {
                case.1[0] = CaseWhen { condition: known, result: searched };
                case.2 = Some(Box::new(other));
            })
        }
    })
}

/// Base, branches and the last branch of a `CASE`.
type Parts = (Option<Box<Expr>>, Vec<CaseWhen>, Option<Box<Expr>>);

/// The `CASE` of a text with other parts.
fn filled(text: &str, fill: impl FnOnce(&mut Parts)) -> Expr {
    let mut expr = parsed(text);
    if let Expr::Case { operand, conditions, else_result, .. } = &mut expr {
        let mut parts = (operand.take(), std::mem::take(conditions), else_result.take());
        fill(&mut parts);
        (*operand, *conditions, *else_result) = parts;
    }
    expr
}

/// A struct, which is no written row.
fn as_struct(row: &[Expr]) -> Expr {
    Expr::Struct { values: row.to_vec(), fields: Vec::new() }
}

fn equal(left: &[Expr], right: &[Expr]) -> Expr {
    let pairs = left.iter().zip(right);
    let pairs = pairs.map(|(left, right)| pair(left, &BinaryOperator::Eq, right));
    joined(pairs.collect(), &BinaryOperator::And)
}

/// A row before or behind another one: `strictly` by a value that others follow, by the last as `op` says. It is so
/// by the first half, or the halves are equal and it is so by the second: few copies of each value.
fn ordered(left: &[Expr], strictly: &BinaryOperator, op: &BinaryOperator, right: &[Expr]) -> Expr {
    if let ([left], [right]) = (left, right) {
        return pair(left, op, right);
    }
    let half = left.len() / 2;
    let (left_first, left_second) = left.split_at(half);
    let (right_first, right_second) = right.split_at(half);
    let decided = ordered(left_first, strictly, strictly, right_first);
    let tied = equal(left_first, right_first);
    let second = ordered(left_second, strictly, op, right_second);
    let second = joined(vec![tied, second], &BinaryOperator::And);
    joined(vec![decided, second], &BinaryOperator::Or)
}

fn pair(left: &Expr, op: &BinaryOperator, right: &Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(nested(left)), op: op.clone(), right: Box::new(nested(right)) }
}

fn nested(expr: &Expr) -> Expr {
    Expr::Nested(Box::new(expr.clone()))
}

fn joined(terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let joined = balanced(terms, &|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    });
    Expr::Nested(Box::new(joined))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

/// Returns true for a constant that is not null.
fn is_value(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value, .. }) => {
            !matches!(value, Value::Null | Value::Placeholder(_))
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } | Expr::Nested(expr) => is_value(expr),
        Expr::TypedString(_) => true,
        _ => false,
    }
}

/// Returns true if a row contains a volatile call, so that a copy may differ.
fn is_drawn(row: &[Expr]) -> bool {
    let found = row.iter().try_for_each(|value| {
        visit_expressions(value, |expr| match expr {
            Expr::Function(call)
                if DRAWN.iter().any(|name| call.name.to_string().eq_ignore_ascii_case(name)) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
    });
    found.is_break()
}

fn parsed(text: &str) -> Expr {
    let parser = Parser::new(&GnistDialect).try_with_sql(text);
    parser.and_then(|mut parser| parser.parse_expr()).expect("the texts above are expressions")
}
