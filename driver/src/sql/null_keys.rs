//! Null-safe join keys and plain ones stay apart.
//!
//! `ON p.a IS NOT DISTINCT FROM q.a` becomes a join all of whose keys are equal when both are null.
//! DataFusion then puts keys of the other kind into the same join, with which null = null is true,
//! or the null-safe ones into a plain join, which loses rows:
//!
//! - `extract_equijoin_predicate` makes a key of an equality in the join's filter. [`NotNullKeys`]
//!   stands before it and adds `p.b IS NOT NULL` to the equality `p.b = q.b`, which then means the
//!   same as a key and as a condition.
//! - `eliminate_cross_join` takes inner joins that touch apart, and builds all of them again with the
//!   topmost one's kind of equality. [`ApartJoins`] stands before it and puts a projection of all
//!   columns between a null-safe join and the joins and filters next to it. A key of columns of several
//!   inputs of a joined pair on the right is forgotten on the way; it goes into the filter, which is not.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator, Projection,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule about equalities beside null-safe keys. See the module.
#[derive(Debug)]
pub(super) struct NotNullKeys;

impl OptimizerRule for NotNullKeys {
    fn name(&self) -> &'static str {
        "not_null_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let added = not_null(&join);
        if added.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let filter = conjunction(join.filter.into_iter().chain(added));
        Ok(Transformed::yes(LogicalPlan::Join(Join { filter, ..join })))
    }
}

/// Returns the conditions that a join needs if its keys are null-safe and its filter has
/// equalities: the left side of each equality is not null.
fn not_null(join: &Join) -> Vec<Expr> {
    let (NullEquality::NullEqualsNull, Some(filter)) = (join.null_equality, &join.filter) else {
        return Vec::new();
    };
    let conjuncts = split_conjunction(filter);
    let operands = conjuncts.iter().filter_map(|conjunct| match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, .. }) => Some(left.as_ref()),
        _ => None,
    });
    let missing = operands.map(|operand| Expr::IsNotNull(Box::new(operand.clone())));
    missing.filter(|missing| !conjuncts.contains(&missing)).collect()
}

/// The rule about inner joins that touch. See the module.
#[derive(Debug)]
pub(super) struct ApartJoins;

impl OptimizerRule for ApartJoins {
    fn name(&self) -> &'static str {
        "apart_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(mut join) if is_null_safe(&join) => {
                join.left = apart(join.left)?;
                join.right = apart(join.right)?;
                let join = Arc::new(LogicalPlan::Join(join));
                Ok(Transformed::yes(LogicalPlan::clone(&*apart(join)?)))
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                Ok(wide_keys_apart(join))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The join with those keys in its filter that several of the inputs make which are taken apart.
fn wide_keys_apart(mut join: Join) -> Transformed<LogicalPlan> {
    let (left, right) = (inputs(&join.left), inputs(&join.right));
    let is_wide = |key: &Expr, inputs: &[&LogicalPlan]| {
        let makes = |input: &&&LogicalPlan| {
            key.column_refs().into_iter().any(|column| input.schema().has_column(column))
        };
        inputs.iter().filter(makes).count() > 1
    };
    let (wide, on): (Vec<_>, Vec<_>) =
        std::mem::take(&mut join.on).into_iter().partition(|(left_key, right_key)| {
            right.len() > 1 && (is_wide(left_key, &left) || is_wide(right_key, &right))
        });
    let is_new = !wide.is_empty();
    join.on = on;
    let filter = join.filter.take();
    let wide = wide.into_iter().map(|(left, right)| left.eq(right));
    join.filter = conjunction(filter.into_iter().chain(wide));
    Transformed::new_transformed(LogicalPlan::Join(join), is_new)
}

/// The inputs of inner joins that touch.
fn inputs(plan: &LogicalPlan) -> Vec<&LogicalPlan> {
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            inputs(&join.left).into_iter().chain(inputs(&join.right)).collect()
        }
        other => vec![other],
    }
}

fn is_null_safe(join: &Join) -> bool {
    join.join_type == JoinType::Inner
        && join.null_equality == NullEquality::NullEqualsNull
        && !join.on.is_empty()
}

/// An inner join below a projection of its columns; anything else as it is.
fn apart(plan: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    match plan.as_ref() {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let columns = join.schema.columns().into_iter().map(Expr::Column).collect();
            Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, plan)?)))
        }
        _ => Ok(plan),
    }
}
