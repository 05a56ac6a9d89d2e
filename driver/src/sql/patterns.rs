//! Regular expressions that DataFusion would make a `LIKE` of.
//!
//! DataFusion takes a pattern of plain characters for one of `LIKE`, also if there is a backslash among them,
//! which has a meaning there: `'a\\b'` finds `ab`. And `'.*'` is `IS NOT NULL`, which is false where the
//! match is null. Such a pattern gets a beginning that matches everywhere, and stays a regular expression.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::string::expr_fn::concat;
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, lit};
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
            *other = concat(vec![lit(format!("{ANYWHERE}(?:")), std::mem::take(other), lit(")")]);
            true
        }
        _ => false,
    }
}

fn is_anywhere(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text.starts_with(ANYWHERE))
}

/// Returns true for a pattern that may stand for a backslash, and for the one of all texts.
fn needs_it(pattern: &str) -> bool {
    let may_have_backslash = ["\\\\", "\\x", "\\u", "\\U", "\\Q"];
    let has_backslash = may_have_backslash.iter().any(|part| pattern.contains(part));
    !pattern.starts_with(ANYWHERE) && (has_backslash || pattern == ".*")
}
