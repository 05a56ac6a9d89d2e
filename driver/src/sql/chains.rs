//! Long chains of one associative operator as balanced trees, and the depth of the rest.
//!
//! `a OR b OR c OR d` is read as `((a OR b) OR c) OR d`, as deep as it is long; `(a OR b) OR (c OR d)`
//! means the same. So do `AND`, and `UNION` of one kind. Arithmetic does not: sums of floats round
//! differently, and those of integers overflow at another place.
//!
//! Short chains stay as they are written, so that plans and names do too.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, SetExpr, SetOperator, SetQuantifier, UnaryOperator, Value,
};

/// Longest chain that is left alone.
pub(super) const SHORT: usize = 32;

/// Balances a chain of `AND` or `OR` that starts at this expression.
pub(super) fn balance_expr(expr: &mut Expr) {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr else {
        return;
    };
    let op = op.clone();
    if chain_length(expr, &op) <= SHORT {
        return;
    }
    let mut terms = Vec::new();
    let mut rest = std::mem::replace(expr, placeholder());
    loop {
        match rest {
            Expr::BinaryOp { left, op: own, right } if own == op => {
                terms.push(*right);
                rest = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    *expr = balanced(terms, &|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    });
}

/// Balances a chain of `UNION`s of one kind that starts at this set operation.
pub(super) fn balance_set(set: &mut SetExpr) {
    let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, .. } = set else { return };
    let quantifier = *set_quantifier;
    let is_plain =
        matches!(quantifier, SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None);
    if !is_plain || union_length(set, quantifier) <= SHORT {
        return;
    }
    let mut terms = Vec::new();
    let nothing = SetExpr::Values(datafusion::sql::sqlparser::ast::Values {
        explicit_row: false,
        value_keyword: false,
        rows: Vec::new(),
    });
    let mut rest = std::mem::replace(set, nothing);
    loop {
        match rest {
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right }
                if set_quantifier == quantifier =>
            {
                terms.push(*right);
                rest = *left;
            }
            first => {
                terms.push(first);
                break;
            }
        }
    }
    terms.reverse();
    *set = balanced(terms, &|left, right| SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier: quantifier,
        left: Box::new(left),
        right: Box::new(right),
    });
}

/// Terms of a condition that DataFusion joins with `AND` one to the other, however they are written:
/// those of `OR` too below a `NOT`.
pub(super) fn conjuncts(condition: &Expr, is_negated: bool) -> usize {
    match condition {
        Expr::BinaryOp { left, op, right } => match (op, is_negated) {
            (BinaryOperator::And, false) | (BinaryOperator::Or, true) => {
                conjuncts(left, is_negated) + conjuncts(right, is_negated)
            }
            _ => 1,
        },
        Expr::Nested(inner) => conjuncts(inner, is_negated),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => conjuncts(expr, !is_negated),
        _ => 1,
    }
}

fn chain_length(expr: &Expr, op: &BinaryOperator) -> usize {
    let mut length = 1;
    let mut at = expr;
    while let Expr::BinaryOp { left, op: own, .. } = at {
        if own != op {
            break;
        }
        length += 1;
        at = left;
    }
    length
}

fn union_length(set: &SetExpr, quantifier: SetQuantifier) -> usize {
    let mut length = 1;
    let mut at = set;
    while let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, .. } = at {
        if *set_quantifier != quantifier {
            break;
        }
        length += 1;
        at = left;
    }
    length
}

/// Terms in their order, paired until one is left.
pub(super) fn balanced<T>(mut terms: Vec<T>, pair: &dyn Fn(T, T) -> T) -> T {
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => pair(left, right),
                None => left,
            });
        }
        terms = pairs;
    }
    terms.pop().expect("a chain has terms")
}

fn placeholder() -> Expr {
    Expr::Value(Value::Null.into())
}
