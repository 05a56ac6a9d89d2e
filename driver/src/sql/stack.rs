//! Planning on a stack that is deep enough for every statement that [`super::parse()`] lets through.
//!
//! A session may be called on a thread of 2 MiB, as tokio's are, and DataFusion's planner takes tens of
//! KiB for a query inside a query. So each poll of planning runs on a larger stack, which is
//! address space until it is used.
//!
//! What planning makes is used on small stacks again: expressions are evaluated by executors and
//! dropped anywhere. DataFusion joins conjuncts one to the other, so that a long `AND` gets deep again;
//! [`refuse_depth`] looks at the result.

use std::future::Future;
use std::pin::pin;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::parse::too_deep;

/// Stack for planning. Brackets nest 250 deep at most, and a query in brackets takes some 100 KiB; a
/// condition of some thousand conjuncts, out of many views, takes 10 KiB for each.
const PLANNING_BYTES: usize = 256 << 20;

/// Stack that has to be left for planning to stay where it is.
const ENOUGH_BYTES: usize = 32 << 20;

/// Levels of an expression that a thread of 2 MiB evaluates and drops with room to spare.
const EXPRESSION_DEPTH_MAX: usize = 1_000;

/// Awaits a future whose polls need a deep stack.
pub(crate) async fn on_deep_stack<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        stacker::maybe_grow(ENOUGH_BYTES, PLANNING_BYTES, || future.as_mut().poll(context))
    })
    .await
}

/// Fails on an optimised plan with an expression that is too deep to run.
pub(crate) fn refuse_depth(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let depth = depth(expr)?;
            if depth > EXPRESSION_DEPTH_MAX {
                return too_deep(format!(
                    "an expression has {depth} levels when it is planned, and {EXPRESSION_DEPTH_MAX} is \
                     the most; a chain of AND is as deep as it is long"
                ));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

fn depth(expr: &Expr) -> Result<usize> {
    let mut below = 0;
    expr.apply_children(|child| {
        below = below.max(depth(child)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(below + 1)
}
