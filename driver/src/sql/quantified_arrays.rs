//! `x op ANY (array)` as `NOT (x inverse-op ALL (array))`, which it means by the standard.
//!
//! DataFusion plans `ALL` of an array with three truth values. Its `ANY` is false where no element
//! matches and one is null, which is null.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

/// Replaces a comparison with any element of an array.
pub(super) fn any_by_all(expr: &mut Expr) {
    let Expr::AnyOp { left, compare_op, right, .. } = expr else { return };
    let Some(compare_op) = inverse(compare_op) else { return };
    if matches!(**right, Expr::Subquery(_)) {
        return;
    }
    let all = Expr::AllOp { left: left.clone(), compare_op, right: right.clone() };
    let all = Box::new(Expr::Nested(Box::new(all)));
    *expr = Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: all }));
}

fn inverse(operator: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match operator {
        BinaryOperator::Eq => BinaryOperator::NotEq,
        BinaryOperator::NotEq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        _ => return None,
    })
}
