//! Dates and timestamps beyond the years 1677 to 2262, compared with timestamps in nanoseconds.
//!
//! DataFusion compares both in nanoseconds, and fails for `DATE '9999-12-31' > now()`. Here they are compared in
//! microseconds, which reach as far as dates do. A timestamp between two microseconds is read as the one or the
//! other, so that the answer stays exact:
//!
//! ```text
//! d > ts, d <= ts     d > not_later(ts), d <= not_later(ts)
//! d < ts, d >= ts     d < not_earlier(ts), d >= not_earlier(ts)
//! d = ts              d = not_later(ts) AND d = not_earlier(ts)
//! ```
//!
//! A constant that nanoseconds reach is left to DataFusion, which compares the column as it is.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Between;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, binary_expr};
use gnist_operators::functions::microseconds::{Side, function};

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct FarDates;

impl FunctionRewrite for FarDates {
    fn name(&self) -> &'static str {
        "far_dates"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let rewritten = match &expr {
            Expr::BinaryExpr(binary) => compared(&binary.left, binary.op, &binary.right, schema),
            Expr::Between(between) if !is_evaluated_anew(&between.expr) => bounded(between, schema),
            _ => None,
        };
        Ok(rewritten.map_or_else(|| Transformed::no(expr), Transformed::yes))
    }
}

/// `BETWEEN` as two comparisons, if one of them is rewritten.
fn bounded(between: &Between, schema: &DFSchema) -> Option<Expr> {
    let Between { expr, negated, low, high } = between;
    let (low_op, high_op) = match negated {
        false => (Operator::GtEq, Operator::LtEq),
        true => (Operator::Lt, Operator::Gt),
    };
    let with_low = compared(expr, low_op, low, schema);
    let with_high = compared(expr, high_op, high, schema);
    if with_low.is_none() && with_high.is_none() {
        return None;
    }
    let plain = |op: Operator, bound: &Expr| binary_expr(expr.as_ref().clone(), op, bound.clone());
    let with_low = with_low.unwrap_or_else(|| plain(low_op, low));
    let with_high = with_high.unwrap_or_else(|| plain(high_op, high));
    Some(if *negated { with_low.or(with_high) } else { with_low.and(with_high) })
}

/// A comparison of what may be far with a timestamp in nanoseconds.
fn compared(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return None;
    }
    let (left_type, right_type) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let (far, far_type, op, near) = if reaches_far(&left_type) && is_near(&right_type) {
        (left, left_type, op, right)
    } else if is_near(&left_type) && reaches_far(&right_type) {
        (right, right_type, op.swap()?, left)
    } else {
        return None;
    };
    if !far.any_column_refs() && !is_far_constant(far) {
        return None;
    }
    let is_date = !matches!(far_type, DataType::Timestamp(..));
    let in_microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
    let far = || match is_date {
        true => Expr::Cast(Cast::new(Box::new(far.clone()), in_microseconds.clone())),
        false => far.clone(),
    };
    let with = |side: Side| binary_expr(far(), op, function(side).call(vec![near.clone()]));
    Some(match op {
        Gt | LtEq => with(Side::NotLater),
        Lt | GtEq => with(Side::NotEarlier),
        _ if is_evaluated_anew(near) => return None,
        Eq => with(Side::NotLater).and(with(Side::NotEarlier)),
        _ => with(Side::NotLater).or(with(Side::NotEarlier)),
    })
}

fn reaches_far(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 | DataType::Date64 => true,
        DataType::Timestamp(unit, _) => *unit != TimeUnit::Nanosecond,
        _ => false,
    }
}

fn is_near(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

/// True for a constant that nanoseconds don't reach.
fn is_far_constant(expr: &Expr) -> bool {
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    constant(expr).is_some_and(|value| value.cast_to(&nanoseconds).is_err())
}

/// The value of a constant, also of a text that is cast.
pub(super) fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Alias(alias) => constant(&alias.expr),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        _ => None,
    }
}

/// True if two copies of an expression may have two values, or cost twice.
fn is_evaluated_anew(expr: &Expr) -> bool {
    let has_query = expr.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_))));
    expr.is_volatile() || has_query.expect("looking fails nowhere")
}
