//! Lists of `IN` that DataFusion would make one of.
//!
//! Of two lists over one column it keeps what both have, or one has alone. Items are compared as they are
//! written, so that a column in a list never equals a constant, and a null in one is forgotten. And where
//! the column is null, a list that becomes empty is false instead of null:
//!
//! ```text
//! a in (1, 2, 3, 4) and a not in (c, 14, 15, 16)          a in (1, 2, 3, 4)
//! (a in (1, 2, 3, 4) and a in (5, 6, 7, 8)) is null       false
//! ```
//!
//! A list of other things than constants is held (gnist_operators). So is the second one over a column,
//! unless both are conditions of a filter, where null is false.

use std::collections::HashSet;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use gnist_operators::functions::held::held;

use crate::numbers::map_named;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct InLists;

impl AnalyzerRule for InLists {
    fn name(&self) -> &'static str {
        "in_lists"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            if !has_list(&node)? {
                return Ok(Transformed::no(node));
            }
            match node {
                LogicalPlan::Filter(mut filter) => {
                    let conditions = split_conjunction_owned(filter.predicate);
                    let conditions = conditions.into_iter().map(apart);
                    let conditions = conditions.collect::<Result<Vec<_>>>()?;
                    let is_new = conditions.iter().any(|condition| condition.transformed);
                    let conditions = conditions.into_iter().map(|condition| condition.data);
                    filter.predicate = conjunction(conditions).expect("a filter has a condition");
                    Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), is_new))
                }
                node => map_named(node, apart),
            }
        })
        .data()
    }
}

fn has_list(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|expr| Ok(matches!(expr, Expr::InList(_))))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The expression, whose lists no rule makes one of.
fn apart(expr: Expr) -> Result<Transformed<Expr>> {
    // A chain of OR alone, such as one of 20,000 terms, is made one list and rightly so.
    let holds_copies = expr.exists(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(binary) => binary.op == Operator::And,
            Expr::InList(list) => list.negated,
            _ => false,
        })
    })?;
    let mut seen: HashSet<Expr> = HashSet::new();
    expr.transform_up(|expr| {
        let (operand, is_plain) = match &expr {
            Expr::InList(list) => (&list.expr, list.list.iter().all(is_value)),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_value(right) => {
                (left, true)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_value(left) => {
                (right, true)
            }
            _ => return Ok(Transformed::no(expr)),
        };
        if !is_plain || holds_copies && seen.contains(operand.as_ref()) {
            return Ok(Transformed::yes(held(expr)));
        }
        if holds_copies {
            seen.insert(operand.as_ref().clone());
        }
        Ok(Transformed::no(expr))
    })
}

/// Returns true for a constant that is not null.
fn is_value(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => !value.is_null(),
        Expr::Cast(Cast { expr, .. }) | Expr::Negative(expr) => is_value(expr),
        _ => false,
    }
}
