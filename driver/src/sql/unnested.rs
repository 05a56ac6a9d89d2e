//! Rows that `unnest` copied, which depend on no key.
//!
//! DataFusion knows that the rows of a grouping are told apart by its keys, and goes on to know it when
//! `unnest` has made several rows of one: it drops a `DISTINCT` and keys of groupings above, and rows of
//! joins. Here the keys go through a call below `unnest`, of which it knows nothing.

use std::collections::BTreeSet;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Unnest};
use datafusion::optimizer::AnalyzerRule;
use gnist_operators::functions::held::held;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct UnnestedKeys;

impl AnalyzerRule for UnnestedKeys {
    fn name(&self) -> &'static str {
        "unnested_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut is_new = false;
        let freed = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Unnest(unnest) => {
                let keys: BTreeSet<usize> = keys(&unnest);
                if keys.is_empty() {
                    return Ok(Transformed::no(LogicalPlan::Unnest(unnest)));
                }
                is_new = true;
                freed(unnest, &keys).map(Transformed::yes)
            }
            node if is_new => node.recompute_schema().map(Transformed::yes),
            node => Ok(Transformed::no(node)),
        });
        freed.data()
    }
}

/// The columns by which the input of an `unnest` is told apart.
fn keys(unnest: &Unnest) -> BTreeSet<usize> {
    let schema = unnest.input.schema();
    let known = schema.functional_dependencies();
    known.iter().flat_map(|known| known.source_indices.iter().copied()).collect()
}

fn freed(unnest: Unnest, keys: &BTreeSet<usize>) -> Result<LogicalPlan> {
    let columns = unnest.input.schema().columns().into_iter().enumerate().map(|(at, column)| {
        let expr = Expr::Column(column.clone());
        if keys.contains(&at) {
            held(expr).alias_qualified(column.relation, column.name)
        } else {
            expr
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let input =
        LogicalPlanBuilder::from(unnest.input.as_ref().clone()).project(columns)?.build()?;
    let node = LogicalPlan::Unnest(unnest);
    node.with_new_exprs(node.expressions(), vec![input])
}
