//! Ranks and lengths, which are a `BIGINT` as in PostgreSQL.
//!
//! In DataFusion they have no sign. So a difference of two is an overflow half of the time, and beside a number with a
//! sign they are decimals, whose quotients have fractions: `(row_number() OVER (...) - 1) / 2` is no page.
//!
//! A user's own `BIGINT UNSIGNED` beside a number with a sign is a decimal in sums, products and remainders, which holds
//! both. Its quotients are those of integers here too.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, ScalarFunction, WindowFunction,
    WindowFunctionParams,
};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast};
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use gnist_operators::functions::counts::{SIGNED_COUNT, function};

use super::arrays;

/// Functions of rows that count.
const RANKS: [&str; 4] = ["dense_rank", "ntile", "rank", "row_number"];
/// Aggregates that count.
const AGGREGATES: [&str; 1] = ["approx_distinct"];
/// Functions of a value that count.
const LENGTHS: [&str; 4] = ["array_length", "array_ndims", "array_position", "cardinality"];
/// Their other names.
const LENGTHS_TOO: [&str; 5] =
    ["array_indexof", "list_indexof", "list_length", "list_ndims", "list_position"];

/// Gives a length its type where it is written: the function around it, as in `a[cardinality(a)]`, is chosen as it is planned.
pub(super) fn as_signed(expr: &mut SqlExpr) {
    let SqlExpr::Function(call) = expr else { return };
    let name = call.name.to_string().to_lowercase();
    if LENGTHS.contains(&name.as_str()) || LENGTHS_TOO.contains(&name.as_str()) {
        *expr = arrays::call(SIGNED_COUNT, vec![expr.clone()]);
    }
}

/// The planner of ranks. A query sees them as its own columns, so they have their type as they are planned.
#[derive(Debug)]
pub(super) struct SignedRanks;

impl ExprPlanner for SignedRanks {
    fn plan_window(&self, call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let name = call.func_def.name();
        if !RANKS.contains(&name) && !AGGREGATES.contains(&name) {
            return Ok(PlannerResult::Original(call));
        }
        let function = WindowFunction {
            fun: call.func_def,
            params: WindowFunctionParams {
                args: call.args,
                partition_by: call.partition_by,
                order_by: call.order_by,
                window_frame: call.window_frame,
                filter: call.filter,
                null_treatment: call.null_treatment,
                distinct: call.distinct,
            },
        };
        Ok(PlannerResult::Planned(count(Expr::WindowFunction(Box::new(function)))))
    }

    fn plan_aggregate(&self, call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if !AGGREGATES.contains(&call.func.name()) {
            return Ok(PlannerResult::Original(call));
        }
        let function = AggregateFunction {
            func: call.func,
            params: AggregateFunctionParams {
                args: call.args,
                distinct: call.distinct,
                filter: call.filter,
                order_by: call.order_by,
                null_treatment: call.null_treatment,
            },
        };
        Ok(PlannerResult::Planned(count(Expr::AggregateFunction(function))))
    }
}

fn count(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function(), vec![expr]))
}

/// The rewrite of lengths, and of quotients. See the module.
#[derive(Debug)]
pub(super) struct SignedCounts;

impl FunctionRewrite for SignedCounts {
    fn name(&self) -> &'static str {
        "signed_counts"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::ScalarFunction(call) if LENGTHS.contains(&call.name()) => {
                Transformed::yes(count(Expr::ScalarFunction(call)))
            }
            // It is written where the length is, and once more here.
            Expr::ScalarFunction(mut call) if is_count(&call) && call.args.iter().any(of_count) => {
                Transformed::yes(call.args.remove(0))
            }
            Expr::ScalarFunction(call) if call.name() == "array_positions" => {
                let places = Field::new_list_field(DataType::Int64, true);
                let to = DataType::List(Arc::new(places));
                Transformed::yes(cast(Expr::ScalarFunction(call), to))
            }
            Expr::BinaryExpr(mut quotient) if quotient.op == Operator::Divide => {
                let is_new = divide(&mut quotient.left, &mut quotient.right, schema);
                Transformed::new_transformed(Expr::BinaryExpr(quotient), is_new)
            }
            Expr::ScalarFunction(mut call) if call.name() == "try_divide" => {
                let is_new = match call.args.as_mut_slice() {
                    [left, right] => divide(left, right, schema),
                    _ => false,
                };
                Transformed::new_transformed(Expr::ScalarFunction(call), is_new)
            }
            expr => Transformed::no(expr),
        })
    }
}

/// Gives a `BIGINT UNSIGNED` and an integer with a sign, one of which is divided by the other, one type. Returns true
/// if they were such.
fn divide(left: &mut Expr, right: &mut Expr, schema: &DFSchema) -> bool {
    if !has_one_sign(left, right, schema) {
        return false;
    }
    let is_unsigned = has_no_minus(left, schema) && has_no_minus(right, schema);
    let to = if is_unsigned { DataType::UInt64 } else { DataType::Int64 };
    *left = cast(std::mem::take(left), to.clone());
    *right = cast(std::mem::take(right), to);
    true
}

fn is_count(call: &ScalarFunction) -> bool {
    call.name() == SIGNED_COUNT
}

fn of_count(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if is_count(call))
}

/// Returns true for a `BIGINT UNSIGNED`, and a number that is written and no less than zero.
fn has_no_minus(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => *number >= 0,
        expr => expr.get_type(schema).is_ok_and(|of| of == DataType::UInt64),
    }
}

/// Returns true for a `BIGINT UNSIGNED` and an integer with a sign.
fn has_one_sign(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    let types = (left.get_type(schema).ok(), right.get_type(schema).ok());
    let (Some(left), Some(right)) = types else { return false };
    let is_long = |of: &DataType| *of == DataType::UInt64;
    is_long(&left) && right.is_signed_integer() || left.is_signed_integer() && is_long(&right)
}
