//! Casts that DataFusion may not move.
//!
//! ```text
//! cast(d as int) = 1                 d = 1.00             loses the rows where d is 1.25
//! try_cast(b as tinyint) > 50        b > 50               has the row 300, whose cast is null
//! cast(ts as timestamptz) < now()    ts < UTC digits      is right in the zone UTC alone
//! order by try_cast(b as tinyint)    no sort, if b is ordered
//! ```
//!
//! A cast is left to DataFusion if every value of its type becomes another one of the same order, and
//! else held by `held_cast` (gnist_operators). Timestamps of another unit are held too, for a literal
//! may have digits that the column can't have; once literals are folded, those without such digits are
//! compared in the column's unit, so that statistics of files say which of them to skip.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::{BinaryExpr, InList, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use gnist_operators::functions::held_cast::{self, is_held_cast};

use super::{input_schema, map_named};

/// Functions that become casts while a plan is optimised, of their first argument.
const CASTING_FUNCTIONS: [&str; 4] =
    ["arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"];

/// Holds the casts that may not be moved.
#[derive(Debug)]
pub(super) struct HeldCasts;

impl AnalyzerRule for HeldCasts {
    fn name(&self) -> &'static str {
        "held_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let schema = input_schema(&node)?;
            map_named(node, |expr| expr.transform_up(|expr| held(expr, &schema)))
        })
        .data()
    }
}

fn held(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (inner, can_be_null) = match &expr {
        Expr::Cast(cast) => (cast.expr.as_ref(), false),
        Expr::TryCast(cast) => (cast.expr.as_ref(), true),
        Expr::ScalarFunction(call) if is_held_cast(&call.func) => {
            // A plan that was analysed before, such as a view's: the call inside is a second one.
            let inner = call.args.first().filter(|inner| is_held(inner)).cloned();
            return Ok(inner.map_or_else(|| Transformed::no(expr), Transformed::yes));
        }
        Expr::ScalarFunction(call) if CASTING_FUNCTIONS.contains(&call.name()) => {
            let Some(inner) = call.args.first() else { return Ok(Transformed::no(expr)) };
            (inner, call.name().contains("try"))
        }
        _ => return Ok(Transformed::no(expr)),
    };
    let (Ok(from), Ok(to)) = (inner.get_type(schema), expr.get_type(schema)) else {
        return Ok(Transformed::no(expr));
    };
    if let DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) = to
        && scale < 0
    {
        return plan_err!("the scale of a decimal is 0 or more, not {scale}, in `{expr}`");
    }
    if matches!(inner, Expr::Literal(..)) || may_move(&from, &to, can_be_null) {
        return Ok(Transformed::no(expr));
    }
    let call = ScalarFunction::new_udf(held_cast::function(), vec![expr]);
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

fn is_held(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if is_held_cast(&call.func))
}

/// Returns true if what DataFusion takes a cast for holds.
fn may_move(from: &DataType, to: &DataType, can_be_null: bool) -> bool {
    use DataType::{Date32, Date64, Timestamp};
    if from == to {
        return true;
    }
    if let (Some(from), Some(to)) = (digits(from), digits(to)) {
        return from.is_within(to);
    }
    match (from, to) {
        // Neither is moved; the order holds.
        (Date32 | Date64, Timestamp(_, None)) | (Timestamp(_, None), Date32 | Date64) => true,
        (Date32, Date64) => true,
        (Timestamp(from, from_zone), Timestamp(to, to_zone)) => {
            from == to && from_zone.is_some() == to_zone.is_some()
        }
        _ if from.is_temporal() || to.is_temporal() => !(is_ordered(from) && is_ordered(to)),
        // Floats are never moved, and their order holds unless one of them becomes null.
        _ => !can_be_null || !(is_ordered(from) && is_ordered(to)),
    }
}

/// Types whose order DataFusion takes for the order behind a cast, or that it moves casts between.
fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean
}

/// Decimal digits before and behind the point. An integer has limits that are no powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Integer { min: i128, max: i128 },
    Decimal { whole: u32, fraction: u32 },
}

