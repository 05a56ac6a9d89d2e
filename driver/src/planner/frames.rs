//! Window frames that end among the peers of the current row.
//!
//! `RANGE BETWEEN 30 PRECEDING AND 1 PRECEDING` ends before the current row, unless its key is null or
//! infinite: such a key minus one is the key itself, and the frame holds all its peers. DataFusion's
//! `BoundedWindowAggExec` takes every such frame for complete when the current row is there, and cuts
//! it at the end of the batch. `WindowAggExec` has all rows of the partition before it looks at a frame.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use gnist_operators::functions::normal_float::is_float;

/// Gives such frames whole partitions. It goes after DataFusion's rules, which choose the operator anew.
#[derive(Debug)]
pub(crate) struct WholeFrames;

impl PhysicalOptimizerRule for WholeFrames {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| match plan.downcast_ref::<BoundedWindowAggExec>() {
            Some(bounded) if is_cut(bounded)? => {
                let windows = bounded.window_expr().to_vec();
                let can_repartition = !bounded.partition_keys().is_empty();
                let input = Arc::clone(bounded.input());
                let whole = WindowAggExec::try_new(windows, input, can_repartition)?;
                Ok(Transformed::yes(Arc::new(whole) as _))
            }
            _ => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "whole_frames"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn is_cut(bounded: &BoundedWindowAggExec) -> Result<bool> {
    if bounded.input_order_mode != InputOrderMode::Sorted {
        return Ok(false);
    }
    let schema = bounded.input().schema();
    for window in bounded.window_expr() {
        if ends_among_peers(window.as_ref(), &schema)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn ends_among_peers(window: &dyn WindowExpr, schema: &Schema) -> Result<bool> {
    let frame = window.get_window_frame();
    let ends_before = matches!(frame.end_bound, WindowFrameBound::Preceding(_));
    let Some(key) = window.order_by().first() else { return Ok(false) };
    Ok(frame.units == WindowFrameUnits::Range
        && ends_before
        && (key.expr.nullable(schema)? || is_float(&key.expr.data_type(schema)?)))
}
