//! The pure scheduler: stages, tasks, lineage, blocks, slots, fairness.
