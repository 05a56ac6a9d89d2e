//! Inputs that are read once.
//!
//! A join without equal keys reads its left side into memory. If that does not fit, DataFusion runs the plan of the
//! side once more, and writes its rows to disk. The plan is used up by then: files that several threads
//! share are taken, exchanges are empty, and the join goes on with the rows that are left. Left, semi and anti
//! joins also give rows of that side once for every partition of the other one. Here such a join fails.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

/// The plan, whose joins without equal keys read their left side once.
pub(crate) fn left_sides_once(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !plan.exists(|node| Ok(node.is::<NestedLoopJoinExec>()))? {
        return Ok(plan);
    }
    plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let left = Arc::new(Once::new(Arc::clone(join.left())));
        let right = Arc::clone(join.right());
        Ok(Transformed::yes(replace_children_if_necessary(node, vec![left, right])?))
    })
    .data()
}

/// The rows of its input, the first time.
#[derive(Debug)]
struct Once {
    input: Arc<dyn ExecutionPlan>,
    was_read: AtomicBool,
}

impl Once {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input, was_read: AtomicBool::new(false) }
    }
}

impl DisplayAs for Once {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Once")
    }
}

impl ExecutionPlan for Once {
    fn name(&self) -> &'static str {
        "Once"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// A recursive query makes a new one for every round.
    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else {
            return internal_err!("what is read once has an input");
        };
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if self.was_read.swap(true, Ordering::Relaxed) {
            return Err(DataFusionError::ResourcesExhausted(
                "the left side of a join without equal keys does not fit into the memory of its task"
                    .to_owned(),
            ));
        }
        self.input.execute(partition, context)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::JoinType;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    #[test]
    fn the_left_side_of_a_join_without_keys_is_read_once() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let side = || Arc::new(EmptyExec::new(Arc::clone(&schema))) as Arc<dyn ExecutionPlan>;
        let join = NestedLoopJoinExec::try_new(side(), side(), None, &JoinType::Left, None);
        let plan = left_sides_once(Arc::new(join.unwrap())).unwrap();
        let (left, context) = (plan.children()[0], Arc::new(TaskContext::default()));
        assert!(left.execute(0, Arc::clone(&context)).is_ok());
        let again = left.execute(0, Arc::clone(&context)).err().unwrap();
        assert!(matches!(again, DataFusionError::ResourcesExhausted(_)), "{again}");
        assert!(plan.children()[1].execute(0, Arc::clone(&context)).is_ok());
        assert!(plan.children()[1].execute(0, context).is_ok());
    }
}
