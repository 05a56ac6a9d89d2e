//! Functions of Gnist's in place of DataFusion's that plans ask for without their name: `extract`, `@>`, `MAP {}`.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use gnist_operators::functions::replacement;

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct Replacements;

impl FunctionRewrite for Replacements {
    fn name(&self) -> &'static str {
        "replacements"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let Some(ours) = replacement(&call.func) else {
            return Ok(Transformed::no(Expr::ScalarFunction(call)));
        };
        call.func = ours;
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    }
}
