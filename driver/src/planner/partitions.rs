//! The number of partitions of an exchange of a cluster: enough for the slots, and for the bytes.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

/// Least number of partitions for each slot: enough that a slow task does not leave the other slots
/// idle.
const PARTITIONS_PER_SLOT: u32 = 2;

/// Bytes of input files to a partition: what of a table in columns, compressed, is a few times as
/// much in memory, and still small beside the memory of a slot.
const BYTES_PER_PARTITION: u64 = 128 << 20;

/// Largest number of partitions for each slot. More are more blocks than they are help: each task
/// has one for each task after it.
const PARTITIONS_PER_SLOT_MAX: u32 = 64;

/// The partitions for so many bytes of input, the same for every slot.
pub(crate) fn partitions_for(slots: u32, input_bytes: u64) -> u32 {
    let slots = slots.max(1);
    let by_bytes = input_bytes.div_ceil(BYTES_PER_PARTITION).div_ceil(u64::from(slots));
    let by_bytes = u32::try_from(by_bytes).unwrap_or(u32::MAX);
    slots * by_bytes.clamp(PARTITIONS_PER_SLOT, PARTITIONS_PER_SLOT_MAX)
}

/// Bytes of the files, or parts of files, that a plan scans. Tables in memory do not count.
pub(crate) fn input_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let mut bytes = 0;
    let visited = plan.apply(|node| {
        let scan = node.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        if let Some(files) = scan.and_then(|scan| scan.downcast_ref::<FileScanConfig>()) {
            let files = files.file_groups.iter().flat_map(|group| group.files());
            bytes += files.map(scanned_bytes).sum::<u64>();
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("reading a plan does not fail");
    bytes
}

fn scanned_bytes(file: &PartitionedFile) -> u64 {
    let part = file.range.as_ref().map(|range| u64::try_from(range.end - range.start));
    part.and_then(Result::ok).unwrap_or(file.object_meta.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_inputs_go_by_slots_and_large_ones_by_bytes() {
        for (slots, bytes, partitions) in [
            (2, 0, 4),
            (2, 512 << 20, 4),
            (2, (512 << 20) + 1, 6),
            (2, 4 << 30, 32),
            (300, 4 << 30, 600),
            (1, 1 << 40, 64),
            (0, 0, 2),
        ] {
            assert_eq!(partitions_for(slots, bytes), partitions, "{slots} slots, {bytes} bytes");
        }
    }

    /// Each task of the exchange has a block for each partition after it: many partitions, not
    /// few, would make large blocks.
    #[test]
    fn blocks_of_a_large_exchange_are_small() {
        let (slots, bytes) = (2, 128_u64 << 30);
        let partitions = u64::from(partitions_for(slots, bytes));
        assert_eq!(bytes / partitions / partitions, 8 << 20);
    }
}
