//! Rules of DataFusion that run on a changed plan.
//!
//! Some rules take a plan for another one: they look through an operator, or find a column by its
//! name. Such a rule is replaced by itself between two changes: the first puts operators into the plan
//! that stop it, the second takes them out again.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

type Plan = Arc<dyn ExecutionPlan>;

/// The two changes around a rule. They are made from the leaves up, operator by operator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// Names of the rules that are replaced.
    pub(super) rules: &'static [&'static str],
    /// True for an operator that is changed. A plan without one is given to the rule as it is.
    pub(super) is_changed: fn(&Plan) -> bool,
    /// The operator as the rule sees it.
    pub(super) change: fn(Plan) -> Result<Plan>,
    /// The operator in the plan's own form again, after the rule. None for an operator that was not changed.
    pub(super) restore: fn(&Plan) -> Option<Plan>,
}

/// Adds a rule of our own in front of a session's.
pub(super) fn with_first(
    mut builder: SessionStateBuilder,
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
) -> SessionStateBuilder {
    builder.physical_optimizers().get_or_insert_default().rules.insert(0, rule);
    builder
}

impl Around {
    /// Puts the changes around the rules of a session's.
    pub(super) fn install(self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        for rule in &mut builder.physical_optimizers().get_or_insert_default().rules {
            if self.rules.contains(&rule.name()) {
                *rule = Arc::new(Changed { around: self, inner: Arc::clone(rule) });
            }
        }
        builder
    }
}

/// A rule with the changes around it, by the rule's own name.
#[derive(Debug)]
struct Changed {
    around: Around,
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for Changed {
    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        let Around { is_changed, change, restore, .. } = self.around;
        if !plan.exists(|node| Ok(is_changed(node)))? {
            return self.inner.optimize(plan, config);
        }
        let changed = plan.transform_up(|node| match is_changed(&node) {
            true => change(node).map(Transformed::yes),
            false => Ok(Transformed::no(node)),
        });
        let optimized = self.inner.optimize(changed.data()?, config)?;
        let restored = optimized.transform_up(|node| {
            Ok(match restore(&node) {
                Some(meant) => Transformed::yes(meant),
                None => Transformed::no(node),
            })
        });
        restored.data()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }
}
