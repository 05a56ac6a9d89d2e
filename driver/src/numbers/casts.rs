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
//! else held by `held_value` (gnist_operators). Timestamps and times of another unit are held too, for a literal
//! may have digits that the column can't have; once literals are folded, those without such digits are
//! compared in the column's unit, so that statistics of files say which of them to skip.
//!
//! A cast of a decimal to a float is a function of ours, which rounds once.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, InList};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use gnist_operators::functions::{held, nearest_float};
use gnist_operators::widening::{exactly, is_ordered, is_within};

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
            map_named(node, |expr| expr.transform_up(|expr| hold(expr, &schema)))
        })
        .data()
    }
}

fn hold(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(inner) = held::inside(&expr) {
        // A plan that was analysed before, such as a view's: the call inside is a second one.
        let inner = held::inside(inner).map(|_| inner.clone());
        return Ok(inner.map_or_else(|| Transformed::no(expr), Transformed::yes));
    }
    let (inner, can_be_null) = match &expr {
        Expr::Cast(cast) => (cast.expr.as_ref(), false),
        Expr::TryCast(cast) => (cast.expr.as_ref(), true),
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
    if let Some(nearest) = nearest_float::in_place_of_cast(inner, &from, &to) {
        return Ok(Transformed::yes(nearest));
    }
    if matches!(inner, Expr::Literal(..)) || may_move(&from, &to, can_be_null) {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(held::held(expr)))
}

/// Returns true if what DataFusion takes a cast for holds.
fn may_move(from: &DataType, to: &DataType, can_be_null: bool) -> bool {
    use DataType::{Boolean, Date32, Date64, Timestamp};
    if from == to || from.is_string() && to.is_string() {
        return true;
    }
    if let Some(is_within) = is_within(from, to) {
        return is_within;
    }
    match (from, to) {
        (Timestamp(from, from_zone), Timestamp(to, to_zone)) => {
            from == to && from_zone.is_some() == to_zone.is_some()
        }
        // Null is no value of the order that the values before the cast have.
        _ if can_be_null => false,
        (Date32 | Date64, Timestamp(_, None)) | (Timestamp(_, None), Date32 | Date64) => true,
        (Date32, Date64) => true,
        (from, Boolean) => !is_ordered(from),
        // The order of floats holds.
        _ if !from.is_temporal() && !to.is_temporal() => true,
        _ => !(is_ordered(from) && is_ordered(to)),
    }
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
        Expr::Literal(value, _) if value.data_type() == to => exactly(value, &from).map(lit),
        _ => None,
    });
    let Some(coarser) = coarser.collect::<Option<Vec<Expr>>>() else { return false };
    *value = column;
    literals.iter_mut().zip(coarser).for_each(|(literal, coarser)| *literal = coarser);
    true
}

/// The operand of a held cast to a finer unit, with the types before and after the cast.
fn finer_unit(expr: &Expr, schema: &DFSchema) -> Option<(Expr, DataType, DataType)> {
    let cast = held::inside(expr)?;
    // Not a TRY_CAST, which makes null of what the finer unit doesn't reach.
    let Expr::Cast(Cast { expr: inner, .. }) = cast else { return None };
    let (from, to) = (inner.get_type(schema).ok()?, cast.get_type(schema).ok()?);
    match (&from, &to) {
        (DataType::Timestamp(coarse, from_zone), DataType::Timestamp(fine, to_zone))
            if coarse < fine && from_zone.is_some() == to_zone.is_some() =>
        {
            Some((inner.as_ref().clone(), from, to))
        }
        (DataType::Time32(_) | DataType::Time64(_), DataType::Time64(TimeUnit::Nanosecond)) => {
            Some((inner.as_ref().clone(), from, to))
        }
        _ => None,
    }
}
