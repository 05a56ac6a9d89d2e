//! Leaves that are cut after they are decoded: those whose partitions are in the program itself.
//!
//! A leaf with one partition is the same for every task: it stands on the collected side of a
//! join, or the stage has one task.

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// The partition of a leaf that task number `task` reads, as its only one.
///
/// # Errors
/// Internal, when the leaf has several partitions and is of no kind known here.
pub(crate) fn cut_leaf(leaf: Arc<dyn ExecutionPlan>, task: u32) -> Result<Arc<dyn ExecutionPlan>> {
    if leaf.output_partitioning().partition_count() == 1 {
        return Ok(leaf);
    }
    if leaf.downcast_ref::<EmptyExec>().is_some() {
        return Ok(Arc::new(EmptyExec::new(leaf.schema())));
    }
    if leaf.downcast_ref::<PlaceholderRowExec>().is_some() {
        return Ok(Arc::new(PlaceholderRowExec::new(leaf.schema())));
    }
    if let Some(lazy) = leaf.downcast_ref::<LazyMemoryExec>() {
        let generator = Arc::clone(&lazy.generators()[task as usize]);
        return Ok(Arc::new(LazyMemoryExec::try_new(lazy.schema(), vec![generator])?));
    }
    internal_err!("`{}` has several partitions and can't be cut into tasks", leaf.name())
}
