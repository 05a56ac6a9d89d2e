//! Dates, timestamps and timestamps with a zone where they become one type.
//!
//! DataFusion makes a date and a timestamp with a zone timestamps without one, which is another moment, and
//! subtracts the digits of clocks of two zones. It makes a date and a timestamp nanoseconds, which end in
//! 2262, whatever the timestamp has. Here the type that is asked for is that of PostgreSQL:
//!
//! ```text
//! date, timestamp                  a timestamp in the unit of the latter
//! date or timestamp, timestamptz   a timestamp in the session's zone
//! times of a day in two units      a time in nanoseconds (DataFusion refuses them)
//! ```
//!
//! The places are differences, `CASE`, `coalesce`, `greatest`, arrays and `UNION`; and comparisons, `BETWEEN`
//! and `IN` of times, and of a date with a timestamp that has no nanoseconds. The others [`super::far_dates`] and
//! [`super::zones`] see to.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection, Subquery,
    Union, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::far_dates::constant;
use crate::numbers::{input_schema, map_named};

/// Functions whose value is one of their arguments.
const CHOOSING_FUNCTIONS: [&str; 6] =
    ["coalesce", "nvl", "ifnull", "greatest", "least", "make_array"];

/// The rule. See the module. It comes before DataFusion coerces types.
#[derive(Debug)]
pub(super) struct MixedTimes;

impl AnalyzerRule for MixedTimes {
    fn name(&self) -> &'static str {
        "mixed_times"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone: Arc<str> = config.execution.time_zone.as_deref().unwrap_or("UTC").into();
        let mut is_new = false;
        let mixed = plan.transform_up_with_subqueries(|node| {
            let input = Input { schema: input_schema(&node)?, zone: &zone };
            let node = map_named(node, |expr| expr.transform_up(|expr| input.unmixed(expr)))?;
            is_new |= node.transformed;
            let node = match node.data {
                LogicalPlan::Union(union) => of_one_type(union, &zone)?,
                LogicalPlan::Join(mut join) => {
                    let is_new = compare_keys(&mut join, &zone);
                    Transformed::new_transformed(LogicalPlan::Join(join), is_new)
                }
                node => Transformed::no(node),
            };
            is_new |= node.transformed;
            match node.data {
                node if !is_new => Ok(Transformed::no(node)),
                LogicalPlan::Union(union) => {
                    let union = Union::try_new_with_loose_types(union.inputs)?;
                    Ok(Transformed::yes(LogicalPlan::Union(union)))
                }
                node => node.recompute_schema().map(Transformed::yes),
            }
        });
        mixed.data()
    }
}

/// The columns that expressions may name, and the session's zone.
struct Input<'a> {
    schema: DFSchema,
    zone: &'a Arc<str>,
}

impl Input<'_> {
    fn unmixed(&self, mut expr: Expr) -> Result<Transformed<Expr>> {
        let is_new = match &mut expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                self.cast_all(vec![left, right])
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
                self.compare(vec![left, right])
            }
            Expr::Between(between) => {
                self.compare(vec![&mut between.expr, &mut between.low, &mut between.high])
            }
            Expr::InList(list) => {
                self.compare(std::iter::once(list.expr.as_mut()).chain(&mut list.list).collect())
            }
            Expr::InSubquery(inside) => {
                self.compare_with_query(&mut inside.expr, &mut inside.subquery)?
            }
            Expr::SetComparison(set) => {
                self.compare_with_query(&mut set.expr, &mut set.subquery)?
            }
            Expr::Case(case) => {
                let mut values: Vec<&mut Expr> =
                    case.else_expr.as_deref_mut().into_iter().collect();
                let mut compared: Vec<&mut Expr> = case.expr.as_deref_mut().into_iter().collect();
                let compares = !compared.is_empty();
                for (when, then) in &mut case.when_then_expr {
                    compared.push(when);
                    values.push(then);
                }
                let is_new = compares && self.compare(compared);
                self.cast_all(values) | is_new
            }
            Expr::ScalarFunction(call) if CHOOSING_FUNCTIONS.contains(&call.name()) => {
                self.cast_all(call.args.iter_mut().collect())
            }
            Expr::ScalarFunction(call) if call.name() == "nvl2" => {
                self.cast_all(call.args.iter_mut().skip(1).collect())
            }
            _ => false,
        };
        Ok(Transformed::new_transformed(expr, is_new))
    }

    /// The types of expressions; none if one has none, whose error comes later, with its place.
    fn types(&self, exprs: &[&mut Expr]) -> Option<Vec<DataType>> {
        exprs.iter().map(|expr| expr.get_type(&self.schema).ok()).collect()
    }

    /// Casts dates and timestamps to what they are together. Returns true if one was something else.
    fn cast_all(&self, exprs: Vec<&mut Expr>) -> bool {
        let Some(types) = self.types(&exprs) else { return false };
        common_type(&types, self.zone).is_some_and(|to| cast_each(exprs, &types, &to))
    }

    fn compare(&self, exprs: Vec<&mut Expr>) -> bool {
        self.types(&exprs).is_some_and(|types| compare(exprs, &types, self.zone))
    }

    /// An expression that is compared with the column of a subquery.
    fn compare_with_query(&self, expr: &mut Expr, query: &mut Subquery) -> Result<bool> {
        let schema = query.subquery.schema();
        let [field] = schema.fields().as_ref() else { return Ok(false) };
        let column = Column::from(schema.qualified_field(0));
        let mut value = Expr::Column(column.clone());
        let Ok(of) = expr.get_type(&self.schema) else { return Ok(false) };
        if !compare(vec![expr, &mut value], &[of, field.data_type().clone()], self.zone) {
            return Ok(false);
        }
        let value = value.alias_qualified(column.relation, column.name);
        let values = Projection::try_new(vec![value], Arc::clone(&query.subquery))?;
        *query = query.with_plan(Arc::new(LogicalPlan::Projection(values)));
        Ok(true)
    }
}

