//! Lists of `IN` that DataFusion would make one of.
//!
//! DataFusion keeps the items that two lists over one column share, or that one has alone. Items are compared
//! as they are written, so that a column in a list never equals a constant, and a null in one is forgotten. And where
//! the column is null, a list that becomes empty is false instead of null:
//!
//! ```text
//! a in (1, 2, 3, 4) and a not in (c, 14, 15, 16)          a in (1, 2, 3, 4)
//! (a in (1, 2, 3, 4) and a in (5, 6, 7, 8)) is null       false
//! ```
//!
//! A list of other things than constants is held (gnist_operators), and so is each of them: DataFusion takes a CASE of
//! columns for a constant, null, and puts one in the place of a column. So is the second list over a column, unless
//! both are conditions of a filter, where null is false.

use std::collections::HashSet;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::utils::iter_conjunction;
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
            let is_condition = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            map_named(node, |expr| {
                let mut lists = Lists::default();
                if is_condition {
                    iter_conjunction(&expr).try_for_each(|condition| lists.find(condition))?;
                } else {
                    lists.find(&expr)?;
                }
                if lists.to_hold.is_empty() {
                    return Ok(Transformed::no(expr));
                }
                with_held(expr, &lists.to_hold)
            })
        })
        .data()
    }
}

/// The expression with these parts of it held, those inside of others too.
fn with_held(expr: Expr, parts: &HashSet<Expr>) -> Result<Transformed<Expr>> {
    let is_held = parts.contains(&expr);
    let mut inside = expr.map_children(|child| with_held(child, parts))?;
    if !is_held {
        return Ok(inside);
    }
    if let Expr::InList(list) = &mut inside.data {
        let computed = list.list.iter_mut().filter(|item| !is_constant(item));
        computed.for_each(|item| *item = held(std::mem::take(item)));
    }
    Ok(Transformed::yes(held(inside.data)))
}

fn is_constant(item: &Expr) -> bool {
    matches!(item, Expr::Literal(..)) || is_value(item)
}

/// Parts of an expression that are held.
#[derive(Default)]
struct Lists {
    to_hold: HashSet<Expr>,
    /// Nodes of chains of AND or OR that were looked through from the chain's head.
    in_chains: HashSet<*const Expr>,
}

impl Lists {
    fn find(&mut self, expr: &Expr) -> Result<()> {
        expr.apply(|expr| {
            match expr {
                Expr::InList(list) if !list.list.iter().all(is_value) => {
                    self.to_hold.insert(expr.clone());
                }
                Expr::BinaryExpr(BinaryExpr {
                    op: op @ (Operator::And | Operator::Or), ..
                }) if !self.in_chains.contains(&std::ptr::from_ref(expr)) => {
                    self.find_in_chain(expr, *op);
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// Holds every term of a chain that looks for what a term before looks for.
    fn find_in_chain(&mut self, chain: &Expr, op: Operator) {
        let mut seen: HashSet<&Expr> = HashSet::new();
        let (terms, nodes) = terms_of(chain, op);
        self.in_chains.extend(nodes);
        for term in terms {
            let found = looked_for(term);
            // Of terms of OR only those become one list that exclude something.
            if op == Operator::Or && !found.excludes {
                continue;
            }
            if found.operands.iter().any(|operand| seen.contains(operand)) {
                self.to_hold.insert(term.clone());
            } else {
                seen.extend(found.operands);
            }
        }
    }
}

/// The terms of a chain, from the first one, and its nodes.
fn terms_of(chain: &Expr, op: Operator) -> (Vec<&Expr>, Vec<*const Expr>) {
    let (mut terms, mut nodes, mut stack) = (Vec::new(), Vec::new(), vec![chain]);
    while let Some(expr) = stack.pop() {
        match expr {
            Expr::BinaryExpr(binary) if binary.op == op => {
                nodes.push(std::ptr::from_ref(expr));
                stack.extend([binary.right.as_ref(), binary.left.as_ref()]);
            }
            term => terms.push(term),
        }
    }
    (terms, nodes)
}

/// Operands of the comparisons in a term that may become a list.
#[derive(Default)]
struct LookedFor<'a> {
    operands: Vec<&'a Expr>,
    /// True if there is a negation in it.
    excludes: bool,
}

/// A single comparison becomes no list. A chain of them does, and there are several ways to write one.
fn looked_for(term: &Expr) -> LookedFor<'_> {
    let mut found = LookedFor::default();
    let mut stack = match term {
        Expr::BinaryExpr(binary) if !matches!(binary.op, Operator::And | Operator::Or) => vec![],
        Expr::Like(_) => vec![],
        term => vec![term],
    };
    while let Some(expr) = stack.pop() {
        match expr {
            Expr::InList(list) => {
                found.excludes |= list.negated;
                found.operands.push(&list.expr);
            }
            Expr::Like(like) => {
                found.excludes |= like.negated;
                found.operands.push(&like.expr);
            }
            Expr::Not(inner) => {
                found.excludes = true;
                stack.push(inner);
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                stack.extend([left.as_ref(), right.as_ref()]);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                found.excludes |= *op == Operator::NotEq;
                found.operands.push(if is_value(left) { right } else { left });
            }
            _ => {}
        }
    }
    found
}

/// Returns true for a constant that is not null.
fn is_value(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => !value.is_null(),
        Expr::Cast(Cast { expr, .. }) | Expr::Negative(expr) => is_value(expr),
        _ => false,
    }
}
