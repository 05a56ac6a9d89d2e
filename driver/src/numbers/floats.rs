//! One NaN and one zero for everything that compares floats: comparisons, join keys, groups,
//! `DISTINCT`, sorts, window partitions, minimum and maximum.
//!
//! `normal_float` (gnist_operators) goes around a float wherever one is compared, as Spark's
//! `NormalizeFloatingNumbers` does. To make floats normal where they arise was rejected: a table
//! would come back with other zeros than it has, every scan would pay, and a filter above a
//! projection could not go into a scan.
//!
//! Intervals of one length are made equal the same way, by `normal_interval`.
//!
//! Statistics of floats leave NaN out, so that a comparison of a normal float, which no pruning
//! looks into, is also what keeps row groups with NaN from being skipped.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunctionParams, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, JoinConstraint, LogicalPlan, Operator, ScalarUDF, SortExpr, cast,
};
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use gnist_operators::functions::{normal_float, normal_interval, normal_nested};

use super::{groups_of, input_schema, map_named, rewritten};

/// Comparisons of constants, and constants that are compared, before they are folded: rules compare
/// them by their bits.
#[derive(Debug)]
pub(super) struct NormalConstants;

impl AnalyzerRule for NormalConstants {
    fn name(&self) -> &'static str {
        "normal_constants"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let input = Input::of(&node)?;
            map_named(node, |expr| {
                expr.transform_up(|expr| match &expr {
                    // Only these are looked into: others may be as deep as the query is long.
                    _ if !compares_operands(&expr) => Ok(Transformed::no(expr)),
                    _ if is_constant(&expr) => compare(expr, &input),
                    _ => Ok(with_normal_constants(expr, &input)),
                })
            })
        })
        .data()
    }
}

fn is_constant(expr: &Expr) -> bool {
    !expr.any_column_refs() && !expr.contains_outer()
}

/// Makes the constants normal that something else is compared with.
fn with_normal_constants(mut expr: Expr, input: &Input) -> Transformed<Expr> {
    let normal = |expr: &mut Expr| is_constant(expr) && make_normal(expr, input);
    let is_new = match &mut expr {
        Expr::BinaryExpr(binary) => normal(&mut binary.left) | normal(&mut binary.right),
        Expr::Between(between) => normal(&mut between.low) | normal(&mut between.high),
        Expr::InList(list) => list.list.iter_mut().fold(false, |any, item| any | normal(item)),
        _ => false,
    };
    Transformed::new_transformed(expr, is_new)
}

fn compares_operands(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => compares(binary.op),
        Expr::Between(_) | Expr::InList(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        Expr::ScalarFunction(call) => COMPARING_FUNCTIONS.contains(&call.name()),
        _ => false,
    }
}

/// The rule that makes floats normal wherever an optimised plan compares them.
#[derive(Debug)]
pub(super) struct NormalFloats;

/// Runs before the optimizer too: the optimizer takes what holds of a key for all that are equal to
/// it, and moves a filter on the text of 0.0 to the side that has -0.0.
impl AnalyzerRule for NormalFloats {
    fn name(&self) -> &'static str {
        "normal_floats"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_node).data()
    }
}

impl OptimizerRule for NormalFloats {
    fn name(&self) -> &'static str {
        "normal_floats"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(rewrite_node)
    }
}

/// Aggregate functions that compare their arguments.
const COMPARING_AGGREGATES: [&str; 8] = [
    "min",
    "max",
    "median",
    "approx_median",
    "percentile_cont",
    "quantile_cont",
    "approx_percentile_cont",
    "approx_distinct",
];

/// Scalar functions that compare their arguments.
const COMPARING_FUNCTIONS: [&str; 3] = ["nullif", "greatest", "least"];

fn rewrite_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let input = Input::of(&node)?;
    let compared = map_named(node, |expr| expr.transform_up(|expr| compare(expr, &input)))?;
    compared.transform_data(|node| match node {
        LogicalPlan::Aggregate(mut aggregate) => {
            let groups = groups_of(&mut aggregate).into_iter();
            let is_new = groups.fold(false, |any, group| any | make_group_normal(group, &input));
            rewritten(aggregate, is_new)
        }
        LogicalPlan::Join(mut join) => {
            let (left, right) = (Input::from(&*join.left), Input::from(&*join.right));
            let mut is_new = false;
            for (left_key, right_key) in &mut join.on {
                is_new |= make_normal(left_key, &left) | make_normal(right_key, &right);
            }
            if is_new {
                // The keys of `USING` are columns. Names are resolved, and it means nothing any more.
                join.join_constraint = JoinConstraint::On;
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), is_new))
        }
        LogicalPlan::Sort(mut sort) => {
            let is_new = make_sorts_normal(&mut sort.expr, &input);
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), is_new))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Groups keep the names by which the nodes above call them.
fn make_group_normal(group: &mut Expr, input: &Input) -> bool {
    let (relation, name) = group.qualified_name();
    let is_new = make_normal(group, input);
    if is_new {
        *group = std::mem::take(group).alias_qualified(relation, name);
    }
    is_new
}

