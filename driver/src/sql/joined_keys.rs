//! Pairs of a `USING` join that only told `*` which columns are one key ([`super::keys`]) are taken
//! out again.
//!
//! The first pair of a name is the one that is compared. Joins that DataFusion planned have one pair
//! for a name anyway.

use std::collections::BTreeSet;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, Join, JoinConstraint, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::keys::is_hidden;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct JoinedKeys;

impl AnalyzerRule for JoinedKeys {
    fn name(&self) -> &'static str {
        "joined_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let stripped = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if join.join_constraint == JoinConstraint::Using => {
                Ok(Transformed::yes(LogicalPlan::Join(stripped(join))))
            }
            other => Ok(Transformed::no(other)),
        });
        stripped.data()
    }
}

fn stripped(mut join: Join) -> Join {
    let columns = join.on.iter().flat_map(|(left, right)| [left, right]);
    if !columns.filter_map(column).any(is_hidden) {
        return join;
    }
    let mut names = BTreeSet::new();
    join.on.retain(|(left, _)| column(left).is_none_or(|column| names.insert(column.name.clone())));
    join
}

/// The column that a key is. Its type may have been coerced.
fn column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Cast(cast) => column(&cast.expr),
        _ => None,
    }
}
