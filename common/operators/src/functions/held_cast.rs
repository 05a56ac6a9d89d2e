//! A cast that stays where it is.
//!
//! DataFusion moves a cast from a column to the literal that it is compared with, and takes values that
//! are ordered before a cast for ordered behind it. Both are wrong where a cast makes one value of
//! several, or null of one that doesn't fit. `held_cast(x)` is `x`; the driver puts it around such
//! casts, and no rule looks into a function.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use super::same_type::Kind;

const KIND: Kind = Kind {
    name: "held_cast",
    takes: "one value",
    takes_type: |_| true,
    apply: |values| Arc::clone(values),
};

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    KIND.function()
}

/// Returns true if a function is this one.
pub fn is_held_cast(function: &ScalarUDF) -> bool {
    KIND.is_of(function)
}
