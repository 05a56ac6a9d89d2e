//! Cutting a plan down to one task.
//!
//! DataFusion assumes that one process drives all partitions of a plan. A task gets a plan of its
//! own that has its one partition only, so what joins and filters wait for ("all partitions have
//! reported") is this one partition:
//!
//! ```text
//! template, 4 partitions                     instance of task 2, 1 partition
//! Aggregate(partial)                         Aggregate(partial)
//!   HashJoin(CollectLeft)                      HashJoin(CollectLeft)
//!     StageReader(Gather)        everything      StageReader(Gather)
//!     DataSource(4 file groups)                  DataSource(group 2)
//! ```
//!
//! A leaf with one partition is the same for every task: it stands on the collected side of a
//! join, or the stage has one task. A union becomes the one branch the task is part of.

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::reader::StageReaderExec;
use crate::tree::with_children;

/// The plan of task number `task`: one output partition, which is partition `task` of `plan`.
///
/// # Errors
/// Internal, when a leaf has several partitions and is of no kind known here.
pub fn cut_to_task(plan: Arc<dyn ExecutionPlan>, task: u32) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(reader) = plan.downcast_ref::<StageReaderExec>() {
        return Ok(Arc::new(reader.bind(task)));
    }
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        return cut_union(union, task);
    }
    // A recursive query is one task: it drives all partitions of its terms itself.
    if plan.is::<RecursiveQueryExec>() {
        return Ok(plan);
    }
    if plan.children().is_empty() {
        return cut_leaf(plan, task);
    }
    let children = plan.children().into_iter().cloned();
    let cut = children.map(|child| cut_to_task(child, task)).collect::<Result<_>>()?;
    with_children(plan, cut)
}

fn cut_union(union: &UnionExec, task: u32) -> Result<Arc<dyn ExecutionPlan>> {
    let mut first = 0_usize;
    for branch in union.inputs() {
        let partitions = branch.output_partitioning().partition_count();
        if (task as usize) < first + partitions {
            let within = u32::try_from(task as usize - first).expect("below a u32");
            return cut_to_task(Arc::clone(branch), within);
        }
        first += partitions;
    }
    internal_err!("task {task} of a union with {first} partitions")
}

fn cut_leaf(leaf: Arc<dyn ExecutionPlan>, task: u32) -> Result<Arc<dyn ExecutionPlan>> {
    if leaf.output_partitioning().partition_count() == 1 {
        return Ok(leaf);
    }
    if let Some(source) = leaf.downcast_ref::<DataSourceExec>() {
        return cut_source(source, task);
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

fn cut_source(source: &DataSourceExec, task: u32) -> Result<Arc<dyn ExecutionPlan>> {
    let data = source.data_source();
    if let Some(files) = data.downcast_ref::<FileScanConfig>() {
        let group = files.file_groups[task as usize].clone();
        let one = FileScanConfigBuilder::from(files.clone())
            .with_file_groups(vec![group])
            .with_output_partitioning(None)
            .build();
        return Ok(DataSourceExec::from_data_source(one));
    }
    if let Some(memory) = data.downcast_ref::<MemorySourceConfig>() {
        let batches = memory.partitions()[task as usize].clone();
        let projection = memory.projection().clone();
        let one = MemorySourceConfig::try_new(&[batches], memory.original_schema(), projection)?;
        return Ok(DataSourceExec::from_data_source(one.with_limit(memory.fetch())));
    }
    internal_err!("a source of this kind can't be cut into tasks: {source:?}")
}
