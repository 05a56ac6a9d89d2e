//! The writing half of an exchange: the output partition of every row of a stage.
//!
//! Placement is a function of the row and of its position, never of arrival order across tasks,
//! so a second attempt puts the same rows into the same partitions. Round robin goes by row
//! position for that reason: DataFusion's goes by batch, and batch boundaries may move.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::utils::bisect;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_expr_common::utils::evaluate_expressions_to_arrays;
use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;

pub use crate::coalesce::BatchLimit;
use crate::coalesce::Coalescers;

/// Rows that stay together when rows are dealt out by position.
const ROUND_ROBIN_RUN_ROWS: usize = 1024;

/// The rule that gives every row of a stage its output partition.
#[derive(Clone, Debug)]
pub enum Placement {
    /// One output partition.
    Single,
    /// Hash or round robin over that many output partitions.
    Partitioned(Partitioning),
    /// Ranges of the sort keys: a row goes to the range that its keys are in. The rows come sorted
    /// by them.
    Ranges(Ranges),
}

/// Ranges of sort keys, from one split point (inclusive) to the next (exclusive).
#[derive(Clone)]
pub struct Ranges {
    /// The keys.
    pub ordering: LexOrdering,
    /// Split points, ascending in that order; equal ones leave a range empty. Each has a value per
    /// key, which is a literal once it is bound.
    pub split_points: Vec<Vec<Arc<dyn PhysicalExpr>>>,
}

/// A split point that is not bound yet is a hole, whose text shows the holes of all others.
impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ordering, split_points } = self;
        let nothing = Schema::empty();
        let shown = |value: &Arc<dyn PhysicalExpr>| {
            let hole = value.downcast_ref::<ScalarSubqueryExpr>();
            match hole.and_then(|hole| hole.return_field(&nothing).ok()) {
                Some(field) => format!("Hole({}, {})", field.data_type(), field.is_nullable()),
                None => format!("{value:?}"),
            }
        };
        let split_points: Vec<Vec<String>> =
            split_points.iter().map(|values| values.iter().map(shown).collect()).collect();
        f.debug_struct("Ranges")
            .field("ordering", ordering)
            .field("split_points", &split_points)
            .finish()
    }
}

impl Placement {
    /// Number of output partitions.
    pub fn partitions(&self) -> usize {
        match self {
            Self::Single => 1,
            Self::Partitioned(partitioning) => partitioning.partition_count(),
            Self::Ranges(ranges) => ranges.split_points.len() + 1,
        }
    }
}

/// Applies a [`Placement`] to the batches of one task: rows in, full batches per output partition
/// out, in the order the rows came. Copies every row at least once, but for batches that are large
/// enough and stay together.
pub struct Placer {
    rule: Rule,
    coalescers: Coalescers,
}

enum Rule {
    Single,
    RoundRobin { row: usize },
    Ranges(BoundRanges),
    Computed(Box<BatchPartitioner>),
}

impl Placer {
    /// A placer for task number `task`; batches out are as large as `limit` says, but for the last.
    ///
    /// # Errors
    /// When the partitioning is not one that DataFusion can compute.
    pub fn new(
        placement: &Placement,
        schema: &SchemaRef,
        task: u32,
        limit: BatchLimit,
    ) -> Result<Self> {
        let rule = match placement {
            Placement::Single => Rule::Single,
            Placement::Partitioned(Partitioning::RoundRobinBatch(_)) => {
                Rule::RoundRobin { row: task as usize * ROUND_ROBIN_RUN_ROWS }
            }
            Placement::Ranges(ranges) => Rule::Ranges(BoundRanges::new(ranges)?),
            Placement::Partitioned(partitioning) => {
                let partitioner =
                    BatchPartitioner::try_new(partitioning.clone(), Time::new(), task as usize, 1)?;
                Rule::Computed(Box::new(partitioner))
            }
        };
        Ok(Self { rule, coalescers: Coalescers::new(schema, placement.partitions(), limit) })
    }

    /// Bytes of the rows that wait for a full batch.
    pub fn buffered_bytes(&self) -> usize {
        self.coalescers.bytes()
    }

