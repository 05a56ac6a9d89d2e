//! Regular expressions that DataFusion would make a `LIKE` of.
//!
//! DataFusion takes a pattern of plain characters for one of `LIKE`, also if there is a backslash among them,
//! which has a meaning there: `'a\\b'` finds `ab`. And `'.*'` is `IS NOT NULL`, which is false where the
//! match is null. Such a pattern gets a beginning that matches everywhere, and stays a regular expression.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, lit};
use datafusion::optimizer::AnalyzerRule;

use crate::numbers::map_named;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct Patterns;

/// Matches nothing, or the beginning: everywhere.
const ANYWHERE: &str = "(?:|^)";

impl AnalyzerRule for Patterns {
    fn name(&self) -> &'static str {
        "patterns"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let kept = plan.transform_up_with_subqueries(|node| {
            map_named(node, |expr| expr.transform_up(|expr| Ok(kept(expr))))
        });
        kept.data()
    }
}

fn kept(mut expr: Expr) -> Transformed<Expr> {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    let pattern = match &mut expr {
        Expr::BinaryExpr(BinaryExpr {
            op: RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch,
            right,
            ..
        }) => right.as_mut(),
        Expr::ScalarFunction(call) if call.name() == "regexp_like" && call.args.len() > 1 => {
            &mut call.args[1]
        }
        _ => return Transformed::no(expr),
    };
    let is_new = keep(pattern);
    Transformed::new_transformed(expr, is_new)
}

/// Puts the beginning in front of a pattern that needs it. Returns true if it did.
fn keep(pattern: &mut Expr) -> bool {
    match pattern {
        Expr::Cast(Cast { expr, .. }) => keep(expr),
        Expr::Literal(
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text),
            _,
        ) => match text {
            Some(text) if needs_it(text) => {
                *text = format!("{ANYWHERE}(?:{text})");
                true
            }
            _ => false,
        },
        // What is folded to a pattern later.
        other if !other.any_column_refs() && !other.contains_outer() => {
            if other.exists(|expr| Ok(is_anywhere(expr))).unwrap_or(true) {
                return false;
            }
            let Some((begin, end)) = around(other) else { return false };
            // `concat` would pass over a pattern that is null.
            let begun = binary_expr(begin, Operator::StringConcat, std::mem::take(other));
            *other = binary_expr(begun, Operator::StringConcat, end);
            true
        }
        _ => false,
    }
}

/// The texts before and after a pattern, in its type; none for a pattern that is no text.
fn around(pattern: &Expr) -> Option<(Expr, Expr)> {
    let of = pattern.get_type(&DFSchema::empty()).ok().filter(|of| of.is_string())?;
    let part = |text: &str| ScalarValue::from(text).cast_to(&of).ok().map(lit);
    Some((part(&format!("{ANYWHERE}(?:"))?, part(")")?))
}

fn is_anywhere(expr: &Expr) -> bool {
    let Expr::Literal(value, _) = expr else { return false };
    value.try_as_str().flatten().is_some_and(|text| text.starts_with(ANYWHERE))
}

/// Returns true for a pattern that may stand for a backslash, and for the one of all texts.
fn needs_it(pattern: &str) -> bool {
    let may_have_backslash = ["\\\\", "\\x", "\\u", "\\U", "\\Q"];
    let has_backslash = may_have_backslash.iter().any(|part| pattern.contains(part));
    !pattern.starts_with(ANYWHERE) && (has_backslash || pattern == ".*")
}
