//! Aggregates that are answered from their own statistics alone.
//!
//! DataFusion answers `count(*)` from the number of rows of a table. Looking for the part of an aggregate
//! that reads the rows, its rule passes one with a `FILTER`, which statistics can't answer, and takes
//! an aggregate further inside for it:
//!
//! ```text
//! select sum(n) filter (where n > 5) from (select count(*) as n from t)      is count(*) of t
//! ```
//!
//! While the rule runs, the input of each aggregate with a filter is the first of two inputs of a
//! [`Fence`], which the rule doesn't pass in that search. It never executes.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

/// DataFusion's rule that answers aggregates from statistics.
const ANSWERS: &str = "aggregate_statistics";

/// Puts the rule in the place of DataFusion's in a session's.
pub(crate) fn with_own_statistics(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    for rule in &mut builder.physical_optimizers().get_or_insert_default().rules {
        if rule.name() == ANSWERS {
            *rule = Arc::new(OwnStatistics { inner: Arc::clone(rule) });
        }
    }
    builder
}

#[derive(Debug)]
struct OwnStatistics {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for OwnStatistics {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !plan.exists(|node| Ok(has_filter(node)))? {
            return self.inner.optimize(plan, config);
        }
        let fenced = plan.transform_up(|node| {
            if !has_filter(&node) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(|input| Fence::around(Arc::clone(input)));
            let inputs = inputs.collect();
            replace_children_if_necessary(node, inputs).map(Transformed::yes)
        });
        let answered = self.inner.optimize(fenced.data()?, config)?;
        let opened = answered.transform_up(|node| {
            Ok(match node.downcast_ref::<Fence>().map(|fence| Arc::clone(&fence.input)) {
                Some(input) => Transformed::yes(input),
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

fn has_filter(node: &Arc<dyn ExecutionPlan>) -> bool {
    let aggregate = node.downcast_ref::<AggregateExec>();
    aggregate.is_some_and(|aggregate| aggregate.filter_expr().iter().any(Option::is_some))
}

/// An operator that hands on its first input. Its second one has no rows.
#[derive(Debug)]
struct Fence {
    input: Arc<dyn ExecutionPlan>,
    nothing: Arc<dyn ExecutionPlan>,
}

impl Fence {
    fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let nothing = Arc::new(EmptyExec::new(input.schema()));
        Arc::new(Self { input, nothing })
    }
}

impl DisplayAs for Fence {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Fence")
    }
}

impl ExecutionPlan for Fence {
    fn name(&self) -> &'static str {
        "Fence"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input, &self.nothing]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(nothing), Some(input)) => Ok(Arc::new(Self { input, nothing })),
            _ => internal_err!("a fence has two inputs"),
        }
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a fence never executes")
    }
}
