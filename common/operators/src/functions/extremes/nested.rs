//! `min` and `max` of structs, and of what holds them, by the order of `ORDER BY`.
//!
//! DataFusion skips a field that is null on one side as if it were equal, which is no order: the result
//! depends on the order of rows. Here values are compared as Arrow sorts them, and a null inside of a value is
//! the last.

use std::cmp::Ordering;
use std::collections::VecDeque;

use datafusion::arrow::array::{Array, ArrayRef, UInt64Array, make_comparator};
use datafusion::arrow::compute::{SortOptions, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

const NULLS_LAST: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Returns true for structs, and for lists and maps that hold them.
pub(super) fn has_structs(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) | DataType::Map(_, _) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => has_structs(field.data_type()),
        _ => false,
    }
}

/// The value that no other is better than.
#[derive(Debug)]
pub(super) struct Best {
    better: Ordering,
    data_type: DataType,
    /// Null when there is no value yet.
    kept: Option<ArrayRef>,
}

impl Best {
    pub(super) fn new(better: Ordering, data_type: &DataType) -> Self {
        Self { better, data_type: data_type.clone(), kept: None }
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let order = make_comparator(values, values, NULLS_LAST)?;
        let rows = (0..values.len()).filter(|row| values.is_valid(*row));
        let best =
            rows.reduce(|best, row| if order(row, best) == self.better { row } else { best });
        let Some(best) = best else { return Ok(()) };
        let is_better = match &self.kept {
            Some(kept) => make_comparator(values, kept, NULLS_LAST)?(best, 0) == self.better,
            None => true,
        };
        if is_better {
            self.kept = Some(row_of(values, best)?);
        }
        Ok(())
    }
}

/// A copy of one row, which doesn't keep the others in memory.
fn row_of(values: &ArrayRef, row: usize) -> Result<ArrayRef> {
    Ok(take(values, &UInt64Array::from(vec![row as u64]), None)?)
}

fn value_of(row: Option<&ArrayRef>, data_type: &DataType) -> Result<ScalarValue> {
    match row {
        Some(row) => ScalarValue::try_from_array(row, 0),
        None => ScalarValue::try_new_null(data_type),
    }
}

fn bytes_of(row: &ArrayRef) -> usize {
    row.to_data().get_slice_memory_size().unwrap_or(0)
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(&states[0])
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        value_of(self.kept.as_ref(), &self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.as_ref().map_or(0, bytes_of)
    }
}

/// The best value of a moving frame. Rows leave in the order in which they came, so a row is forgotten
/// once one came that is as good.
#[derive(Debug)]
pub(super) struct BestOfFrame {
    better: Ordering,
    data_type: DataType,
    /// Rows that may still become the best, by their number; the best is the first.
    kept: VecDeque<(usize, ArrayRef)>,
    came: usize,
    left: usize,
}

impl BestOfFrame {
    pub(super) fn new(better: Ordering, data_type: &DataType) -> Self {
        Self { better, data_type: data_type.clone(), kept: VecDeque::new(), came: 0, left: 0 }
    }

    fn push(&mut self, row: ArrayRef) -> Result<()> {
        while let Some((_, last)) = self.kept.back() {
            if make_comparator(last, &row, NULLS_LAST)?(0, 0) == self.better {
                break;
            }
            self.kept.pop_back();
        }
        self.kept.push_back((self.came, row));
        Ok(())
    }
}

impl Accumulator for BestOfFrame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            if values[0].is_valid(row) {
                self.push(row_of(&values[0], row)?)?;
            }
            self.came += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.left += values[0].len();
        while self.kept.front().is_some_and(|(number, _)| *number < self.left) {
            self.kept.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        value_of(self.kept.front().map(|(_, row)| row), &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        datafusion::common::internal_err!("window frames are not merged")
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.iter().map(|(_, row)| bytes_of(row)).sum::<usize>()
    }
}
