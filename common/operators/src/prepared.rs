//! Logical plans with some of their nodes replaced, before a physical plan is made of them.

use std::borrow::Cow;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;

/// The query with every node that `applies` replaced, in subqueries too. Most have none, and are
/// not copied.
///
/// # Errors
/// Those of `replace`.
pub(crate) fn with_replaced(
    query: &LogicalPlan,
    applies: impl Fn(&LogicalPlan) -> bool,
    replace: impl Fn(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<Cow<'_, LogicalPlan>> {
    let mut is_there = false;
    query.apply_with_subqueries(|plan| {
        is_there |= applies(plan);
        Ok(if is_there { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !is_there {
        return Ok(Cow::Borrowed(query));
    }
    let replaced = query.clone().transform_up_with_subqueries(|plan| {
        Ok(if applies(&plan) { Transformed::yes(replace(plan)?) } else { Transformed::no(plan) })
    });
    Ok(Cow::Owned(replaced.data()?))
}
