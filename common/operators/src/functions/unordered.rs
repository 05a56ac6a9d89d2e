//! Window aggregates that claim no order of their values, and that run over moving frames.
//!
//! DataFusion takes the order of a window's values from how its aggregate behaves over growing sets
//! ([`SetMonotonicity`]): a running maximum grows, so a sort by it is left out. It forgets that
//! the first frames may be empty, hence null, that nulls may stand first, and that a sliding
//! minimum follows an order of its argument only if the frame ends at the current row, and rows came
//! out in the wrong order. Before a plan is made, every window aggregate that claims to be monotonic
//! is replaced by one that doesn't ([`windows_without_orders`]). It costs a sort where the claim
//! was right. The aggregate that replaces it also runs over frames whose rows leave
//! ([`super::recomputed`]), so every aggregate over such a frame is replaced, but for one with a
//! filter, which does the same.
//!
//! A window whose input has the opposite order is reversed by DataFusion, which saves a sort. A frame that grew from the
//! first row then shrinks towards the last one. Some aggregates can't take rows out: they would be computed anew
//! for each row, at the price of the square of the rows. They are replaced by one that refuses to be reversed.
//!
//! An aggregate whose values may be large is replaced too: it counts them ([`crate::window_rows`]).
//!
//! Rejected: aggregates of our own by the names of DataFusion's, which its optimizer no longer
//! knows as `min` and `max`.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, NullTreatment, WindowFunctionParams,
};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, ExprSchemable as _,
    GroupsAccumulator, LogicalPlan, Operator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs, Window, WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::scalar::ScalarValue;

use super::recomputed;
use crate::prepared::with_replaced;
use crate::window_rows::{counted, is_counted};
use crate::wire::filtered;

/// The mark of such an aggregate on the wire, beside its name.
const MARK: &[u8] = b"unordered";

/// The mark of one that refuses to be reversed.
const MARK_ONE_WAY: &[u8] = b"unordered, one way";

/// The query with window aggregates that claim no order.
///
/// # Errors
/// Those of DataFusion's traversal.
pub fn windows_without_orders(query: &LogicalPlan) -> Result<Cow<'_, LogicalPlan>> {
    let applies =
        |plan: &LogicalPlan| matches!(plan, LogicalPlan::Window(window) if is_replaced(window));
    with_replaced(query, applies, |plan| match plan {
        LogicalPlan::Window(window) => Ok(LogicalPlan::Window(without_orders(window)?)),
        plan => Ok(plan),
    })
}

/// The calls of a window, each with the type of its values.
fn calls(window: &Window) -> impl Iterator<Item = (&Expr, &DataType)> {
    let fields = &window.schema.fields()[window.input.schema().fields().len()..];
    window.window_expr.iter().zip(fields.iter().map(|field| field.data_type()))
}

fn is_replaced(window: &Window) -> bool {
    let input = window.input.schema();
    calls(window).any(|(call, data_type)| {
        let replaces = call.exists(|part| Ok(replacement(part, data_type, input).is_some()));
        replaces.is_ok_and(|replaces| replaces)
    })
}

/// The aggregate that replaces the one of a call: if it claims an order, if rows leave its frames or would leave them
/// once the window is reversed, or if its values may be large. None if it stays.
fn replacement(call: &Expr, data_type: &DataType, input: &DFSchema) -> Option<Arc<AggregateUDF>> {
    let Expr::WindowFunction(call) = call else { return None };
    let WindowFunctionDefinition::AggregateUDF(aggregate) = &call.fun else { return None };
    let frame = &call.params.window_frame;
    let claims = aggregate.inner().set_monotonicity(data_type) != SetMonotonicity::NotMonotonic;
    let is_open = replaced(aggregate).is_none() && filtered::of(aggregate).is_none();
    let is_moving = is_open && !frame.start_bound.is_unbounded();
    let grows = is_open && frame.start_bound.is_unbounded() && !frame.end_bound.is_unbounded();
    let is_one_way = grows && !gives_rows_back(aggregate, &call.params, input);
    let may_be_large = is_open && is_counted(data_type);
    let replaces = claims || is_moving || is_one_way || may_be_large;
    replaces.then(|| unordered(Arc::clone(aggregate), is_one_way))
}

