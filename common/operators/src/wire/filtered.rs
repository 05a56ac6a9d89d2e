//! `FILTER` of window aggregates as an argument of the aggregate.
//!
//! A window keeps its filter in a private field that no method gives away, so it can't be encoded.
//! Before a plan for a cluster is made, `sum(v) filter (where p) over w` becomes
//! `sum'(v, p) over w`, where `sum'` is the aggregate over the rows of which its last argument is
//! true. The name of the column stays.
//!
//! Rejected: `sum(case when p then v end)`, which is not the same for an aggregate that looks at
//! nulls, such as `array_agg`.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::filter;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, ReversedUDAF, Signature,
    Window, WindowFunctionDefinition,
};

use crate::functions::recomputed::sliding;
use crate::prepared::with_replaced;
use crate::window_rows::counted;

/// The mark of a filtered aggregate on the wire, beside the name of the aggregate.
pub(crate) const MARK: &[u8] = b"filtered";

/// The query with every window's filter as the last argument of its aggregate.
///
/// # Errors
/// `Plan`, when a function that is no aggregate has a filter.
pub fn filters_as_arguments(query: &LogicalPlan) -> Result<Cow<'_, LogicalPlan>> {
    let applies = |plan: &LogicalPlan| matches!(plan, LogicalPlan::Window(window) if window.window_expr.iter().any(has_filter));
    with_replaced(query, applies, |plan| match plan {
        LogicalPlan::Window(window) => Ok(LogicalPlan::Window(without_filters(window)?)),
        plan => Ok(plan),
    })
}

fn has_filter(window: &Expr) -> bool {
    match window.clone().unalias_nested().data {
        Expr::WindowFunction(call) => call.params.filter.is_some(),
        _ => false,
    }
}

fn without_filters(window: Window) -> Result<Window> {
    let Window { input, window_expr, schema } = window;
    let calls = window_expr.into_iter().map(|call| {
        let name = call.schema_name().to_string();
        match call.unalias_nested().data {
            Expr::WindowFunction(call) if call.params.filter.is_some() => {
                Ok(Expr::WindowFunction(Box::new(without_filter(*call)?)).alias(name))
            }
            call => Ok(call.alias(name)),
        }
    });
    Window::try_new_with_schema(calls.collect::<Result<_>>()?, input, schema)
}

fn without_filter(mut call: WindowFunction) -> Result<WindowFunction> {
    let WindowFunctionDefinition::AggregateUDF(aggregate) = &call.fun else {
        return datafusion::common::plan_err!(
            "`{}` is no aggregate: it takes no filter",
            call.fun.name()
        );
    };
    call.fun = WindowFunctionDefinition::AggregateUDF(filtered(Arc::clone(aggregate)));
    call.params.args.extend(call.params.filter.take().map(|filter| *filter));
    Ok(call)
}

/// The aggregate over the rows of which a further last argument is true.
pub(crate) fn filtered(inner: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let signature = Signature::variadic_any(inner.signature().volatility);
    Arc::new(AggregateUDF::from(Filtered { inner, signature }))
}

/// The function as a filtered aggregate, if it is one.
pub(crate) fn of(function: &AggregateUDF) -> Option<&Filtered> {
    function.inner().downcast_ref()
}

/// An aggregate with a filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Filtered {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl Filtered {
    pub(crate) fn inner(&self) -> &AggregateUDF {
        &self.inner
    }

    fn accumulate(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(FilteredAccumulator { inner })
    }
}

/// All but the last: the arguments of the aggregate itself.
fn own<T>(arguments: &[T]) -> &[T] {
    arguments.split_last().map_or(arguments, |(_, own)| own)
}

fn own_args(args: AccumulatorArgs<'_>) -> AccumulatorArgs<'_> {
    AccumulatorArgs { exprs: own(args.exprs), expr_fields: own(args.expr_fields), ..args }
}

impl AggregateUDFImpl for Filtered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(own(types))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(own(fields))
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_type().clone();
        let own = self.accumulate(self.inner.accumulator(own_args(args))?);
        Ok(counted(own, &data_type, true))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_type().clone();
        let own = self.accumulate(sliding(&self.inner, own_args(args))?);
        Ok(counted(own, &data_type, false))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(StateFieldsArgs { input_fields: own(args.input_fields), ..args })
    }

    /// Refused: reversed, a growing frame shrinks, and costs the square of its rows where
    /// none can be taken out.
    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// Accumulates the rows of which the last column is true.
#[derive(Debug)]
struct FilteredAccumulator {
    inner: Box<dyn Accumulator>,
}

fn passing(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let Some((mask, own)) = values.split_last() else {
        return internal_err!("a filtered aggregate has no filter");
    };
    let mask: &BooleanArray = mask.as_boolean();
    own.iter().map(|column| Ok(filter(column, mask)?)).collect()
}

impl Accumulator for FilteredAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&passing(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&passing(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
