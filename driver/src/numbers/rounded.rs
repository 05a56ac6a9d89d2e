//! `ceil`, `floor` and `median` of decimals, whose result has a digit more.
//!
//! DataFusion gives the result the type of the value: `ceil(9.50)` is 10, which `DECIMAL(3, 2)` can't hold, and fails;
//! the median of 1.01 and 1.02 is 1.01. Here the value has a digit more, before or after the point, as far as
//! decimals go.

use datafusion::arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION,
    DECIMAL256_MAX_PRECISION, DataType,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};

/// The rewrite. See the module.
#[derive(Debug)]
pub(crate) struct WholeDecimals;

impl FunctionRewrite for WholeDecimals {
    fn name(&self) -> &'static str {
        "whole_decimals"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::ScalarFunction(mut call) if matches!(call.name(), "ceil" | "floor") => {
                let is_new = widen(&mut call.args, 0, schema);
                Transformed::new_transformed(Expr::ScalarFunction(call), is_new)
            }
            Expr::AggregateFunction(mut call) if call.func.name() == "median" => {
                let is_new = widen(&mut call.params.args, 1, schema);
                Transformed::new_transformed(Expr::AggregateFunction(call), is_new)
            }
            Expr::WindowFunction(mut call) if call.fun.name() == "median" => {
                let is_new = widen(&mut call.params.args, 1, schema);
                Transformed::new_transformed(Expr::WindowFunction(call), is_new)
            }
            expr => Transformed::no(expr),
        })
    }
}

/// Gives the one argument of a call a digit more, after the point if `fraction` is 1. Returns true if it did.
fn widen(args: &mut [Expr], fraction: i8, schema: &DFSchema) -> bool {
    let [value] = args else { return false };
    let Some(wider) = wider(value, fraction, schema) else { return false };
    *value = cast(std::mem::take(value), wider);
    true
}

fn cast(value: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(value), to))
}

/// The type with a digit more; none where the value has it already.
fn wider(value: &Expr, fraction: i8, schema: &DFSchema) -> Option<DataType> {
    let data_type = value.get_type(schema).ok()?;
    let wider = one_digit_more(&data_type, fraction)?;
    // A plan that was analysed before, such as a view's, has the cast.
    let is_wider = matches!(value, Expr::Cast(Cast { expr, .. })
        if expr.get_type(schema).ok().and_then(|of| one_digit_more(&of, fraction)) == Some(data_type));
    (!is_wider).then_some(wider)
}

fn one_digit_more(data_type: &DataType, fraction: i8) -> Option<DataType> {
    let has_more = |scale: i8| scale > 0 || fraction > 0;
    Some(match *data_type {
        DataType::Decimal32(precision, scale)
            if has_more(scale) && precision < DECIMAL32_MAX_PRECISION =>
        {
            DataType::Decimal32(precision + 1, scale + fraction)
        }
        DataType::Decimal64(precision, scale)
            if has_more(scale) && precision < DECIMAL64_MAX_PRECISION =>
        {
            DataType::Decimal64(precision + 1, scale + fraction)
        }
        DataType::Decimal128(precision, scale)
            if has_more(scale) && precision < DECIMAL128_MAX_PRECISION =>
        {
            DataType::Decimal128(precision + 1, scale + fraction)
        }
        DataType::Decimal256(precision, scale)
            if has_more(scale) && precision < DECIMAL256_MAX_PRECISION =>
        {
            DataType::Decimal256(precision + 1, scale + fraction)
        }
        _ => return None,
    })
}
