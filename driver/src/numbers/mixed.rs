//! Decimals that meet floats: compared, and put into one column, as `DOUBLE`.
//!
//! DataFusion makes decimals of floats, with 15 digits after the point: `1e-16` becomes zero, and NaN an error. So does
//! a decimal become a float here, as in PostgreSQL and Spark, before DataFusion looks for a common type.
//!
//! A number that is written with a point is a float to DataFusion, and a decimal beside decimals to everyone else. So
//! it becomes the decimal that it is written as, and a column is compared as it is:
//!
//! ```text
//! double > decimal              double > cast(decimal as double)
//! decimal > 0.05                decimal > Decimal128(5, 2, 2)
//! decimal < 0.06 + 0.01         decimal < Decimal128(7, 2, 2), though the sum of the floats is less
//! decimal > 1e300               cast(decimal as double) > 1e300
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Operator, Projection, Subquery, Union, cast, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::floats::compares;
use super::{input_schema, map_named};

/// Digits that arithmetic on floats leaves right.
const RIGHT_DIGITS: usize = 15;

/// Functions whose arguments become one column.
const MIXING_FUNCTIONS: [&str; 7] =
    ["coalesce", "greatest", "ifnull", "least", "make_array", "nullif", "nvl"];

/// The rule. It runs before types are coerced.
#[derive(Debug)]
pub(super) struct MixedNumbers;

impl AnalyzerRule for MixedNumbers {
    fn name(&self) -> &'static str {
        "mixed_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut has_changed = false;
        plan.transform_up_with_subqueries(|node| {
            // Columns below may have other types than before.
            let node = if has_changed { node.recompute_schema()? } else { node };
            let rewritten = rewrite_node(node)?;
            if !rewritten.transformed {
                return Ok(rewritten);
            }
            has_changed = true;
            rewritten.map_data(LogicalPlan::recompute_schema)
        })
        .data()
    }
}

fn rewrite_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Union(union) => one_kind(union),
        LogicalPlan::Join(mut join) => {
            let mut is_new = false;
            for (left, right) in &mut join.on {
                let types =
                    [left.get_type(join.left.schema())?, right.get_type(join.right.schema())?];
                is_new |= meet(&mut [left, right], &types);
            }
            let node = LogicalPlan::Join(join);
            let schema = input_schema(&node)?;
            let rewritten =
                map_named(node, |expr| expr.transform_up(|expr| rewrite(expr, &schema)))?;
            let is_new = is_new || rewritten.transformed;
            Ok(Transformed::new_transformed(rewritten.data, is_new))
        }
        node => {
            let schema = input_schema(&node)?;
            map_named(node, |expr| expr.transform_up(|expr| rewrite(expr, &schema)))
        }
    }
}

fn rewrite(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_new = match &mut expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            mix(&mut [&mut *binary.left, &mut *binary.right], schema)
        }
        Expr::Between(between) => {
            mix(&mut [&mut *between.expr, &mut *between.low, &mut *between.high], schema)
        }
        Expr::InList(list) => {
            let mut operands: Vec<&mut Expr> = list.list.iter_mut().collect();
            operands.push(&mut list.expr);
            mix(&mut operands, schema)
        }
        Expr::Case(case) => {
            let (mut whens, mut thens) = (Vec::new(), Vec::new());
            for (when, then) in &mut case.when_then_expr {
                whens.push(when.as_mut());
                thens.push(then.as_mut());
            }
            thens.extend(case.else_expr.as_deref_mut());
            let is_compared = case.expr.as_deref_mut().is_some_and(|base| {
                whens.push(base);
                mix(&mut whens, schema)
            });
            is_compared | mix(&mut thens, schema)
        }
        Expr::ScalarFunction(call) if MIXING_FUNCTIONS.contains(&call.name()) => {
            mix(&mut call.args.iter_mut().collect::<Vec<_>>(), schema)
        }
        Expr::ScalarFunction(call) if call.name() == "nvl2" => {
            mix(&mut call.args.iter_mut().skip(1).collect::<Vec<_>>(), schema)
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            mix_with_subquery(expr, subquery, schema)?
        }
        Expr::SetComparison(comparison) => {
            mix_with_subquery(&mut comparison.expr, &mut comparison.subquery, schema)?
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, is_new))
}

