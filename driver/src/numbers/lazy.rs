//! `AND` and `OR` whose right side is evaluated only where the left one leaves it open.
//!
//! DataFusion evaluates both sides for a whole batch unless the left decides nearly all of it, and
//! makes `CASE WHEN x <> 0 THEN 10 / x > 1 ELSE false END` such an `AND`. So `x <> 0 AND 10 / x > 1`
//! would fail on a row that the left side excludes. Where the right side can fail, the two become
//!
//! ```text
//!            a can't fail                                 a can fail
//! a AND b    CASE a IS FALSE WHEN true THEN false         CASE a WHEN true THEN b WHEN false THEN false
//!              ELSE b AND a END                             ELSE NULL AND b END
//! a OR b     CASE a IS TRUE WHEN true THEN true           CASE a WHEN true THEN true WHEN false THEN b
//!              ELSE b OR a END                              ELSE NULL OR b END
//!
//!            a is never null
//! a AND b    CASE a WHEN true THEN b ELSE false END
//! a OR b     CASE a WHEN true THEN true ELSE b END
//! ```
//!
//! which DataFusion evaluates for the rows of each branch alone. Outside of filters a large `b` (500 expressions) stays
//! as it is beside an `a` that can fail too and be null: a chain of such conditions would be copied level by level.
//! The conditions of a filter that can't fail stay
//! in front of it, for those who look for conditions there:
//!
//! ```text
//! WHERE a AND b AND c    a AND c AND CASE a AND c WHEN true THEN b ELSE false END
//! ```

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, Operator, lit,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use gnist_operators::functions::arithmetic::can_fail;
use gnist_operators::functions::scaled::is_scaled;

use super::{input_schema, map_named};

/// The most expressions inside of a condition that is copied.
const COPIED_EXPRS_MAX: usize = 500;

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
                LogicalPlan::Join(join) if !marks(&join) => rewrite_join(join, &schema),
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
    let predicate = lazy_predicate(filter.predicate.clone(), schema)?;
    if !predicate.transformed {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate.data, filter.input)?)))
}

/// A join's condition on both sides, which takes null for false as a filter does.
fn rewrite_join(mut join: Join, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let condition = join.filter.take().map(|condition| lazy_predicate(condition, schema));
    let keys = map_named(LogicalPlan::Join(join), |expr| rewrite(expr, schema))?;
    let Some(condition) = condition.transpose()? else { return Ok(keys) };
    let is_new = keys.transformed || condition.transformed;
    let node = match keys.data {
        LogicalPlan::Join(join) => LogicalPlan::Join(Join { filter: Some(condition.data), ..join }),
        node => node,
    };
    Ok(Transformed::new_transformed(node, is_new))
}

/// A condition that takes null for false: what can't fail first, and for itself, so that others see it.
fn lazy_predicate(predicate: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_own = match &predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => is_made(left, right),
        _ => false,
    };
    if is_own || !fails(&predicate, schema) {
        return Ok(Transformed::no(predicate));
    }
    let conditions = split_conjunction_owned(predicate.clone());
    if conditions.len() == 1 {
        return rewrite(predicate, schema);
    }
    let (failing, safe): (Vec<_>, Vec<_>) =
        conditions.into_iter().partition(|condition| fails(condition, schema));
    // A guard has two copies.
    let (guards, before): (Vec<_>, Vec<_>) = safe
        .into_iter()
        .partition(|condition| !condition.is_volatile() && !has_subquery(condition));
    let behind = lazy_conjunction(before.into_iter().chain(failing).collect(), schema)?;
    Ok(Transformed::yes(match (conjunction(guards), behind) {
        (Some(guard), Some(behind)) => {
            let guarded = when_true(guard.clone(), behind);
            guard.and(guarded)
        }
        (guard, behind) => guard.or(behind).unwrap_or_else(|| lit(true)),
    }))
}

