//! Limits and offsets above 32 bits: DataFusion's encoding cuts them off.

use std::sync::Arc;

use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use prost::Message;

/// The limit of an operator, where 32 bits do not hold it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LimitMessage {
    #[prost(uint64, tag = "1")]
    skip: u64,
    #[prost(uint64, optional, tag = "2")]
    fetch: Option<u64>,
}

pub(super) fn lost(plan: &dyn ExecutionPlan) -> Option<LimitMessage> {
    let skip = plan.downcast_ref::<GlobalLimitExec>().map_or(0, GlobalLimitExec::skip);
    let local = plan.downcast_ref::<LocalLimitExec>().map(LocalLimitExec::fetch);
    let fetch = local.or_else(|| plan.fetch());
    let is_lost = [Some(skip), fetch].into_iter().flatten().any(|n| u32::try_from(n).is_err());
    is_lost.then(|| LimitMessage { skip: skip as u64, fetch: fetch.map(|rows| rows as u64) })
}

impl LimitMessage {
    pub(super) fn restore(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let skip = rows(self.skip)?;
        let fetch = self.fetch.map(rows).transpose()?;
        if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
            let mut whole = GlobalLimitExec::new(Arc::clone(limit.input()), skip, fetch);
            whole.set_required_ordering(limit.required_ordering().clone());
            return Ok(Arc::new(whole));
        }
        if let (Some(limit), Some(fetch)) = (plan.downcast_ref::<LocalLimitExec>(), fetch) {
            let mut whole = LocalLimitExec::new(Arc::clone(limit.input()), fetch);
            whole.set_required_ordering(limit.required_ordering().clone());
            return Ok(Arc::new(whole));
        }
        plan.with_fetch(fetch)
            .ok_or_else(|| internal_datafusion_err!("`{}` takes no limit", plan.name()))
    }
}

fn rows(count: u64) -> Result<usize> {
    usize::try_from(count)
        .map_err(|_| internal_datafusion_err!("{count} rows are too many for this machine"))
}