/// Gives operands that meet one kind of numbers. Returns true if they had two.
fn mix(operands: &mut [&mut Expr], schema: &DFSchema) -> bool {
    // A parameter has no type yet.
    let types = operands.iter().map(|operand| operand.get_type(schema).ok());
    types.collect::<Option<Vec<_>>>().is_some_and(|types| meet(operands, &types))
}

fn meet(operands: &mut [&mut Expr], types: &[DataType]) -> bool {
    if !are_mixed(types) {
        return false;
    }
    let written: Option<Vec<(usize, ScalarValue)>> = (0..)
        .zip(operands.iter())
        .filter(|(at, _): &(usize, _)| types[*at].is_floating())
        .map(|(at, operand)| Some((at, as_written(operand)?)))
        .collect();
    if let Some(written) = written.filter(|written| fit_together(types, written)) {
        written.into_iter().for_each(|(at, value)| *operands[at] = lit(value));
        return true;
    }
    let decimals = operands.iter_mut().zip(types).filter(|(_, of)| of.is_decimal());
    decimals.for_each(|(operand, _)| **operand = as_double(std::mem::take(*operand)));
    true
}

fn as_double(expr: Expr) -> Expr {
    cast(expr, DataType::Float64)
}

fn mix_with_subquery(
    operand: &mut Expr,
    subquery: &mut Subquery,
    schema: &DFSchema,
) -> Result<bool> {
    let (Ok(operand_type), Some(field)) =
        (operand.get_type(schema), subquery.subquery.schema().fields().first())
    else {
        return Ok(false);
    };
    let types = [operand_type, field.data_type().clone()];
    let mut column = Expr::Column(subquery.subquery.schema().columns().remove(0));
    let of_column = column.clone();
    let is_new = meet(&mut [operand, &mut column], &types);
    if column != of_column {
        let plan = changed(subquery.subquery.as_ref().clone(), vec![(0, None)])?;
        subquery.subquery = Arc::new(plan);
    }
    Ok(is_new)
}

