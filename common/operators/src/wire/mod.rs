//! The fields of operators and expressions that DataFusion's encoding loses, carried beside it.
//!
//! An operator whose fields all survive DataFusion's encoding travels as just that. Any other is
//! wrapped:
//!
//! ```text
//! Extension { node: CarriedOperator (the lost fields), inputs: [ DataFusion's encoding ] }
//!    decoded: DataFusion makes the operator, restore() makes it again with the lost fields
//! ```
//!
//! An expression likewise. Each file carries one kind of thing: it says what of an operator is
//! lost, and restores it. Where a field can be read by no public method it is read from the
//! operator's `Debug` text or seen in how the operator behaves; the file says so. That nothing was
//! forgotten here is what [`crate::guard`] sees for every plan.

mod exprs;
mod files;
pub mod filtered;
pub(crate) mod functions;
mod limits;
mod series;
mod windows;

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use prost::Message;

pub(crate) use exprs::{CarriedExpr, Input, lost_of_expr};
use files::ScanMessage;
pub use files::is_json_array;
use limits::LimitMessage;
use series::SeriesMessage;
use windows::WindowsMessage;

/// The lost fields of one operator.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CarriedOperator {
    #[prost(message, optional, tag = "1")]
    windows: Option<WindowsMessage>,
    #[prost(message, optional, tag = "2")]
    scan: Option<ScanMessage>,
    #[prost(message, optional, tag = "3")]
    limit: Option<LimitMessage>,
    #[prost(message, optional, tag = "4")]
    series: Option<SeriesMessage>,
}

/// The fields of an operator that DataFusion's encoding loses; none when it loses nothing.
pub(crate) fn lost_of_operator(plan: &dyn ExecutionPlan) -> Result<Option<CarriedOperator>> {
    let carried = CarriedOperator {
        windows: windows::lost(plan)?,
        scan: files::lost(plan)?,
        limit: limits::lost(plan),
        series: series::lost(plan),
    };
    Ok((carried != CarriedOperator::default()).then_some(carried))
}

impl CarriedOperator {
    /// The operator with all of its fields; `inputs` is the operator as DataFusion decoded it.
    pub(crate) fn restore(
        &self,
        inputs: &[Arc<dyn ExecutionPlan>],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [decoded] = inputs else {
            return internal_err!("the fields of {} operators at once", inputs.len());
        };
        let mut plan = Arc::clone(decoded);
        if let Some(windows) = &self.windows {
            plan = windows.restore(&plan)?;
        }
        if let Some(scan) = &self.scan {
            plan = scan.restore(&plan)?;
        }
        if let Some(limit) = &self.limit {
            plan = limit.restore(&plan)?;
        }
        if let Some(series) = &self.series {
            plan = series.restore(&plan)?;
        }
        Ok(plan)
    }
}