    /// Places the rows of one batch and hands full batches to `emit`.
    ///
    /// # Errors
    /// When an expression of the placement fails, or `emit` does.
    pub fn push(
        &mut self,
        batch: RecordBatch,
        mut emit: impl FnMut(u32, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let coalescers = &mut self.coalescers;
        let mut place =
            |partition: usize, rows: RecordBatch| coalescers.push(partition, rows, &mut emit);
        match &mut self.rule {
            Rule::Single => place(0, batch),
            Rule::Computed(partitioner) => partitioner.partition(batch, place),
            Rule::Ranges(ranges) => {
                for (partition, rows) in ranges.rows_of(&batch)?.into_iter().enumerate() {
                    if !rows.is_empty() {
                        place(partition, batch.slice(rows.start, rows.len()))?;
                    }
                }
                Ok(())
            }
            Rule::RoundRobin { row } => {
                let partitions = coalescers.partitions();
                let mut start = 0;
                while start < batch.num_rows() {
                    let run_left = ROUND_ROBIN_RUN_ROWS - *row % ROUND_ROBIN_RUN_ROWS;
                    let length = run_left.min(batch.num_rows() - start);
                    let partition = *row / ROUND_ROBIN_RUN_ROWS % partitions;
                    coalescers.push(partition, batch.slice(start, length), &mut emit)?;
                    *row += length;
                    start += length;
                }
                Ok(())
            }
        }
    }

    /// Hands out what waits, full or not.
    ///
    /// # Errors
    /// When `emit` fails.
    pub fn flush(&mut self, mut emit: impl FnMut(u32, RecordBatch) -> Result<()>) -> Result<()> {
        self.coalescers.flush_all(&mut emit)
    }
}

struct BoundRanges {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    options: Vec<SortOptions>,
    split_points: Vec<Vec<ScalarValue>>,
}

impl BoundRanges {
    fn new(ranges: &Ranges) -> Result<Self> {
        let value = |expr: &Arc<dyn PhysicalExpr>| {
            let literal = expr.downcast_ref::<Literal>().map(|literal| literal.value().clone());
            literal.ok_or_else(|| internal_datafusion_err!("a split point is not bound"))
        };
        let points = ranges.split_points.iter().map(|point| point.iter().map(value).collect());
        Ok(Self {
            keys: ranges.ordering.iter().map(|key| Arc::clone(&key.expr)).collect(),
            options: ranges.ordering.iter().map(|key| key.options).collect(),
            split_points: points.collect::<Result<_>>()?,
        })
    }

    /// The rows of a sorted batch that each range has.
    fn rows_of(&self, batch: &RecordBatch) -> Result<Vec<Range<usize>>> {
        let keys = evaluate_expressions_to_arrays(&self.keys, batch)?;
        let mut ranges = Vec::with_capacity(self.split_points.len() + 1);
        let mut start = 0;
        for point in &self.split_points {
            let end = bisect::<true>(&keys, point, &self.options)?.max(start);
            ranges.push(start..end);
            start = end;
        }
        ranges.push(start..batch.num_rows());
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::physical_expr::PhysicalSortExpr;
    use datafusion::physical_expr::expressions::{col, lit};

    use super::*;

    fn place(placement: &Placement, batch_lengths: &[usize]) -> Vec<Vec<i64>> {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let limit = BatchLimit { rows: 100, bytes: 1 << 20 };
        let mut placer = Placer::new(placement, &schema, 0, limit).expect("a placement");
        let mut out = vec![Vec::new(); placement.partitions()];
        let mut emit = |partition: u32, batch: RecordBatch| {
            let values = batch.column(0).as_primitive::<Int64Type>().values();
            out[partition as usize].extend_from_slice(values);
            Ok(())
        };
        let mut next = 0_i64;
        for length in batch_lengths {
            let end = next + i64::try_from(*length).expect("small");
            let column = Arc::new(Int64Array::from_iter_values(next..end));
            let batch = RecordBatch::try_new(schema.clone(), vec![column]).expect("fits");
            placer.push(batch, &mut emit).expect("placed");
            next = end;
        }
        placer.flush(&mut emit).expect("flushed");
        assert_eq!(placer.buffered_bytes(), 0);
        out
    }

    #[test]
    fn a_range_has_the_rows_from_its_split_point_on() {
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, false)]);
        let key = PhysicalSortExpr::new_default(col("k", &schema).expect("a column"));
        let ranges = Ranges {
            ordering: LexOrdering::new([key]).expect("one key"),
            split_points: [0_i64, 3, 3, 9].map(|point| vec![lit(point)]).to_vec(),
        };
        let placed = place(&Placement::Ranges(ranges), &[5, 5]);
        let expected: [&[i64]; 5] = [&[], &[0, 1, 2], &[], &[3, 4, 5, 6, 7, 8], &[9]];
        assert_eq!(placed, expected);
    }

    #[test]
    fn every_row_is_placed_once_whatever_the_batches() {
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, false)]);
        let key = col("k", &schema).expect("a column");
        let sorted = PhysicalSortExpr::new_default(Arc::clone(&key));
        let ranges = Ranges {
            ordering: LexOrdering::new([sorted]).expect("one key"),
            split_points: [100_i64, 100, 5_000].map(|point| vec![lit(point)]).to_vec(),
        };
        for placement in [
            Placement::Single,
            Placement::Ranges(ranges),
            Placement::Partitioned(Partitioning::Hash(vec![key], 5)),
            Placement::Partitioned(Partitioning::RoundRobinBatch(3)),
        ] {
            let one = place(&placement, &[10_000]);
            assert_eq!(one, place(&placement, &[1, 0, 2_999, 7_000]), "{placement:?}");
            let mut all: Vec<i64> = one.into_iter().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, (0..10_000).collect::<Vec<_>>(), "{placement:?}");
        }
    }
}
