//! `regexp_like` and `regexp_match` with flags that are null: the answer is null, as of the other functions of patterns.
//!
//! DataFusion takes no flags for none. Calls whose flags are a text are left alone: they become operators.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, when};

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct NullFlags;

impl FunctionRewrite for NullFlags {
    fn name(&self) -> &'static str {
        "null_flags"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
        if !matches!(call.name(), "regexp_like" | "regexp_match") {
            return Ok(Transformed::no(expr));
        }
        let flags = match call.args.as_slice() {
            [_, _, flags] if !is_text(flags) => flags.clone(),
            _ => return Ok(Transformed::no(expr)),
        };
        Ok(Transformed::yes(when(flags.is_not_null(), expr).end()?))
    }
}

fn is_text(flags: &Expr) -> bool {
    matches!(flags, Expr::Literal(value, _) if !value.is_null())
}