/// A union whose columns have one kind of numbers in all inputs.
fn one_kind(union: Union) -> Result<Transformed<LogicalPlan>> {
    let columns = union.schema.fields().len();
    let is_complete = |input: &Arc<LogicalPlan>| input.schema().fields().len() == columns;
    let mut changes: Vec<Vec<Change>> = vec![Vec::new(); union.inputs.len()];
    if union.inputs.iter().all(is_complete) {
        (0..columns).for_each(|at| change_column(&union.inputs, at, &mut changes));
    }
    if changes.iter().all(Vec::is_empty) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.into_iter().zip(changes).map(|(input, changes)| {
        Ok(match changes.is_empty() {
            true => input,
            false => Arc::new(changed(Arc::unwrap_or_clone(input), changes)?),
        })
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}

/// A column that is a written number, or becomes `DOUBLE`.
type Change = (usize, Option<ScalarValue>);

/// Adds what changes in the inputs of a union whose column has decimals and floats.
fn change_column(inputs: &[Arc<LogicalPlan>], at: usize, changes: &mut [Vec<Change>]) {
    let types = inputs.iter().map(|input| input.schema().field(at).data_type().clone());
    let types: Vec<DataType> = types.collect();
    if !are_mixed(&types) {
        return;
    }
    let written = (0..).zip(inputs).filter(|(input, _): &(usize, _)| types[*input].is_floating());
    let written = written.map(|(input, plan)| {
        let LogicalPlan::Projection(projection) = plan.as_ref() else { return None };
        Some((input, as_written(&projection.expr[at].clone().unalias())?))
    });
    match written.collect::<Option<Vec<_>>>() {
        Some(written) if fit_together(&types, &written) => {
            written.into_iter().for_each(|(input, value)| changes[input].push((at, Some(value))));
        }
        _ => {
            let decimals = changes.iter_mut().zip(&types).filter(|(_, of)| of.is_decimal());
            decimals.for_each(|(changes, _)| changes.push((at, None)));
        }
    }
}

/// The plan with other expressions for some of its columns, under their names.
fn changed(plan: LogicalPlan, changes: Vec<Change>) -> Result<LogicalPlan> {
    let names = plan.schema().columns();
    let (mut exprs, input) = match plan {
        LogicalPlan::Projection(Projection { expr, input, .. }) => (expr, input),
        plan => (names.iter().cloned().map(Expr::Column).collect(), Arc::new(plan)),
    };
    for (at, value) in changes {
        let name = names[at].clone();
        let column = std::mem::take(&mut exprs[at]).unalias();
        let other = value.map_or_else(|| as_double(column), lit);
        exprs[at] = other.alias_qualified(name.relation, name.name);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}

/// The decimal that a number is written as, if a decimal has so many digits.
fn as_written(expr: &Expr) -> Option<ScalarValue> {
    let text = match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => format!("{value:e}"),
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => format!("{value:e}"),
        expr => format!("{:.*e}", RIGHT_DIGITS - 1, computed(expr)?),
    };
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = i32::try_from(fraction.len()).ok()? - exponent.parse::<i32>().ok()?;
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    let units = units.checked_mul(10_i128.checked_pow(u32::try_from(-scale).unwrap_or(0))?)?;
    let scale = u8::try_from(scale.max(0)).ok()?;
    let digits = u8::try_from(units.unsigned_abs().to_string().len()).ok()?;
    let precision = digits.max(scale);
    let fits = precision <= DECIMAL128_MAX_PRECISION;
    fits.then_some(ScalarValue::Decimal128(Some(units), precision, scale as i8))
}

/// The value of arithmetic on written numbers, `0.06 + 0.01`; none of integers alone, which is not that of floats.
fn computed(expr: &Expr) -> Option<f64> {
    let operand = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value as f64),
        expr => computed(expr),
    };
    match expr {
        Expr::Literal(ScalarValue::Float64(value), _) => *value,
        Expr::Negative(inner) => Some(-computed(inner)?),
        Expr::BinaryExpr(binary) => {
            let is_integer = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.data_type().is_integer());
            if is_integer(&binary.left) && is_integer(&binary.right) {
                return None;
            }
            let (left, right) = (operand(&binary.left)?, operand(&binary.right)?);
            match binary.op {
                Operator::Plus => Some(left + right),
                Operator::Minus => Some(left - right),
                Operator::Multiply => Some(left * right),
                Operator::Divide => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns true if one type of decimals has all the digits of these ones, before and after the point.
fn fit_together(types: &[DataType], written: &[(usize, ScalarValue)]) -> bool {
    let written = written.iter().map(|(_, value)| value.data_type());
    let (mut whole, mut fraction, mut limit) = (0_i32, 0_i32, DECIMAL128_MAX_PRECISION);
    for of in types.iter().cloned().chain(written) {
        let (precision, scale) = match of {
            DataType::Decimal256(precision, scale) => {
                limit = DECIMAL256_MAX_PRECISION;
                (precision, scale)
            }
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => (precision, scale),
            _ => continue,
        };
        whole = whole.max(i32::from(precision) - i32::from(scale));
        fraction = fraction.max(i32::from(scale));
    }
    whole + fraction <= i32::from(limit)
}

fn are_mixed(types: &[DataType]) -> bool {
    types.iter().any(DataType::is_decimal) && types.iter().any(DataType::is_floating)
}
