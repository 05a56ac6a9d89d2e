//! `IGNORE NULLS` and the direction of window functions: DataFusion's encoding loses both.
//!
//! A window function keeps them in private fields without a method; its `Debug` text ends with
//! them. The filter of a window aggregate can't be read at all: it becomes an argument before the
//! plan is made, see [`super::filtered`].

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_datafusion_err, internal_err, not_impl_err};
use datafusion::logical_expr::{ReversedUDWF, WindowUDF};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr,
    StandardWindowFunctionExpr, WindowExpr,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{
    BoundedWindowAggExec, WindowAggExec, WindowUDFExpr, create_udwf_window_expr,
};
use prost::Message;

use crate::debug_text::debug_text;

/// The lost fields of an operator's windows, in their order.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WindowsMessage {
    #[prost(message, repeated, tag = "1")]
    windows: Vec<WindowMessage>,
}

/// The lost fields of one window.
#[derive(Clone, Copy, PartialEq, Message)]
struct WindowMessage {
    /// `IGNORE NULLS` of a window function; that of an aggregate survives.
    #[prost(bool, tag = "1")]
    ignores_nulls: bool,
    /// True if the rows come in the reverse of the order that was asked for.
    #[prost(bool, tag = "2")]
    is_reversed: bool,
}

pub(super) fn lost(plan: &dyn ExecutionPlan) -> Result<Option<WindowsMessage>> {
    let Some(windows) = windows_of(plan) else { return Ok(None) };
    let windows = windows.iter().map(lost_of_window).collect::<Result<Vec<_>>>()?;
    let is_lost = windows.iter().any(|window| *window != WindowMessage::default());
    Ok(is_lost.then_some(WindowsMessage { windows }))
}

fn windows_of(plan: &dyn ExecutionPlan) -> Option<&[Arc<dyn WindowExpr>]> {
    if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
        return Some(window.window_expr());
    }
    plan.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr)
}

fn lost_of_window(window: &Arc<dyn WindowExpr>) -> Result<WindowMessage> {
    if let Some(aggregate) = aggregate_of(window) {
        let is_reversed = aggregate.is_reversed();
        return Ok(WindowMessage { ignores_nulls: false, is_reversed });
    }
    let Some((_, function)) = function_of(window) else { return Ok(WindowMessage::default()) };
    let (text, is_cut) = debug_text(function);
    if is_cut {
        return not_impl_err!(
            "a window function over a CASE in a CASE of more than a dozen levels: compute it in a query in FROM"
        );
    }
    Ok(WindowMessage {
        ignores_nulls: flag(&text, "ignore_nulls")?,
        is_reversed: flag(&text, "is_reversed")?,
    })
}

/// A flag in the `Debug` text of a window function, whose last fields are flags.
fn flag(text: &str, name: &str) -> Result<bool> {
    let after = text.rsplit_once(&format!("{name}: ")).map(|(_, after)| after);
    match after {
        Some(after) if after.starts_with("true") => Ok(true),
        Some(after) if after.starts_with("false") => Ok(false),
        _ => internal_err!("a window function does not tell `{name}`"),
    }
}

fn aggregate_of(window: &Arc<dyn WindowExpr>) -> Option<&AggregateFunctionExpr> {
    let window = window.as_any();
    if let Some(plain) = window.downcast_ref::<PlainAggregateWindowExpr>() {
        return Some(plain.get_aggregate_expr());
    }
    let sliding = window.downcast_ref::<SlidingAggregateWindowExpr>();
    sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr)
}

fn function_of(window: &Arc<dyn WindowExpr>) -> Option<(&StandardWindowExpr, &WindowUDFExpr)> {
    let window = window.as_any().downcast_ref::<StandardWindowExpr>()?;
    let function = window.get_standard_func_expr().as_any().downcast_ref()?;
    Some((window, function))
}

impl WindowsMessage {
    pub(super) fn restore(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let decoded = windows_of(plan.as_ref()).unwrap_or_default();
        let schema = plan.children().first().map(|input| input.schema());
        let (Some(schema), true) = (schema, decoded.len() == self.windows.len()) else {
            return internal_err!("{} windows for `{}`", self.windows.len(), plan.name());
        };
        let windows = decoded.iter().zip(&self.windows);
        let windows = windows.map(|(window, lost)| lost.restore(window, &schema));
        let windows = windows.collect::<Result<Vec<_>>>()?;
        if let Some(bounded) = plan.downcast_ref::<BoundedWindowAggExec>() {
            let input = Arc::clone(bounded.input());
            let mode = bounded.input_order_mode.clone();
            let keys = !bounded.partition_keys().is_empty();
            return Ok(Arc::new(BoundedWindowAggExec::try_new(windows, input, mode, keys)?));
        }
        let Some(whole) = plan.downcast_ref::<WindowAggExec>() else {
            return internal_err!("`{}` has no windows", plan.name());
        };
        let keys = !whole.partition_keys().is_empty();
        Ok(Arc::new(WindowAggExec::try_new(windows, Arc::clone(whole.input()), keys)?))
    }
}

