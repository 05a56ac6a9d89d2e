//! Windows that are ordered by intervals, with the default frame.
//!
//! DataFusion refuses every `RANGE` frame over an interval as a bug of its own, also that of `rank()`,
//! which looks at no frame. Without a distance a `RANGE` frame is a `GROUPS` frame: both begin and end
//! with peers.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits,
};

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct IntervalFrames;

impl FunctionRewrite for IntervalFrames {
    fn name(&self) -> &'static str {
        "interval_frames"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
        let (frame, order) = (&call.params.window_frame, &call.params.order_by);
        let key = order.first().and_then(|sort| sort.expr.get_type(schema).ok());
        let is_interval = matches!(key, Some(DataType::Interval(_)));
        if frame.units != WindowFrameUnits::Range || !is_interval {
            return Ok(Transformed::no(Expr::WindowFunction(call)));
        }
        if has_distance(&frame.start_bound) || has_distance(&frame.end_bound) {
            return plan_err!(
                "a `RANGE` frame with a distance over an interval is not supported yet; order by its seconds, \
                 `extract(epoch from x)`, or write a `ROWS` frame"
            );
        }
        let bounds = (frame.start_bound.clone(), frame.end_bound.clone());
        call.params.window_frame =
            WindowFrame::new_bounds(WindowFrameUnits::Groups, bounds.0, bounds.1);
        Ok(Transformed::yes(Expr::WindowFunction(call)))
    }
}

fn has_distance(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
            !distance.is_null()
        }
        WindowFrameBound::CurrentRow => false,
    }
}