/// Conditions one after the other, in one `CASE`: a level for each would be planned level by level.
fn lazy_conjunction(conditions: Vec<Expr>, schema: &DFSchema) -> Result<Option<Expr>> {
    let lazy = conditions.into_iter().map(|condition| Ok(rewrite(condition, schema)?.data));
    let mut lazy = lazy.collect::<Result<Vec<_>>>()?;
    let Some(last) = lazy.pop() else { return Ok(None) };
    if lazy.is_empty() {
        return Ok(Some(last));
    }
    let branches = lazy.into_iter().map(|it| (Expr::IsNotTrue(Box::new(it)), lit(false)));
    Ok(Some(case_of(lit(true), branches.collect(), last)))
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
            if fails(&right, schema) && !is_made(&left, &right) =>
        {
            let guards = !fails(&left, schema) && !left.is_volatile() && !has_subquery(&left);
            Ok(match (left.nullable(schema)?, guards) {
                (false, _) => Transformed::yes(without_nulls(*left, op, *right)),
                (true, true) => Transformed::yes(guarded(*left, op, *right)),
                (true, false) if may_be_copied(&right)? => {
                    Transformed::yes(three_valued(*left, op, *right))
                }
                _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            })
        }
        other => Ok(Transformed::no(other)),
    })
}

/// A right side behind a left one that is never null.
fn without_nulls(left: Expr, operator: Operator, right: Expr) -> Expr {
    let (if_true, if_false) =
        if operator == Operator::And { (right, lit(false)) } else { (lit(true), right) };
    case_of(left, vec![(lit(true), if_true)], if_false)
}

/// A right side behind a left one that can't fail: two copies of the left one.
fn guarded(left: Expr, operator: Operator, right: Expr) -> Expr {
    let both = BinaryExpr::new(Box::new(right), operator, Box::new(left.clone()));
    let left = Box::new(left);
    let is_and = operator == Operator::And;
    let decides = if is_and { Expr::IsFalse(left) } else { Expr::IsTrue(left) };
    case_of(decides, vec![(lit(true), lit(!is_and))], Expr::BinaryExpr(both))
}

/// A right side behind a left one that can fail too: two copies of the right one.
fn three_valued(left: Expr, operator: Operator, right: Expr) -> Expr {
    let is_and = operator == Operator::And;
    let (if_true, if_false) =
        if is_and { (right.clone(), lit(false)) } else { (lit(true), right.clone()) };
    let unknown = BinaryExpr::new(Box::new(unknown()), operator, Box::new(right));
    let branches = vec![(lit(true), if_true), (lit(false), if_false)];
    case_of(left, branches, Expr::BinaryExpr(unknown))
}

fn case_of(base: Expr, branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then)));
    Expr::Case(Case {
        expr: Some(Box::new(base)),
        when_then_expr: branches.collect(),
        else_expr: Some(Box::new(otherwise)),
    })
}

fn unknown() -> Expr {
    Expr::Literal(ScalarValue::Boolean(None), None)
}

/// Returns true for a join that tells null from false.
fn marks(join: &Join) -> bool {
    join.null_aware || matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark)
}

/// Returns true if these are the sides of an `AND` or `OR` that this rule made.
fn is_made(left: &Expr, right: &Expr) -> bool {
    let is_filter = || match right {
        Expr::Case(Case { expr: Some(base), .. }) => is_lazy(right) && base.as_ref() == left,
        _ => false,
    };
    *left == unknown() || is_filter()
}

/// Returns true for a condition that is small enough for copies.
fn may_be_copied(condition: &Expr) -> Result<bool> {
    let mut count = 0;
    condition.apply(|_| {
        count += 1;
        let is_small = count <= COPIED_EXPRS_MAX;
        Ok(if is_small { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(count <= COPIED_EXPRS_MAX)
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
            Expr::ScalarFunction(call) => {
                can_fail(&call.func) || is_scaled(&call.func) || call_fails(call, schema)
            }
            Expr::Cast(cast) => cast_fails(cast, schema),
            Expr::BinaryExpr(BinaryExpr { op, right, .. }) => {
                is_regex(*op) && !matches!(**right, Expr::Literal(..))
            }
            _ => false,
        })
    });
    found.expect("looking fails nowhere")
}

