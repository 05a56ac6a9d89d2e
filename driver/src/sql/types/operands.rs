//! Places where operands of several types meet.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::type_coercion::other::{
    get_coerce_type_for_case_expression, get_coerce_type_for_list,
};
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, Subquery, Union, Values, cast,
};
use gnist_operators::functions::arithmetic::{Operation, tried};

use super::{numbers, times};
use crate::numbers::compares;

/// Functions whose arguments become one column.
const COMBINING_FUNCTIONS: [&str; 7] =
    ["coalesce", "greatest", "ifnull", "least", "make_array", "nullif", "nvl"];

/// A way in which operands meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// One is compared with the others.
    Compared,
    /// One is subtracted from the other.
    Subtracted,
    /// They become one column.
    Combined,
}

/// Casts operands to the type that they have together. Returns true if one is something else than before.
fn meet(meeting: Meeting, operands: &mut [&mut Expr], types: &[DataType], zone: &Arc<str>) -> bool {
    times::meet(meeting, operands, types, zone) || numbers::meet(meeting, operands, types)
}

/// Operands of one expression over rows of a schema.
struct Operands<'a> {
    schema: &'a DFSchema,
    zone: &'a Arc<str>,
}

/// The expression with operands that meet in it.
pub(super) fn meet_in_expr(
    expr: Expr,
    schema: &DFSchema,
    zone: &Arc<str>,
) -> Result<Transformed<Expr>> {
    use Meeting::{Combined, Compared};
    let operands = Operands { schema, zone };
    let Transformed { data: mut expr, transformed: is_case, .. } = as_case(expr);
    let is_new = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if Operation::of(*op).is_some() => {
            operands.calculate(left, *op, right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            operands.meet(Compared, vec![left, right])
        }
        Expr::Between(between) => {
            operands.meet(Compared, vec![&mut between.expr, &mut between.low, &mut between.high])
        }
        Expr::InList(list) => {
            let all = std::iter::once(list.expr.as_mut()).chain(&mut list.list);
            operands.meet_in_list(all.collect())
        }
        Expr::Case(case) => {
            let mut values: Vec<&mut Expr> = case.else_expr.as_deref_mut().into_iter().collect();
            let mut compared: Vec<&mut Expr> = case.expr.as_deref_mut().into_iter().collect();
            let has_base = !compared.is_empty();
            for (when, then) in &mut case.when_then_expr {
                compared.push(when);
                values.push(then);
            }
            let is_new = has_base && operands.meet(Compared, compared);
            operands.combine(values) | is_new
        }
        Expr::ScalarFunction(call) if COMBINING_FUNCTIONS.contains(&call.name()) => {
            operands.meet(Combined, call.args.iter_mut().collect())
        }
        // `x = ANY (array)`.
        Expr::ScalarFunction(call) if call.name() == "array_has" => {
            operands.meet_elements(&mut call.args)
        }
        Expr::ScalarFunction(call) => match (tried(&call.func), &mut call.args[..]) {
            (Some(operator), [left, right]) => operands.calculate(left, operator, right),
            _ => false,
        },
        Expr::Cast(cast) => numbers::cast_written(&mut cast.expr, cast.field.data_type()),
        Expr::TryCast(cast) => numbers::cast_written(&mut cast.expr, cast.field.data_type()),
        Expr::InSubquery(within) => operands.meet_query(&mut within.expr, &mut within.subquery)?,
        Expr::SetComparison(set) => operands.meet_query(&mut set.expr, &mut set.subquery)?,
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, is_new || is_case))
}

/// `nvl2(a, b, c)` as the `CASE` that it is: DataFusion gives `a` a part in the type.
fn as_case(expr: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(mut call) = expr else { return Transformed::no(expr) };
    if call.name() != "nvl2" || call.args.len() != 3 {
        return Transformed::no(Expr::ScalarFunction(call));
    }
    let mut args = call.args.drain(..).map(Box::new);
    let (Some(tested), Some(then), otherwise) = (args.next(), args.next(), args.next()) else {
        unreachable!("there are three");
    };
    let when = Box::new(Expr::IsNotNull(tested));
    Transformed::yes(Expr::Case(Case::new(None, vec![(when, then)], otherwise)))
}

