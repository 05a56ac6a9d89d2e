//! Operators that mean something else by the types of their operands, from the moment they are planned.
//!
//! - An interval, or a difference of timestamps, times or by a number is a function of Gnist's.
//! - A minus before what has no sign, such as a `BIGINT UNSIGNED`, is computed as `BIGINT`: DataFusion refuses it.
//! - Timestamps in two zones are subtracted, and times of a day in two units compared.
//! - `AT TIME ZONE` is planned here too ([`super::time_zones`]).
//!
//! DataFusion asks nobody about a minus before an operand. So it is a difference until then, of a constant that no
//! statement has: `-x` is `('\u{1}minus' - x)`.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, lit};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, UnaryOperator, Value, ValueWithSpan,
};
use gnist_operators::functions::scaled::{function, is_length};

use super::time_zones::{at_zone, zones};

/// The left side of a difference that is a minus.
const MINUS: &str = "\u{1}minus";

/// Writes a minus as a difference. That of a number or an interval is part of the constant.
pub(super) fn minus_as_difference(expr: &mut SqlExpr) {
    let SqlExpr::UnaryOp { op: UnaryOperator::Minus, expr: operand } = expr else { return };
    if matches!(
        operand.as_ref(),
        SqlExpr::Value(ValueWithSpan { value: Value::Number(..), .. }) | SqlExpr::Interval(_)
    ) {
        return;
    }
    let minus = SqlExpr::value(Value::SingleQuotedString(MINUS.to_owned()));
    let op = BinaryOperator::Minus;
    *expr = SqlExpr::BinaryOp { left: Box::new(minus), op, right: operand.clone() };
    *expr = SqlExpr::Nested(Box::new(expr.clone()));
}

/// The planner of these operators. See the module.
#[derive(Debug)]
pub(super) struct TypedOperators;

impl ExprPlanner for TypedOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let planned = match op {
            BinaryOperator::Minus if is_minus(left) => Some(negative(right, schema)?),
            BinaryOperator::Minus => match zones(right) {
                Some((zone, session)) => Some(at_zone(left, zone, session, schema)?),
                None => between(left, right, schema),
            },
            BinaryOperator::Multiply => scaled(false, left, right, schema),
            BinaryOperator::Divide => scaled(true, left, right, schema),
            op => comparison(op).and_then(|op| compared_times(left, op, right, schema)),
        };
        Ok(planned.map_or_else(|| PlannerResult::Original(expr), PlannerResult::Planned))
    }
}

fn is_minus(left: &Expr) -> bool {
    matches!(left, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text == MINUS)
}

fn negative(operand: &Expr, schema: &DFSchema) -> Result<Expr> {
    let data_type = operand.get_type(schema)?;
    let negative = |operand: &Expr| Expr::Negative(Box::new(operand.clone()));
    Ok(match data_type {
        of if of.is_unsigned_integer() => negative(&signed(operand)),
        DataType::Duration(_) => function(false).call(vec![operand.clone(), lit(-1_i64)]),
        DataType::Null | DataType::Interval(_) | DataType::Timestamp(..) => negative(operand),
        of if of.is_numeric() => negative(operand),
        of => return plan_err!("a minus can't stand before a {of}, as in `-{operand}`"),
    })
}

/// The difference of timestamps in two zones, which DataFusion refuses. It has the finer unit.
fn between(left: &Expr, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    match (left.get_type(schema).ok()?, right.get_type(schema).ok()?) {
        (
            DataType::Timestamp(left_unit, Some(zone)),
            DataType::Timestamp(right_unit, Some(other)),
        ) if zone != other => {
            let to = DataType::Timestamp(left_unit.max(right_unit), Some(zone));
            Some(of_type(left, Operator::Minus, right, &to))
        }
        _ => None,
    }
}

/// A comparison of times of a day in two units, which DataFusion refuses.
fn compared_times(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let (from, to) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let is_time = |of: &DataType| matches!(of, DataType::Time32(_) | DataType::Time64(_));
    let nanoseconds = DataType::Time64(TimeUnit::Nanosecond);
    (from != to && is_time(&from) && is_time(&to)).then(|| of_type(left, op, right, &nanoseconds))
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// An operator over both sides in one type.
fn of_type(left: &Expr, op: Operator, right: &Expr, to: &DataType) -> Expr {
    let side = |expr: &Expr| Box::new(Expr::Cast(Cast::new(Box::new(expr.clone()), to.clone())));
    Expr::BinaryExpr(BinaryExpr::new(side(left), op, side(right)))
}

fn signed(expr: &Expr) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr.clone()), DataType::Int64))
}

/// An interval times or by a number.
fn scaled(divides: bool, left: &Expr, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let right_type = right.get_type(schema).ok()?;
    let left_type = left.get_type(schema).ok()?;
    let is_number = |of: &DataType| of.is_numeric() || of.is_null();
    let is_scaled = is_length(&left_type) && is_number(&right_type)
        || !divides && is_number(&left_type) && is_length(&right_type);
    is_scaled.then(|| function(divides).call(vec![left.clone(), right.clone()]))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn a_minus_before_a_constant_stays() {
        let marked = |text| parse(text).expect(text)[0].to_string().contains(super::MINUS);
        assert!(marked("select -k from w"));
        assert!(marked("select 1 - -(k + 1) from w"));
        for text in ["select -1", "select k - 1 from w", "select - interval '1 day'"] {
            assert!(!marked(text), "{text}");
        }
    }
}