/// Returns true if rows can be taken out of an aggregate again. Its arguments are taken for columns: one that
/// wants a constant gives none back.
fn gives_rows_back(
    aggregate: &AggregateUDF,
    params: &WindowFunctionParams,
    input: &DFSchema,
) -> bool {
    let fields = params.args.iter().map(|arg| Ok(arg.to_field(input)?.1));
    let gives_back = fields.collect::<Result<Vec<FieldRef>>>().and_then(|fields| {
        let column = |at: usize| Arc::new(Column::new("", at)) as Arc<dyn PhysicalExpr>;
        let accumulator = aggregate.create_sliding_accumulator(AccumulatorArgs {
            return_field: aggregate.return_field(&fields)?,
            schema: &Schema::new(fields.clone()),
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            order_bys: &[],
            is_reversed: false,
            name: aggregate.name(),
            is_distinct: params.distinct,
            exprs: &(0..fields.len()).map(column).collect::<Vec<_>>(),
            expr_fields: &fields,
        })?;
        Ok(accumulator.supports_retract_batch())
    });
    gives_back.unwrap_or(false)
}

fn without_orders(window: Window) -> Result<Window> {
    let types: Vec<_> = calls(&window).map(|(_, data_type)| data_type.clone()).collect();
    let Window { input, window_expr, schema } = window;
    let calls = window_expr.into_iter().zip(types).map(|(call, data_type)| {
        let replaced = call.transform_down(|part| {
            let aggregate = replacement(&part, &data_type, input.schema());
            Ok(match (part, aggregate) {
                (Expr::WindowFunction(mut call), Some(aggregate)) => {
                    call.fun = WindowFunctionDefinition::AggregateUDF(aggregate);
                    Transformed::yes(Expr::WindowFunction(call))
                }
                (part, _) => Transformed::no(part),
            })
        });
        replaced.data()
    });
    let window_expr = calls.collect::<Result<_>>()?;
    Window::try_new_with_schema(window_expr, input, schema)
}

/// The aggregate without a claim of an order; one that `is_one_way` refuses to be reversed.
fn unordered(inner: Arc<AggregateUDF>, is_one_way: bool) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Unordered { inner, is_one_way }))
}

/// The aggregate that was replaced, if the function replaces one, and the mark of that.
pub(crate) fn replaced(function: &AggregateUDF) -> Option<(&AggregateUDF, &'static [u8])> {
    let unordered = function.inner().downcast_ref::<Unordered>()?;
    Some((&unordered.inner, if unordered.is_one_way { MARK_ONE_WAY } else { MARK }))
}

/// The aggregate of a mark; none if the mark is another's.
pub(crate) fn of_mark(inner: &Arc<AggregateUDF>, mark: &[u8]) -> Option<Arc<AggregateUDF>> {
    (mark == MARK || mark == MARK_ONE_WAY)
        .then(|| unordered(Arc::clone(inner), mark == MARK_ONE_WAY))
}

/// An aggregate of a window, as another but for its claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unordered {
    inner: Arc<AggregateUDF>,
    is_one_way: bool,
}

#[warn(clippy::missing_trait_methods)]
impl AggregateUDFImpl for Unordered {
    fn set_monotonicity(&self, _: &DataType) -> SetMonotonicity {
        SetMonotonicity::NotMonotonic
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            _ if self.is_one_way => ReversedUDAF::NotSupported,
            ReversedUDAF::Reversed(reverse) => ReversedUDAF::Reversed(unordered(reverse, false)),
            other => other,
        }
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        is_ordered: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = (*self.inner).clone().with_beneficial_ordering(is_ordered)?;
        Ok(inner.map(|inner| Arc::clone(unordered(Arc::new(inner), self.is_one_way).inner())))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_type().clone();
        Ok(counted(self.inner.accumulator(args)?, &data_type, true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_type().clone();
        Ok(counted(recomputed::sliding(&self.inner, args)?, &data_type, false))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn simplify_expr_op_literal(
        &self,
        call: &AggregateFunction,
        argument: &Expr,
        operator: Operator,
        literal: &Expr,
        argument_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner.simplify_expr_op_literal(call, argument, operator, literal, argument_is_left)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(statistics)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
