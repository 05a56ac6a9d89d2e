//! `ceil` and `floor` of decimals whose result has a digit more.
//!
//! DataFusion gives the result the type of the value: `ceil(9.50)` is 10, which `DECIMAL(3, 2)` can't hold, and fails.
//! Here the value has a digit more before the point, as far as decimals go.

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
pub(super) struct WholeDecimals;

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
        let Expr::ScalarFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let wider = match call.args.as_slice() {
            [value] if matches!(call.name(), "ceil" | "floor") => wider(value, schema),
            _ => None,
        };
        let Some(wider) = wider else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
        call.args = call.args.into_iter().map(|value| cast(value, wider.clone())).collect();
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    }
}

fn cast(value: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(value), to))
}

/// The type with a digit more; none where the value has it already.
fn wider(value: &Expr, schema: &DFSchema) -> Option<DataType> {
    let data_type = value.get_type(schema).ok()?;
    let wider = one_digit_more(&data_type)?;
    // A plan that was analysed before, such as a view's, has the cast.
    let is_wider = matches!(value, Expr::Cast(Cast { expr, .. })
        if expr.get_type(schema).ok().and_then(|of| one_digit_more(&of)) == Some(data_type));
    (!is_wider).then_some(wider)
}

fn one_digit_more(data_type: &DataType) -> Option<DataType> {
    Some(match *data_type {
        DataType::Decimal32(precision, scale)
            if scale > 0 && precision < DECIMAL32_MAX_PRECISION =>
        {
            DataType::Decimal32(precision + 1, scale)
        }
        DataType::Decimal64(precision, scale)
            if scale > 0 && precision < DECIMAL64_MAX_PRECISION =>
        {
            DataType::Decimal64(precision + 1, scale)
        }
        DataType::Decimal128(precision, scale)
            if scale > 0 && precision < DECIMAL128_MAX_PRECISION =>
        {
            DataType::Decimal128(precision + 1, scale)
        }
        DataType::Decimal256(precision, scale)
            if scale > 0 && precision < DECIMAL256_MAX_PRECISION =>
        {
            DataType::Decimal256(precision + 1, scale)
        }
        _ => return None,
    })
}
