//! Files that can't be read in parts.
//!
//! DataFusion cuts files into ranges of bytes to have work for all partitions. It does so to JSON
//! files of one array each too, and then refuses to open a range of one. Files whose groups are
//! declared to be the partitions of a scan are not cut.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use gnist_operators::wire::is_json_array;

use super::around::with_first;

/// Adds the rule that keeps arrays whole to a session's: before the one that cuts files.
pub(crate) fn with_whole_arrays(builder: SessionStateBuilder) -> SessionStateBuilder {
    with_first(builder, Arc::new(WholeArrays))
}

/// Declares the groups of files of every scan of JSON arrays to be its partitions.
#[derive(Debug)]
struct WholeArrays;

impl PhysicalOptimizerRule for WholeArrays {
    fn name(&self) -> &'static str {
        "whole_arrays"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            Ok(match files {
                Some(files) if files.output_partitioning.is_none() && is_json_array(files)? => {
                    Transformed::yes(DataSourceExec::from_data_source(whole(files)) as _)
                }
                _ => Transformed::no(node),
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan with its groups as its partitions, of which nothing else is known.
fn whole(files: &FileScanConfig) -> FileScanConfig {
    let groups = Partitioning::UnknownPartitioning(files.file_groups.len());
    FileScanConfigBuilder::from(files.clone()).with_output_partitioning(Some(groups)).build()
}
