//! Arithmetic, sums and averages whose overflow is an error, or what `sql.ansi = false` asks for.
//!
//! ```text
//!                    ANSI                    sql.ansi = false
//! a + b, integers    checked_add(a, b)       a + b, which wraps
//! a + b, decimals    checked_add(a, b)       try_add(a, b): null
//! a / b, a % b       checked_divide(a, b)    try_divide(a, b): null
//! sum(a)             sum(a) of ours          wrapping_sum(a): integers wrap, decimals null
//! avg(a)             avg(a) of ours          try_avg(a): null
//! cast(a as t)       cast(a as t)            try_cast(a as t): null
//! ```
//!
//! A rewritten expression keeps its name, and with it the names of the query's columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, BinaryExpr, ScalarFunction, TryCast, WindowFunction,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, WindowFunctionDefinition,
    lit,
};
use datafusion::optimizer::AnalyzerRule;
use gnist_operators::functions::arithmetic::{self, Operation};
use gnist_operators::functions::settings::SqlSettings;
use gnist_operators::functions::sum::{self, OnOverflow, is_plain_sum};
use gnist_operators::functions::{avg, extreme, folded_frames, is_plain_avg};

use super::{input_schema, map_named};

/// The rule.
#[derive(Debug)]
pub(super) struct CheckedNumbers;

impl AnalyzerRule for CheckedNumbers {
    fn name(&self) -> &'static str {
        "checked_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let is_ansi = SqlSettings::of(config).ansi;
        plan.transform_up_with_subqueries(|node| rewrite_node(node, is_ansi)).data()
    }
}

fn rewrite_node(node: LogicalPlan, is_ansi: bool) -> Result<Transformed<LogicalPlan>> {
    let schema = input_schema(&node)?;
    // From the top: the types of operators are cheaper than those of functions in their place, for
    // which DataFusion writes a name per level.
    let rewritten =
        map_named(node, |expr| expr.transform_down(|expr| rewrite(expr, &schema, is_ansi)))?;
    // What is null instead of an error makes columns above nullable too.
    if rewritten.transformed || !is_ansi {
        rewritten.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(rewritten)
    }
}

fn rewrite(expr: Expr, schema: &DFSchema, is_ansi: bool) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let operation = Operation::of(op);
            match operation.and_then(|op| instead(op, &[&left, &right], schema, is_ansi)) {
                Some(function) => call(function, vec![*left, *right]),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Negative(operand) => match instead(Operation::Negate, &[&operand], schema, is_ansi) {
            Some(function) => call(function, vec![*operand]),
            None => wrapping_negative(operand, schema)?,
        },
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let instead = aggregate(&func, is_ansi);
            let is_new = instead.is_some();
            let func = instead.unwrap_or(func);
            let call = Expr::AggregateFunction(AggregateFunction { func, params });
            Transformed::new_transformed(call, is_new)
        }
        Expr::WindowFunction(call) => window(call, is_ansi),
        Expr::Cast(cast) if !is_ansi => {
            Transformed::yes(Expr::TryCast(TryCast { expr: cast.expr, field: cast.field }))
        }
        other => Transformed::no(other),
    })
}

/// DataFusion's minus wraps for columns of integers, and fails for constants.
fn wrapping_negative(operand: Box<Expr>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match operand.get_type(schema) {
        Ok(data_type) if data_type.is_integer() => {
            let zero = Box::new(lit(ScalarValue::new_zero(&data_type)?));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(zero, Operator::Minus, operand)))
        }
        _ => Transformed::no(Expr::Negative(operand)),
    })
}

fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Transformed<Expr> {
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

/// The function that takes an operator's place, if its operands can overflow.
fn instead(
    operation: Operation,
    operands: &[&Expr],
    schema: &DFSchema,
    is_ansi: bool,
) -> Option<Arc<ScalarUDF>> {
    let types = operands.iter().map(|operand| operand.get_type(schema).ok());
    let types = types.collect::<Option<Vec<_>>>()?;
    let divides = matches!(operation, Operation::Divide | Operation::Modulo);
    let integers = types.iter().all(DataType::is_integer);
    let decimals = types.iter().all(DataType::is_decimal);
    let can_fail = decimals || integers && (is_ansi || divides);
    can_fail.then(|| arithmetic::function(operation, !is_ansi))
}

/// The aggregate function that takes a function's place.
fn aggregate(function: &AggregateUDF, is_ansi: bool) -> Option<Arc<AggregateUDF>> {
    if is_plain_sum(function) {
        return Some(sum::sum(if is_ansi { OnOverflow::Fail } else { OnOverflow::Wrap }));
    }
    if is_plain_avg(function) {
        return Some(avg(!is_ansi));
    }
    folded_frames(function).or_else(|| extreme(function))
}

fn window(mut call: Box<WindowFunction>, is_ansi: bool) -> Transformed<Expr> {
    let function = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => aggregate(function, is_ansi),
        WindowFunctionDefinition::WindowUDF(_) => None,
    };
    let Some(function) = function else { return Transformed::no(Expr::WindowFunction(call)) };
    call.fun = WindowFunctionDefinition::AggregateUDF(function);
    Transformed::yes(Expr::WindowFunction(call))
}
