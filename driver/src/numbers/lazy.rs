//! `AND` and `OR` whose right side is evaluated only where the left one leaves it open.
//!
//! DataFusion evaluates both sides for a whole batch unless the left decides nearly all of it, and
//! makes `CASE WHEN x <> 0 THEN 10 / x > 1 ELSE false END` such an `AND`. So `x <> 0 AND 10 / x > 1`
//! would fail on a row that the left side excludes. Where the right side can fail, the two become
//!
//! ```text
//! a AND b    CASE a WHEN true THEN b WHEN false THEN false ELSE NULL AND b END
//! a OR b     CASE a WHEN true THEN true WHEN false THEN b ELSE NULL OR b END
//! ```
//!
//! which DataFusion evaluates for the rows of each branch alone. The conditions of a filter that can't fail stay
//! in front of it, for those who look for conditions there:
//!
//! ```text
//! WHERE a AND b AND c    a AND c AND CASE a AND c WHEN true THEN b ELSE false END
//! ```

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Operator, lit};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use gnist_operators::functions::arithmetic::can_fail;
use gnist_operators::functions::scaled::is_scaled;

use super::{input_schema, map_named};

/// The rule, the last of the optimizer.
#[derive(Debug)]
pub(super) struct LazyLogic;

impl OptimizerRule for LazyLogic {
    fn name(&self) -> &'static str {
        "lazy_logic"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|node| {
            if !has_failing(&node)? {
                return Ok(Transformed::no(node));
            }
            let schema = input_schema(&node)?;
            match node {
                LogicalPlan::Filter(filter) => rewrite_filter(filter, &schema),
                node => map_named(node, |expr| rewrite(expr, &schema)),
            }
        })
    }
}

/// Returns true if an expression of a node can fail. Most nodes have none, and are as they are.
pub(super) fn has_failing(node: &LogicalPlan) -> Result<bool> {
    let schema = input_schema(node)?;
    let mut found = false;
    node.apply_expressions(|expr| {
        found = found || fails(expr, &schema);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn rewrite_filter(filter: Filter, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let conditions = split_conjunction_owned(filter.predicate.clone());
    let (failing, safe): (Vec<_>, Vec<_>) =
        conditions.into_iter().partition(|condition| is_open(condition, schema));
    let repeats = |condition: &Expr| condition.is_volatile() || has_subquery(condition);
    let (Some(failing), Some(guard)) = (lazy_conjunction(failing, schema)?, conjunction(safe))
    else {
        return map_named(LogicalPlan::Filter(filter), |expr| rewrite(expr, schema));
    };
    if repeats(&guard) {
        return map_named(LogicalPlan::Filter(filter), |expr| rewrite(expr, schema));
    }
    let guarded = when_true(guard.clone(), failing);
    let predicate = guard.and(guarded);
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
}

/// Conditions one after the other.
fn lazy_conjunction(conditions: Vec<Expr>, schema: &DFSchema) -> Result<Option<Expr>> {
    conditions.into_iter().try_fold(None, |before, condition| {
        let condition = rewrite(condition, schema)?.data;
        Ok(Some(match before {
            None => condition,
            Some(before) => when_true(before, condition),
        }))
    })
}

/// `then` where `condition` is true; a filter takes null for false.
fn when_true(condition: Expr, then: Expr) -> Expr {
    Expr::Case(Case {
        expr: Some(Box::new(condition)),
        when_then_expr: vec![(Box::new(lit(true)), Box::new(then))],
        else_expr: Some(Box::new(lit(false))),
    })
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right })
            if is_open(&right, schema) =>
        {
            let can_be_null = left.nullable(schema)?;
            Ok(Transformed::yes(lazy(*left, op, *right, can_be_null)))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// The columns of the result are as nullable as before.
fn lazy(left: Expr, operator: Operator, right: Expr, can_be_null: bool) -> Expr {
    let is_and = operator == Operator::And;
    let (if_true, if_false) =
        if is_and { (right.clone(), lit(false)) } else { (lit(true), right.clone()) };
    let mut branches = vec![(Box::new(lit(true)), Box::new(if_true))];
    let otherwise = if can_be_null {
        branches.push((Box::new(lit(false)), Box::new(if_false)));
        let unknown = Expr::Literal(ScalarValue::Boolean(None), None);
        Expr::BinaryExpr(BinaryExpr::new(Box::new(unknown), operator, Box::new(right)))
    } else {
        if_false
    };
    Expr::Case(Case {
        expr: Some(Box::new(left)),
        when_then_expr: branches,
        else_expr: Some(Box::new(otherwise)),
    })
}

/// Returns true if a condition can fail and is not one that this rule made.
fn is_open(condition: &Expr, schema: &DFSchema) -> bool {
    !is_lazy(condition) && fails(condition, schema)
}

fn is_lazy(expr: &Expr) -> bool {
    match expr {
        Expr::Case(Case { expr: Some(_), when_then_expr, .. }) => {
            matches!(when_then_expr.first(), Some((when, _)) if **when == lit(true))
        }
        _ => false,
    }
}

/// Returns true if an expression refuses some values of its columns.
pub(crate) fn fails(expr: &Expr, schema: &DFSchema) -> bool {
    let found = expr.exists(|expr| {
        Ok(match expr {
            Expr::ScalarFunction(call) => can_fail(&call.func) || is_scaled(&call.func),
            Expr::Cast(cast) => cast_fails(cast, schema),
            _ => false,
        })
    });
    found.expect("looking fails nowhere")
}

/// Returns true if a cast refuses some values of its type.
fn cast_fails(cast: &Cast, schema: &DFSchema) -> bool {
    let Ok(from) = cast.expr.get_type(schema) else { return true };
    let to = cast.field.data_type();
    let narrows = from.is_numeric() && to.is_integer() && bits(to) <= bits(&from);
    from.is_string() && !to.is_string() || from.is_floating() && !to.is_floating() || narrows
}

fn bits(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(usize::MAX)
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_)));
    expr.exists(is_subquery).expect("looking fails nowhere")
}