/// Returns true for a match with a pattern that may be none.
fn is_regex(operator: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(operator, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

/// DataFusion's functions that refuse a text which is no moment, or a number that is none.
const READING_FUNCTIONS: [&str; 9] = [
    "from_unixtime",
    "to_date",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
];

/// Those whose result may be too large for an integer.
const GROWING_FUNCTIONS: [&str; 5] = ["abs", "factorial", "gcd", "lcm", "power"];

/// Those that refuse some values of an argument, by its place.
const CHOOSY_FUNCTIONS: [(&str, usize); 24] = [
    ("array_repeat", 1),
    ("array_resize", 1),
    ("chr", 0),
    ("decode", 0),
    ("generate_series", 0),
    ("generate_series", 1),
    ("generate_series", 2),
    ("lpad", 1),
    ("make_date", 0),
    ("make_date", 1),
    ("make_date", 2),
    ("make_time", 0),
    ("range", 0),
    ("range", 1),
    ("range", 2),
    ("regexp_count", 1),
    ("regexp_instr", 1),
    ("regexp_like", 1),
    ("regexp_match", 1),
    ("regexp_replace", 1),
    ("repeat", 1),
    ("split_part", 2),
    ("sqrt", 0),
    ("substr", 2),
];

/// Returns true if a function of DataFusion's refuses some values of its arguments.
fn call_fails(call: &ScalarFunction, schema: &DFSchema) -> bool {
    let name = call.name();
    let type_of = |at: usize| call.args.get(at).and_then(|arg| arg.get_type(schema).ok());
    let is_read = |of: DataType| of.is_string() || of.is_integer();
    READING_FUNCTIONS.contains(&name) && type_of(0).is_none_or(is_read)
        || GROWING_FUNCTIONS.contains(&name) && type_of(0).is_none_or(|of| !of.is_floating())
        || CHOOSY_FUNCTIONS.iter().any(|(choosy, at)| {
            *choosy == name
                && call.args.get(*at).is_some_and(|arg| !matches!(arg, Expr::Literal(..)))
        })
}

/// Returns true if a cast refuses some values of its type.
fn cast_fails(cast: &Cast, schema: &DFSchema) -> bool {
    let from = cast.expr.get_type(schema);
    !from.is_ok_and(|from| is_always_cast(&from, cast.field.data_type()))
}

/// Returns true if all values of a type have one of the other.
fn is_always_cast(from: &DataType, to: &DataType) -> bool {
    if let (DataType::List(from), DataType::List(to)) = (from, to) {
        return is_always_cast(from.data_type(), to.data_type());
    }
    let narrows = from.is_numeric() && to.is_integer() && bits(to) <= bits(from);
    let loses_digits = match (digits(from), digits(to)) {
        (Some((from, scale)), Some((to, to_scale))) if to_scale.is_some() => {
            // 9.99 is 10.0 with a digit less behind the point.
            from + i32::from(scale > to_scale) > to
        }
        _ => false,
    };
    let is_far = is_moment(from) && is_of_nanoseconds(to);
    let is_read = from.is_string() && !to.is_string();
    let is_cut = from.is_floating() && !to.is_floating();
    !(is_far || is_read || is_cut || narrows || loses_digits)
}

/// Returns true for dates, and timestamps that reach beyond 2262.
fn is_moment(of: &DataType) -> bool {
    use DataType::{Date32, Date64, Timestamp};
    matches!(of, Date32 | Date64 | Timestamp(..)) && !is_of_nanoseconds(of)
}

fn is_of_nanoseconds(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

/// The digits before the point that a type of exact numbers has, and those behind it of a decimal.
fn digits(data_type: &DataType) -> Option<(i32, Option<i8>)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, None),
        DataType::Int16 | DataType::UInt16 => (5, None),
        DataType::Int32 | DataType::UInt32 => (10, None),
        DataType::Int64 => (19, None),
        DataType::UInt64 => (20, None),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            (i32::from(*precision) - i32::from(*scale), Some(*scale))
        }
        _ => return None,
    })
}

fn bits(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(usize::MAX)
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_)));
    expr.exists(is_subquery).expect("looking fails nowhere")
}