impl Operands<'_> {
    fn meet(&self, meeting: Meeting, mut operands: Vec<&mut Expr>) -> bool {
        let Some(types) = self.types(&operands) else { return false };
        meet(meeting, &mut operands, &types, self.zone)
    }

    /// Operands of arithmetic.
    fn calculate(&self, left: &mut Expr, operator: Operator, right: &mut Expr) -> bool {
        let mut operands = [left, right];
        let Some(types) = self.types(&operands) else { return false };
        let is_difference = operator == Operator::Minus;
        is_difference && times::meet(Meeting::Subtracted, &mut operands, &types, self.zone)
            || numbers::calculate(operator, &mut operands, &types)
    }

    /// A list and a value that is compared with its elements: decimals beside floats and texts are floats.
    fn meet_elements(&self, args: &mut [Expr]) -> bool {
        let [list, value, ..] = args else { return false };
        let Some(types) = self.types(&[&mut *list, &mut *value]) else { return false };
        let element = match &types[0] {
            DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
                of.data_type().clone()
            }
            _ => return false,
        };
        let is_inexact = |of: &DataType| of.is_floating() || of.is_string();
        if !(element.is_decimal() && is_inexact(&types[1])
            || is_inexact(&element) && types[1].is_decimal())
        {
            return false;
        }
        if element != DataType::Float64 {
            let floats = Field::new_list_field(DataType::Float64, true);
            *list = cast(std::mem::take(list), DataType::List(Arc::new(floats)));
        }
        if types[1] != DataType::Float64 {
            *value = cast(std::mem::take(value), DataType::Float64);
        }
        true
    }

    /// The values of a `CASE`, which become one column. All get its type: until they have, DataFusion takes that of
    /// the first one for it.
    fn combine(&self, mut values: Vec<&mut Expr>) -> bool {
        let Some(types) = self.types(&values) else { return false };
        let is_new = meet(Meeting::Combined, &mut values, &types, self.zone);
        let cast = self.cast(values, |types| get_coerce_type_for_case_expression(types, None));
        is_new || cast
    }

    /// The value and the items of an `IN`; if they are structs, field by field.
    fn meet_in_list(&self, mut operands: Vec<&mut Expr>) -> bool {
        let fields: Option<Vec<usize>> =
            operands.iter_mut().map(|operand| fields_of(operand).map(|it| it.len())).collect();
        let Some(fields) = fields.filter(|fields| fields.iter().all(|it| *it == fields[0])) else {
            return self.meet(Meeting::Compared, operands);
        };
        (0..fields[0]).fold(false, |is_new, at| {
            let values = operands.iter_mut().filter_map(|operand| fields_of(operand)?.get_mut(at));
            let mut values: Vec<&mut Expr> = values.collect();
            let Some(types) = self.types(&values) else { return is_new };
            let met = meet(Meeting::Compared, &mut values, &types, self.zone);
            let cast = self.cast(values, |types| {
                let (first, rest) = types.split_first()?;
                get_coerce_type_for_list(first, rest)
            });
            is_new || met || cast
        })
    }

    /// Casts operands of several types to the one that `common` finds. Returns true if it did.
    fn cast(
        &self,
        operands: Vec<&mut Expr>,
        common: impl FnOnce(&[DataType]) -> Option<DataType>,
    ) -> bool {
        let Some(types) = self.types(&operands) else { return false };
        if types.iter().all(|of| *of == types[0]) {
            return false;
        }
        let Some(to) = common(&types) else { return false };
        for (operand, from) in operands.into_iter().zip(&types) {
            if *from != to && !from.is_null() {
                *operand = cast(std::mem::take(operand), to.clone());
            }
        }
        true
    }

    /// The types of operands, or none if one can't be typed: a parameter has no type yet, and the error of an
    /// expression without one comes later, with its place.
    fn types(&self, operands: &[&mut Expr]) -> Option<Vec<DataType>> {
        operands.iter().map(|operand| operand.get_type(self.schema).ok()).collect()
    }

    /// An operand that is compared with the column of a query.
    fn meet_query(&self, operand: &mut Expr, query: &mut Subquery) -> Result<bool> {
        let [field] = query.subquery.schema().fields().as_ref() else { return Ok(false) };
        let Ok(of_operand) = operand.get_type(self.schema) else { return Ok(false) };
        let types = [of_operand, field.data_type().clone()];
        let mut column = column_of(&query.subquery, 0);
        let before = column.clone();
        if !meet(Meeting::Compared, &mut [operand, &mut column], &types, self.zone) {
            return Ok(false);
        }
        if column != before {
            let plan = with_columns(query.subquery.as_ref().clone(), vec![(0, column)])?;
            *query = query.with_plan(Arc::new(plan));
        }
        Ok(true)
    }
}

/// The fields of a struct that is written: a row in a long list of them.
fn fields_of(expr: &mut Expr) -> Option<&mut Vec<Expr>> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == "struct" => Some(&mut call.args),
        _ => None,
    }
}

