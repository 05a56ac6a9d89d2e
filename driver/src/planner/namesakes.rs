//! Filters that stay above columns of one name.
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
//! of a semi join that has a column named like a key; filters inside of them move on. What stops them
//! is a limit that lets everything through, which is taken out again.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

/// DataFusion's rules that move filters: those of the query, and those that joins make as they run.
const MOVE_FILTERS: [&str; 2] = ["FilterPushdown", "FilterPushdown(Post)"];

/// Puts the rule in the place of each of DataFusion's in a session's.
pub(crate) fn with_namesakes(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    for rule in &mut builder.physical_optimizers().get_or_insert_default().rules {
        if MOVE_FILTERS.contains(&rule.name()) {
            *rule = Arc::new(Namesakes { inner: Arc::clone(rule) });
        }
    }
    builder
}

#[derive(Debug)]
struct Namesakes {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for Namesakes {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stops = |node: &Arc<dyn ExecutionPlan>| has_namesakes(node) || mistaken(node).is_some();
        if !plan.exists(|node| Ok(stops(node)))? {
            return self.inner.optimize(plan, config);
        }
        let stopped = plan.transform_up(|mut node| {
            let mistaken = mistaken(&node);
            if let Some(side) = mistaken {
                let mut sides: Vec<_> = node.children().into_iter().cloned().collect();
                sides[side] = stop(Arc::clone(&sides[side]));
                node = replace_children_if_necessary(node, sides)?;
            }
            Ok(match has_namesakes(&node) {
                true => Transformed::yes(stop(node)),
                false if mistaken.is_some() => Transformed::yes(node),
                false => Transformed::no(node),
            })
        });
        let moved = self.inner.optimize(stopped.data()?, config)?;
        let opened = moved.transform_up(|node| {
            let limit = node.downcast_ref::<LocalLimitExec>();
            let inner = limit.filter(|limit| limit.fetch() == usize::MAX);
            Ok(match inner.map(|limit| Arc::clone(limit.input())) {
                Some(inner) => Transformed::yes(inner),
                None => Transformed::no(node),
            })
        });
        opened.data()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}

fn stop(node: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(LocalLimitExec::new(node, usize::MAX))
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