impl Digits {
    fn is_within(self, other: Self) -> bool {
        use Digits::{Decimal, Integer};
        let most = |whole: u32| 10_i128.checked_pow(whole).map_or(i128::MAX, |power| power - 1);
        match (self, other) {
            (Integer { min, max }, Integer { min: least, max: most }) => {
                least <= min && max <= most
            }
            (Integer { min, max }, Decimal { whole, .. }) => {
                -most(whole) <= min && max <= most(whole)
            }
            (Decimal { whole, fraction: 0 }, Integer { min, max }) => {
                min <= -most(whole) && most(whole) <= max
            }
            (Decimal { .. }, Integer { .. }) => false,
            (
                Decimal { whole, fraction },
                Decimal { whole: other_whole, fraction: other_fraction },
            ) => whole <= other_whole && fraction <= other_fraction,
        }
    }
}

fn digits(data_type: &DataType) -> Option<Digits> {
    use DataType::{
        Decimal32, Decimal64, Decimal128, Decimal256, Int8, Int16, Int32, Int64, UInt8, UInt16,
        UInt32, UInt64,
    };
    let (min, max) = match data_type {
        Int8 => (i8::MIN.into(), i8::MAX.into()),
        Int16 => (i16::MIN.into(), i16::MAX.into()),
        Int32 => (i32::MIN.into(), i32::MAX.into()),
        Int64 => (i64::MIN.into(), i64::MAX.into()),
        UInt8 => (0, u8::MAX.into()),
        UInt16 => (0, u16::MAX.into()),
        UInt32 => (0, u32::MAX.into()),
        UInt64 => (0, u64::MAX.into()),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => {
            let fraction = u32::try_from(*scale).ok()?;
            let whole = u32::from(*precision).checked_sub(fraction)?;
            return Some(Digits::Decimal { whole, fraction });
        }
        _ => return None,
    };
    Some(Digits::Integer { min, max })
}

/// Compares timestamps in the unit of their column, where the literal has no digits beyond it.
#[derive(Debug)]
pub(super) struct ColumnUnits;

impl OptimizerRule for ColumnUnits {
    fn name(&self) -> &'static str {
        "column_units"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|node| {
            let schema = input_schema(&node)?;
            map_named(node, |expr| expr.transform_up(|expr| Ok(in_column_unit(expr, &schema))))
        })
    }
}

fn in_column_unit(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_new = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            let right = std::slice::from_mut(right.as_mut());
            let left = std::slice::from_mut(left.as_mut());
            uncast(&mut left[0], right, schema) || uncast(&mut right[0], left, schema)
        }
        Expr::InList(InList { expr: value, list, .. }) => uncast(value, list, schema),
        _ => false,
    };
    Transformed::new_transformed(expr, is_new)
}

/// Takes the cast from a held one to a finer unit, if all literals that it is compared with have the
/// coarser unit too. Returns true if it did.
fn uncast(value: &mut Expr, literals: &mut [Expr], schema: &DFSchema) -> bool {
    let Some((column, from, to)) = finer_unit(value, schema) else { return false };
    let coarser = literals.iter().map(|literal| match literal {
        Expr::Literal(value, _) if value.data_type() == to => {
            let coarser = value.cast_to(&from).ok()?;
            (coarser.cast_to(&to).ok()? == *value).then(|| lit(coarser))
        }
        _ => None,
    });
    let Some(coarser) = coarser.collect::<Option<Vec<Expr>>>() else { return false };
    *value = column;
    literals.iter_mut().zip(coarser).for_each(|(literal, coarser)| *literal = coarser);
    true
}

/// What a held cast to a finer unit casts, and from what to what.
fn finer_unit(expr: &Expr, schema: &DFSchema) -> Option<(Expr, DataType, DataType)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let cast = call.args.first().filter(|_| is_held_cast(&call.func))?;
    let inner = match cast {
        Expr::Cast(cast) => &cast.expr,
        Expr::TryCast(cast) => &cast.expr,
        _ => return None,
    };
    let (from, to) = (inner.get_type(schema).ok()?, cast.get_type(schema).ok()?);
    match (&from, &to) {
        (DataType::Timestamp(coarse, from_zone), DataType::Timestamp(fine, to_zone))
            if coarse < fine && from_zone.is_some() == to_zone.is_some() =>
        {
            Some((inner.as_ref().clone(), from, to))
        }
        _ => None,
    }
}