/// The node with operands that meet in it: in the columns of a union and of written rows, and the keys of a join.
pub(super) fn meet_in_node(node: LogicalPlan, zone: &Arc<str>) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Union(union) => meet_in_union(union, zone),
        LogicalPlan::Values(values) => meet_in_values(values, zone),
        LogicalPlan::Join(mut join) => {
            let is_new = meet_in_keys(&mut join, zone);
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), is_new))
        }
        node => Ok(Transformed::no(node)),
    }
}

/// Written rows whose columns have decimals and floats. DataFusion cast the floats to decimals as it planned them:
/// without these casts they meet.
fn meet_in_values(mut values: Values, zone: &Arc<str>) -> Result<Transformed<LogicalPlan>> {
    let none = DFSchema::empty();
    let operands = Operands { schema: &none, zone };
    let mut is_new = false;
    for (at, field) in values.schema.fields().iter().enumerate() {
        if !field.data_type().is_decimal() {
            continue;
        }
        let column = values.values.iter().map(|row| row[at].clone().unalias());
        let column = column.map(|value| uncast(&value, field.data_type()));
        let mut column: Vec<Expr> = column.collect();
        // A written number is a decimal by now, of fewer digits than DataFusion gave it.
        let is_written = column
            .iter()
            .any(|value| matches!(value, Expr::Literal(of, _) if of.data_type().is_decimal()));
        if !operands.meet(Meeting::Combined, column.iter_mut().collect()) && !is_written {
            continue;
        }
        is_new = true;
        let rows = values.values.iter_mut().zip(column);
        rows.for_each(|(row, value)| row[at] = value);
    }
    if !is_new {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    LogicalPlanBuilder::values(values.values)?.build().map(Transformed::yes)
}

/// A number without the cast to the type of its column.
fn uncast(value: &Expr, of_column: &DataType) -> Expr {
    match value {
        Expr::Cast(cast)
            if cast.field.data_type() == of_column
                && cast.expr.get_type(&DFSchema::empty()).is_ok_and(|of| of.is_numeric()) =>
        {
            cast.expr.as_ref().clone()
        }
        value => value.clone(),
    }
}

fn meet_in_keys(join: &mut Join, zone: &Arc<str>) -> bool {
    let (left, right) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    join.on.iter_mut().fold(false, |any, (left_key, right_key)| {
        let types = (left_key.get_type(&left), right_key.get_type(&right));
        let (Ok(of_left), Ok(of_right)) = types else { return any };
        meet(Meeting::Compared, &mut [left_key, right_key], &[of_left, of_right], zone) | any
    })
}

fn meet_in_union(union: Union, zone: &Arc<str>) -> Result<Transformed<LogicalPlan>> {
    let width = union.schema.fields().len();
    if union.inputs.iter().any(|input| input.schema().fields().len() != width) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let mut changes: Vec<Vec<(usize, Expr)>> = vec![Vec::new(); union.inputs.len()];
    for at in 0..width {
        let types = union.inputs.iter().map(|input| input.schema().field(at).data_type().clone());
        let types: Vec<DataType> = types.collect();
        if types.iter().all(|of| *of == types[0]) {
            continue;
        }
        let columns = union.inputs.iter().map(|input| column_of(input, at));
        let mut columns: Vec<Expr> = columns.collect();
        let before = columns.clone();
        let mut operands: Vec<&mut Expr> = columns.iter_mut().collect();
        if meet(Meeting::Combined, &mut operands, &types, zone) {
            for (input, (column, before)) in columns.into_iter().zip(before).enumerate() {
                if column != before {
                    changes[input].push((at, column));
                }
            }
        }
    }
    if changes.iter().all(Vec::is_empty) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.into_iter().zip(changes).map(|(input, changes)| {
        Ok(match changes.is_empty() {
            true => input,
            false => Arc::new(with_columns(Arc::unwrap_or_clone(input), changes)?),
        })
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema: union.schema })))
}

/// A column of a plan as an expression: the one of its select list, if it is one.
fn column_of(plan: &LogicalPlan, at: usize) -> Expr {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr[at].clone().unalias(),
        plan => Expr::Column(plan.schema().columns().swap_remove(at)),
    }
}

/// The plan with other expressions for some of its columns, which keep their names. They are those of [`column_of`],
/// rewritten: over the input of a select list.
fn with_columns(plan: LogicalPlan, changes: Vec<(usize, Expr)>) -> Result<LogicalPlan> {
    let names = plan.schema().columns();
    let (mut exprs, input) = match plan {
        LogicalPlan::Projection(Projection { expr, input, .. }) => (expr, input),
        plan => (names.iter().cloned().map(Expr::Column).collect(), Arc::new(plan)),
    };
    for (at, column) in changes {
        let name = names[at].clone();
        exprs[at] = column.alias_qualified(name.relation, name.name);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}