/// Casts expressions of several types to one. Returns true, for one of them is something else.
fn cast_each(exprs: Vec<&mut Expr>, types: &[DataType], to: &DataType) -> bool {
    for (expr, from) in exprs.into_iter().zip(types) {
        if from != to {
            *expr = cast(std::mem::take(expr), to.clone());
        }
    }
    true
}

/// Makes dates, and timestamps that have no nanoseconds, timestamps that are compared: of the session's clock, or
/// instants where the dates are constants, so that files are pruned by them. Returns true if it did.
fn compare(mut exprs: Vec<&mut Expr>, types: &[DataType], zone: &Arc<str>) -> bool {
    let to = match common_type(types, zone) {
        Some(to @ DataType::Time64(_)) => return cast_each(exprs, types, &to),
        Some(to) if types.iter().any(is_date) => to,
        _ => return false,
    };
    if as_instants(&mut exprs, types, &to) {
        return true;
    }
    let DataType::Timestamp(unit, _) = to else { return false };
    if unit == TimeUnit::Nanosecond {
        return false;
    }
    let local = DataType::Timestamp(unit, None);
    for (expr, from) in exprs.into_iter().zip(types) {
        if let DataType::Timestamp(unit, Some(_)) = from {
            let here = DataType::Timestamp(*unit, Some(Arc::clone(zone)));
            *expr = to_local_time().call(vec![cast(std::mem::take(expr), here)]);
        } else if *from != local {
            *expr = cast(std::mem::take(expr), local.clone());
        }
    }
    true
}

/// Compares the keys of a join. Returns true if one is something else.
fn compare_keys(join: &mut Join, zone: &Arc<str>) -> bool {
    let (left, right) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    join.on.iter_mut().fold(false, |any, (left_key, right_key)| {
        let types = (left_key.get_type(&left), right_key.get_type(&right));
        let (Ok(left_type), Ok(right_type)) = types else { return any };
        compare(vec![left_key, right_key], &[left_type, right_type], zone) | any
    })
}

/// Makes dates and timestamps without a zone instants, if they are constants that are one moment in the zone. Returns
/// true if it did.
fn as_instants(exprs: &mut [&mut Expr], types: &[DataType], to: &DataType) -> bool {
    let is_zoned = |of: &DataType| matches!(of, DataType::Timestamp(_, Some(_)));
    if !is_zoned(to) {
        return false;
    }
    let instants = exprs.iter().zip(types).map(|(expr, of)| match is_zoned(of) {
        true => Some(None),
        false => Some(Some(constant(expr)?.cast_to(to).ok()?)),
    });
    let Some(instants) = instants.collect::<Option<Vec<_>>>() else { return false };
    for (expr, instant) in exprs.iter_mut().zip(instants) {
        if let Some(instant) = instant {
            **expr = lit(instant);
        }
    }
    true
}

/// Casts the columns of a union's inputs to what they are together.
fn of_one_type(union: Union, zone: &Arc<str>) -> Result<Transformed<LogicalPlan>> {
    let types_of = |at: usize| -> Option<Vec<DataType>> {
        let types = union
            .inputs
            .iter()
            .map(|input| input.schema().fields().get(at).map(|field| field.data_type().clone()));
        types.collect()
    };
    let columns = 0..union.schema.fields().len();
    let types: Vec<Option<DataType>> =
        columns.map(|at| common_type(&types_of(at)?, zone)).collect();
    if types.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.into_iter().map(|input| {
        let columns = input.schema().columns().into_iter().zip(input.schema().fields());
        let columns = columns.zip(&types).map(|((column, field), to)| match to {
            Some(to) if to != field.data_type() => {
                let (relation, name) = (column.relation.clone(), column.name.clone());
                cast(Expr::Column(column), to.clone()).alias_qualified(relation, name)
            }
            _ => Expr::Column(column),
        });
        let columns = columns.collect();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, input)?)))
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema: union.schema })))
}

/// The type of dates and timestamps together, or of times; none if there is something else among them, or nothing
/// that DataFusion makes another type.
fn common_type(types: &[DataType], zone: &Arc<str>) -> Option<DataType> {
    let mut values = types.iter().filter(|of| !of.is_null());
    let first = values.clone().next()?;
    if values.clone().all(is_time) {
        let is_mixed = values.any(|of| of != first);
        return is_mixed.then_some(DataType::Time64(TimeUnit::Nanosecond));
    }
    let (mut units, mut zones, mut has_date) = (Vec::new(), Vec::new(), false);
    for data_type in types {
        match data_type {
            DataType::Null => {}
            of if is_date(of) => has_date = true,
            DataType::Timestamp(unit, zone) => {
                units.push(*unit);
                zones.push(zone);
            }
            _ => return None,
        }
    }
    let unit = units.into_iter().max()?;
    let is_zoned = zones.iter().any(|zone| zone.is_some());
    if !has_date && zones.iter().all(|zone| zone == &zones[0]) {
        return None;
    }
    Some(DataType::Timestamp(unit, is_zoned.then(|| Arc::clone(zone))))
}

fn is_date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

fn cast(expr: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to))
}
