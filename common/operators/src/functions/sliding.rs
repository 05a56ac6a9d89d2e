//! Sums of floats over window frames that forget what has left them.
//!
//! Taking a float out of a sum by subtraction is wrong: `inf - inf` is NaN and stays NaN, and
//! `1e20 + 1 - 1e20` is 0. A frame is a queue, kept as two stacks (the queue of Okasaki with sums
//! for elements; Tangwongsan et al., "General incremental sliding-window aggregation", 2015):
//!
//! ```text
//!   leaves ◀── front: sums of a value and all after it │ back: values, and their sum ◀── enters
//! ```
//!
//! The sum of the frame is the top of `front` plus that of `back`. When `front` is empty and a value
//! leaves, `back` is turned over into it: each value is moved once, so that a row costs constant
//! time on average. Only values of the frame are in its sum, and the result does not depend on how
//! its rows were batched.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::Accumulator;

/// The sum of a queue of floats.
#[derive(Debug, Default)]
struct FrameSum {
    front: Vec<f64>,
    back: Vec<f64>,
    back_sum: f64,
}

impl FrameSum {
    fn push(&mut self, value: f64) {
        self.back.push(value);
        self.back_sum += value;
    }

    /// The oldest value leaves.
    fn pop(&mut self) {
        if self.front.is_empty() {
            let mut sum = 0.0;
            while let Some(value) = self.back.pop() {
                sum += value;
                self.front.push(sum);
            }
            self.back_sum = 0.0;
        }
        self.front.pop();
    }

    fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }

    fn sum(&self) -> f64 {
        self.front.last().map_or(self.back_sum, |front| front + self.back_sum)
    }
}

/// The sum of a window frame, or its average.
#[derive(Debug, Default)]
pub(super) struct SlidingSum {
    frame: FrameSum,
    is_average: bool,
}

impl SlidingSum {
    pub(super) fn average() -> Self {
        Self { is_average: true, ..Self::default() }
    }
}

impl Accumulator for SlidingSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        values.iter().flatten().for_each(|value| self.frame.push(value));
        Ok(())
    }

    /// Values leave in the order in which they came.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        (0..values[0].len() - values[0].null_count()).for_each(|_| self.frame.pop());
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    #[expect(clippy::cast_precision_loss, reason = "frames have fewer than 2^53 rows")]
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (rows, sum) = (self.frame.len(), self.frame.sum());
        let value = if self.is_average { sum / rows as f64 } else { sum };
        Ok(ScalarValue::Float64((rows > 0).then_some(value)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a window frame has no partial state")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("window frames are not merged")
    }

    fn size(&self) -> usize {
        let values = self.frame.front.capacity() + self.frame.back.capacity();
        size_of_val(self) + values * size_of::<f64>()
    }
}
