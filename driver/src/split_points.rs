//! Split points from samples of a sort's runs: as many rows of the sample between any two of them.

use std::collections::BTreeSet;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::{SortColumn, concat_batches, lexsort_to_indices};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, ScalarValue};

use crate::planner::RangeSort;

/// Sampled rows per range: enough that a range is rarely a quarter larger than the others.
const ROWS_PER_RANGE: u64 = 128;

/// Every how manieth row is sampled, of so many.
pub(crate) fn stride(sort: &RangeSort, rows: u64) -> u64 {
    let ranges = sort.points as u64 + 1;
    (rows / (ranges * ROWS_PER_RANGE)).max(1)
}

/// The samples of one sort as they come, a task each.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    tasks: BTreeSet<u32>,
    batches: Vec<RecordBatch>,
}

impl Samples {
    /// Takes the sample of one task, once.
    pub(crate) fn add(&mut self, task: u32, batches: Vec<RecordBatch>) {
        if self.tasks.insert(task) {
            self.batches.extend(batches);
        }
    }

    /// Number of tasks whose sample is here.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// The split points, ascending in the sort's order, a value per key. Equal ones are possible.
    pub(crate) fn split_points(
        &self,
        sort: &RangeSort,
        schema: &SchemaRef,
    ) -> Result<Vec<Vec<ScalarValue>>> {
        let rows = concat_batches(schema, &self.batches)?;
        let columns = rows.columns().iter().zip(&sort.options).map(|(values, options)| {
            SortColumn { values: ArrayRef::clone(values), options: Some(*options) }
        });
        let order = lexsort_to_indices(&columns.collect::<Vec<_>>(), None)?;
        let point = |number: usize| {
            let at = number * order.len() / (sort.points + 1);
            let row = (!order.is_empty()).then(|| order.value(at) as usize);
            let value = |column: &ArrayRef| match row {
                Some(row) => ScalarValue::try_from_array(column, row),
                None => ScalarValue::try_from(column.data_type()),
            };
            rows.columns().iter().map(value).collect()
        };
        (1..=sort.points).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::compute::SortOptions;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn sort(points: usize, descending: bool) -> RangeSort {
        let options = vec![SortOptions { descending, nulls_first: false }];
        RangeSort { runs: 0, stride: 0, first_point: 1, points, options }
    }

    fn points(values: Vec<Option<i64>>, sort: &RangeSort) -> Vec<Option<i64>> {
        let schema = Arc::new(Schema::new(vec![Field::new("key_0", DataType::Int64, true)]));
        let column = Arc::new(Int64Array::from(values));
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![column]).expect("a column of numbers");
        let mut samples = Samples::default();
        samples.add(0, vec![batch.clone()]);
        samples.add(0, vec![batch]);
        assert_eq!(samples.tasks(), 1);
        let points = samples.split_points(sort, &schema).expect("a column of numbers");
        points.into_iter().map(|point| i64::try_from(point[0].clone()).ok()).collect()
    }

    #[test]
    fn they_cut_the_sample_into_equal_parts() {
        let values = (0..100).map(|value| Some(value * 37 % 100)).collect();
        assert_eq!(points(values, &sort(3, false)), [Some(25), Some(50), Some(75)]);
        let values = (0..100).map(Some).collect();
        assert_eq!(points(values, &sort(1, true)), [Some(49)]);
    }

    #[test]
    fn nulls_equal_keys_and_no_rows_are_all_right() {
        assert_eq!(points(vec![Some(1), None, None, None], &sort(1, false)), [None]);
        assert_eq!(points(vec![Some(7); 9], &sort(2, false)), [Some(7), Some(7)]);
        assert_eq!(points(Vec::new(), &sort(2, false)), [None, None]);
    }

    #[test]
    fn a_stride_leaves_enough_rows() {
        assert_eq!(stride(&sort(3, false), 0), 1);
        assert_eq!(stride(&sort(3, false), 4 * 128 * 10), 10);
    }
}
