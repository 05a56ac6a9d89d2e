//! A value of which no rule of DataFusion knows anything.
//!
//! Rules take what they find for what they know: a cast for one that loses nothing, two lists over one
//! column for one list. Where that is wrong the driver puts `held_value(x)`, which is `x`, in its place: no rule
//! looks into a function.

use std::sync::Arc;

use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::same_type::Kind;

const KIND: Kind = Kind {
    name: "held_value",
    takes: "one value",
    takes_type: |_| true,
    apply: |values| Arc::clone(values),
};

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    KIND.function()
}

/// The expression, held.
pub fn held(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function(), vec![expr]))
}

/// The expression inside a held one; none for any other.
pub fn inside(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if KIND.is_of(&call.func) => call.args.first(),
        _ => None,
    }
}
