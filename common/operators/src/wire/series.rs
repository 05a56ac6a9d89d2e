//! The order of a series (`generate_series`, `range`): DataFusion's encoding loses it.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use prost::Message;

/// The orders of a series, whose keys are columns.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesMessage {
    #[prost(message, repeated, tag = "1")]
    orders: Vec<OrderMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct OrderMessage {
    #[prost(message, repeated, tag = "1")]
    keys: Vec<KeyMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyMessage {
    #[prost(uint32, tag = "1")]
    column: u32,
    #[prost(bool, tag = "2")]
    is_descending: bool,
    #[prost(bool, tag = "3")]
    is_nulls_first: bool,
}

pub(super) fn lost(plan: &dyn ExecutionPlan) -> Option<SeriesMessage> {
    let series = plan.downcast_ref::<LazyMemoryExec>()?;
    let orders = series.properties().eq_properties.oeq_class().iter();
    let orders = orders.map(|order| order.iter().map(key).collect::<Option<Vec<_>>>());
    let orders = orders.map(|keys| keys.map(|keys| OrderMessage { keys }));
    let orders = orders.collect::<Option<Vec<_>>>()?;
    (!orders.is_empty()).then_some(SeriesMessage { orders })
}

fn key(key: &PhysicalSortExpr) -> Option<KeyMessage> {
    let column = key.expr.downcast_ref::<Column>()?;
    Some(KeyMessage {
        column: u32::try_from(column.index()).ok()?,
        is_descending: key.options.descending,
        is_nulls_first: key.options.nulls_first,
    })
}

impl SeriesMessage {
    pub(super) fn restore(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = plan.schema();
        let decoded = plan.downcast_ref::<LazyMemoryExec>();
        let decoded =
            decoded.ok_or_else(|| internal_datafusion_err!("`{}` is no series", plan.name()))?;
        let mut series =
            LazyMemoryExec::try_new(Arc::clone(&schema), decoded.generators().clone())?;
        for order in &self.orders {
            let keys = order.keys.iter().map(|key| {
                let at = key.column as usize;
                let field = schema.fields().get(at);
                let field =
                    field.ok_or_else(|| internal_datafusion_err!("a series of no column {at}"))?;
                let options =
                    SortOptions { descending: key.is_descending, nulls_first: key.is_nulls_first };
                Ok(PhysicalSortExpr::new(Arc::new(Column::new(field.name(), at)), options))
            });
            series.add_ordering(keys.collect::<Result<Vec<_>>>()?);
        }
        Ok(Arc::new(series))
    }
}
