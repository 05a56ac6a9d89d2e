//! Filters that stay above columns of one name, and above limits.
//!
//! DataFusion moves filters down a physical plan and finds their columns again by name. Above a
//! join of tables that share a name it finds the other table's column, and the filter drops other
//! rows. So it does in the other side of a semi join, which it filters by the key as well:
//!
//! ```text
//! few LeftSemi big on few.a = big.b, filter few.a = 5     ──▶     big filtered by its own column a
//! ```
//!
//! While its rules run, no filter enters an operator with two columns of one name, nor the other side
//! of a semi join that has a column named like a key; filters inside of them move on. Nor does one enter an operator
//! that ends at a number of rows, such as a scan with a limit: others would come instead of those that it filters
//! out. Nor does an order, by which DataFusion turns a scan round. What stops them is a limit that lets everything
//! through, which is taken out again.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{JoinType, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::around::Around;

/// Stops filters around DataFusion's rules that move them, in a session's rules: those of the query, and
/// those that joins make as they run. Stops orders of sorts that move to scans as well.
pub(crate) fn with_namesakes(builder: SessionStateBuilder) -> SessionStateBuilder {
    let around = Around {
        rules: &["FilterPushdown", "FilterPushdown(Post)"],
        is_changed: |node| has_namesakes(node) || mistaken(node).is_some() || is_limited(node),
        change: stopped,
        restore: without_stop,
    };
    let orders = Around {
        rules: &["PushdownSort"],
        is_changed: is_limited,
        change: |node| Ok(stop(node)),
        restore: without_stop,
    };
    orders.install(around.install(builder))
}

fn stopped(mut node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(side) = mistaken(&node) {
        let mut sides: Vec<_> = node.children().into_iter().cloned().collect();
        sides[side] = stop(Arc::clone(&sides[side]));
        node = replace_children_if_necessary(node, sides)?;
    }
    Ok(if has_namesakes(&node) || is_limited(&node) { stop(node) } else { node })
}

fn stop(node: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(LocalLimitExec::new(node, usize::MAX))
}

fn without_stop(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let limit = node.downcast_ref::<LocalLimitExec>();
    let stop = limit.filter(|limit| limit.fetch() == usize::MAX)?;
    Some(Arc::clone(stop.input()))
}

/// Returns true for an operator with a limit of its own, but for a sort, which lets no filter through itself.
fn is_limited(node: &Arc<dyn ExecutionPlan>) -> bool {
    let fetch = node.fetch();
    let is_of_input = node.children().first().is_some_and(|input| {
        (node.is::<ProjectionExec>() || node.is::<CooperativeExec>()) && input.fetch() == fetch
    });
    fetch.is_some() && !is_of_input && !node.is::<SortExec>()
}

/// The side of a semi join in which a filter of the other side's key would find another column.
fn mistaken(node: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let join = node.downcast_ref::<HashJoinExec>()?;
    let (side, other) = match join.join_type() {
        JoinType::LeftSemi => (1, join.right()),
        JoinType::RightSemi => (0, join.left()),
        _ => return None,
    };
    let is_mistaken = join.on().iter().any(|(left, right)| {
        let (key, pair) = if side == 1 { (left, right) } else { (right, left) };
        let Some(key) = key.downcast_ref::<Column>() else { return false };
        let found = other.schema().index_of(key.name()).ok();
        found.is_some() && found != pair.downcast_ref::<Column>().map(Column::index)
    });
    is_mistaken.then_some(side)
}

fn has_namesakes(node: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = node.schema();
    let names: BTreeSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    names.len() < schema.fields().len()
}