impl WindowMessage {
    fn restore(
        self,
        window: &Arc<dyn WindowExpr>,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn WindowExpr>> {
        if self == Self::default() {
            return Ok(Arc::clone(window));
        }
        let (keys, order) = (window.partition_by(), window.order_by());
        let frame = Arc::clone(window.get_window_frame());
        if let Some(aggregate) = aggregate_of(window) {
            let aggregate = reversed(aggregate, schema)?;
            return Ok(if window.as_any().is::<PlainAggregateWindowExpr>() {
                Arc::new(PlainAggregateWindowExpr::new(aggregate, keys, order, frame, None))
            } else {
                Arc::new(SlidingAggregateWindowExpr::new(aggregate, keys, order, frame, None))
            });
        }
        let Some((_, function)) = function_of(window) else {
            return internal_err!("`{}` is no window function", window.name());
        };
        let function = self.function(function, window.name(), schema)?;
        Ok(Arc::new(StandardWindowExpr::new(function, keys, order, frame)))
    }

    /// The function, made as DataFusion makes it: a reversed one is the reverse of another.
    fn function(
        self,
        function: &WindowUDFExpr,
        name: &str,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn StandardWindowFunctionExpr>> {
        let make = |of: &Arc<WindowUDF>| {
            let name = name.to_owned();
            create_udwf_window_expr(of, function.args(), schema, name, self.ignores_nulls)
        };
        if !self.is_reversed {
            return make(function.fun());
        }
        let ReversedUDWF::Reversed(forth) = function.fun().reverse_expr() else {
            return internal_err!("the window function `{name}` has no reverse");
        };
        make(&forth)?
            .reverse_expr()
            .ok_or_else(|| internal_datafusion_err!("the window function `{name}` has no reverse"))
    }
}

fn reversed(
    aggregate: &AggregateFunctionExpr,
    schema: &SchemaRef,
) -> Result<Arc<AggregateFunctionExpr>> {
    let function = Arc::new(aggregate.fun().clone());
    let builder = AggregateExprBuilder::new(function, aggregate.expressions())
        .schema(Arc::clone(schema))
        .alias(aggregate.name())
        .with_ignore_nulls(aggregate.ignore_nulls())
        .with_distinct(aggregate.is_distinct())
        .with_reversed(true);
    Ok(Arc::new(builder.build()?))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::functions_aggregate::sum::sum_udaf;
    use datafusion::functions_window::lead_lag::lag_udwf;
    use datafusion::logical_expr::WindowFrame;
    use datafusion::physical_expr::expressions::Column;

    use super::*;
    use crate::guard::shape::field_names;

    /// A window with a field that is not here needs a look: does it travel?
    #[test]
    fn windows_have_the_fields_that_are_known_here() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let column = Column::new("a", 0);
        let lag = create_udwf_window_expr(
            &lag_udwf(),
            &[Arc::new(column.clone())],
            &schema,
            "lag".to_owned(),
            true,
        );
        let lag = lag.unwrap();
        let names = ["fun", "args", "name", "input_fields", "is_reversed", "ignore_nulls"];
        assert_eq!(field_names(&lag), names);
        let frame = Arc::new(WindowFrame::new(None));
        let standard = StandardWindowExpr::new(lag, &[], &[], Arc::clone(&frame));
        let names = ["expr", "partition_by", "order_by", "window_frame"];
        assert_eq!(field_names(&standard), names);

        let sum = AggregateExprBuilder::new(sum_udaf(), vec![Arc::new(column)]);
        let sum = Arc::new(sum.schema(schema).alias("sum").build().unwrap());
        let names = [
            "fun",
            "args",
            "arg_fields",
            "return_field",
            "name",
            "human_display",
            "schema",
            "order_bys",
            "ignore_nulls",
            "ordering_fields",
            "is_distinct",
            "is_reversed",
            "input_fields",
            "is_nullable",
        ];
        assert_eq!(field_names(&sum), names);
        let plain =
            PlainAggregateWindowExpr::new(Arc::clone(&sum), &[], &[], Arc::clone(&frame), None);
        let names = [
            "aggregate",
            "partition_by",
            "order_by",
            "window_frame",
            "is_constant_in_partition",
            "filter",
        ];
        assert_eq!(field_names(&plain), names);
        let sliding = SlidingAggregateWindowExpr::new(sum, &[], &[], Arc::clone(&frame), None);
        let names = ["aggregate", "partition_by", "order_by", "window_frame", "filter"];
        assert_eq!(field_names(&sliding), names);
        assert_eq!(field_names(&frame), ["units", "start_bound", "end_bound", "is_causal"]);
    }
}