/// Makes the floats normal that an expression compares.
fn compare(mut expr: Expr, input: &Input) -> Result<Transformed<Expr>> {
    let normal = |expr: &mut Expr| make_normal(expr, input);
    let is_new = match &mut expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            normal(&mut binary.left) | normal(&mut binary.right)
        }
        Expr::Between(between) => {
            normal(&mut between.expr) | normal(&mut between.low) | normal(&mut between.high)
        }
        Expr::InList(list) => make_all_normal(&mut list.list, input) | normal(&mut list.expr),
        Expr::Case(case) => match &mut case.expr {
            Some(base) => {
                let whens = case.when_then_expr.iter_mut().map(|(when, _)| normal(when));
                whens.fold(false, |any, is_new| any | is_new) | normal(base)
            }
            None => false,
        },
        Expr::ScalarFunction(call) if COMPARING_FUNCTIONS.contains(&call.name()) => {
            make_all_normal(&mut call.args, input)
        }
        Expr::AggregateFunction(call) => {
            let name = call.func.name();
            let compares = COMPARING_AGGREGATES.contains(&name) || call.params.distinct;
            let is_new = compare_in_aggregate(&mut call.params, compares, input);
            is_new | (name == "approx_distinct" && make_text(&mut call.params.args, input))
        }
        Expr::WindowFunction(call) => compare_in_window(call, input),
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, is_new))
}

pub(crate) fn compares(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn compare_in_aggregate(
    params: &mut AggregateFunctionParams,
    compares: bool,
    input: &Input,
) -> bool {
    let arguments = compares && make_all_normal(&mut params.args, input);
    make_sorts_normal(&mut params.order_by, input) | arguments
}

fn compare_in_window(call: &mut WindowFunction, input: &Input) -> bool {
    let compares = COMPARING_AGGREGATES.contains(&call.fun.name()) || call.params.distinct;
    let arguments = compares && make_all_normal(&mut call.params.args, input);
    let arguments = arguments
        | (call.fun.name() == "approx_distinct" && make_text(&mut call.params.args, input));
    make_all_normal(&mut call.params.partition_by, input)
        | make_sorts_normal(&mut call.params.order_by, input)
        | arguments
}

fn make_all_normal(exprs: &mut [Expr], input: &Input) -> bool {
    exprs.iter_mut().fold(false, |any, expr| any | make_normal(expr, input))
}

fn make_sorts_normal(sorts: &mut [SortExpr], input: &Input) -> bool {
    sorts.iter_mut().fold(false, |any, sort| any | make_normal(&mut sort.expr, input))
}

/// Makes texts of floats, which `approx_distinct` doesn't take. Each float has its own.
fn make_text(exprs: &mut [Expr], input: &Input) -> bool {
    exprs.iter_mut().fold(false, |any, expr| {
        let is_float = input.type_of(expr).is_some_and(|of| normal_float::is_float(&of));
        if is_float {
            *expr = cast(std::mem::take(expr), DataType::Utf8);
        }
        any | is_float
    })
}

/// Makes a float or an interval normal, unless it is. Returns true if it was not.
fn make_normal(expr: &mut Expr, input: &Input) -> bool {
    let Some(function) = input.type_of(expr).and_then(|of| normal_form(&of)) else { return false };
    if input.is_normal(expr) {
        return false;
    }
    let args = vec![std::mem::take(expr)];
    *expr = Expr::ScalarFunction(ScalarFunction::new_udf(function, args));
    true
}

/// The function that makes values of a type normal, if it has several for one.
pub(crate) fn normal_form(data_type: &DataType) -> Option<Arc<ScalarUDF>> {
    if normal_float::is_float(data_type) {
        Some(normal_float::function())
    } else if normal_interval::is_interval(data_type) {
        Some(normal_interval::function())
    } else if normal_nested::is_nested(data_type) {
        Some(normal_nested::function())
    } else {
        None
    }
}

/// The input of a node, as its expressions see it.
struct Input {
    schema: DFSchema,
    /// Columns that a projection below makes normal: common subexpressions are moved there, and the
    /// optimizer runs this rule again.
    normal: Vec<Column>,
}

impl From<&LogicalPlan> for Input {
    fn from(below: &LogicalPlan) -> Self {
        Self { schema: below.schema().as_ref().clone(), normal: normal_columns(below) }
    }
}

impl Input {
    /// The inputs of a node, together.
    fn of(node: &LogicalPlan) -> Result<Self> {
        let normal = node.inputs().into_iter().flat_map(normal_columns).collect();
        Ok(Self { schema: input_schema(node)?, normal })
    }

    fn type_of(&self, expr: &Expr) -> Option<DataType> {
        expr.get_type(&self.schema).ok()
    }

    fn is_normal(&self, expr: &Expr) -> bool {
        match expr {
            Expr::ScalarFunction(_) => is_call(expr),
            Expr::Alias(alias) => self.is_normal(&alias.expr),
            Expr::Column(column) => self.normal.contains(column),
            // What comes of an integer or a decimal has one zero and no NaN.
            Expr::Cast(cast) => self
                .type_of(&cast.expr)
                .is_some_and(|data_type| data_type.is_integer() || data_type.is_decimal()),
            Expr::Literal(value, _) => is_normal_constant(value),
            _ => false,
        }
    }
}

fn is_call(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_call(&alias.expr),
        Expr::ScalarFunction(call) => {
            let function = &call.func;
            normal_float::is_normal_float(function)
                || normal_interval::is_normal_interval(function)
                || normal_nested::is_normal_nested(function)
        }
        _ => false,
    }
}

/// Columns of a projection that are calls of `normal_float` or `normal_interval`.
fn normal_columns(plan: &LogicalPlan) -> Vec<Column> {
    let LogicalPlan::Projection(projection) = plan else { return Vec::new() };
    let columns = projection.schema.columns().into_iter().zip(&projection.expr);
    columns.filter(|(_, expr)| is_call(expr)).map(|(column, _)| column).collect()
}

fn is_normal_constant(value: &ScalarValue) -> bool {
    value.to_array().is_ok_and(|values| {
        let normal = normal_interval::normal(&normal_float::normal(&values));
        let normal = normal_nested::normal(&normal);
        Arc::ptr_eq(&normal, &values)
    })
}
