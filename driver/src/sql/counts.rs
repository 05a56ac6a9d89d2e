//! Ranks and lengths, which are a `BIGINT` as in PostgreSQL.
//!
//! In DataFusion they have no sign. So a difference of two is an overflow half of the time, and beside a number with a
//! sign they are decimals, whose quotients have fractions: `(row_number() OVER (...) - 1) / 2` is no page.
//!
//! A user's own `BIGINT UNSIGNED` beside a number with a sign is a decimal in sums and products, which holds both. Its
//! quotients and remainders are those of integers here too.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr,
};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, cast};

/// Functions of rows that count.
const RANKS: [&str; 4] = ["dense_rank", "ntile", "rank", "row_number"];
/// Aggregates that count.
const AGGREGATES: [&str; 1] = ["approx_distinct"];
/// Functions of a value that count.
const LENGTHS: [&str; 4] = ["array_length", "array_ndims", "array_position", "cardinality"];

/// The planner of ranks. A query sees them as its own columns, so they have their type as they are planned.
#[derive(Debug)]
pub(super) struct SignedRanks;

impl ExprPlanner for SignedRanks {
    fn plan_window(&self, call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        if !RANKS.contains(&call.func_def.name()) {
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
        Ok(PlannerResult::Planned(signed(Expr::WindowFunction(Box::new(function)))))
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
        Ok(PlannerResult::Planned(signed(Expr::AggregateFunction(function))))
    }
}

fn signed(expr: Expr) -> Expr {
    cast(expr, DataType::Int64)
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
                Transformed::yes(signed(Expr::ScalarFunction(call)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::Divide | Operator::Modulo)
                    && has_one_sign(&left, &right, schema) =>
            {
                let (left, right) = (Box::new(signed(*left)), Box::new(signed(*right)));
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            expr => Transformed::no(expr),
        })
    }
}

/// Returns true for a `BIGINT UNSIGNED` and an integer with a sign.
fn has_one_sign(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    let types = (left.get_type(schema).ok(), right.get_type(schema).ok());
    let (Some(left), Some(right)) = types else { return false };
    let is_long = |of: &DataType| *of == DataType::UInt64;
    is_long(&left) && right.is_signed_integer() || left.is_signed_integer() && is_long(&right)
}
