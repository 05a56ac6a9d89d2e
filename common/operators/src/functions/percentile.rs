//! The values of a `percentile_cont`, and the value between two of them.
//!
//! DataFusion cuts the place between two values after six digits, and takes the first of several partial
//! states that come together. Its partial states are ours too.

use std::collections::BTreeMap;
use std::fmt::Debug;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray as _, Float64Array, PrimitiveArray, RecordBatch,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, internal_err};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::function::AccumulatorArgs;

/// One call: where its value is among the values, which are floats.
#[derive(Debug)]
pub(super) struct Percentile {
    /// Place of the value in the order, from 0, the first, to 1, the last.
    place: f64,
    is_descending: bool,
    is_distinct: bool,
    data_type: DataType,
}

impl Percentile {
    /// The call of these arguments; none without a value that is a float.
    pub(super) fn of(args: &AccumulatorArgs<'_>) -> Result<Option<Self>> {
        let data_type = args.expr_fields[0].data_type().clone();
        let nothing = RecordBatch::new_empty(args.schema.clone().into());
        let ColumnarValue::Scalar(place) = args.exprs[1].evaluate(&nothing)? else {
            return Ok(None);
        };
        let ScalarValue::Float64(Some(place)) = place.cast_to(&DataType::Float64)? else {
            return Ok(None);
        };
        let is_descending = args.order_bys.first().is_some_and(|key| key.options.descending);
        let is_distinct = args.is_distinct;
        let percentile = Self { place, is_descending, is_distinct, data_type };
        Ok(percentile.data_type.is_floating().then_some(percentile))
    }

    /// The accumulator of a call; of a moving frame, one that lets values go.
    pub(super) fn accumulator(self, is_moving: bool) -> Box<dyn Accumulator> {
        let is_counted = is_moving || self.is_distinct;
        let values =
            if is_counted { Values::Counted(BTreeMap::new()) } else { Values::All(vec![]) };
        Box::new(Percentiles { call: self, values })
    }
}

/// A float by its place in the total order of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered(i64);

impl From<f64> for Ordered {
    fn from(value: f64) -> Self {
        Self(turned(value.to_bits().cast_signed()))
    }
}

impl From<Ordered> for f64 {
    fn from(Ordered(bits): Ordered) -> Self {
        Self::from_bits(turned(bits).cast_unsigned())
    }
}

/// The bits of a negative float turned round but for their sign; turned twice they are themselves.
fn turned(bits: i64) -> i64 {
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

#[derive(Debug)]
enum Values {
    All(Vec<f64>),
    /// Each value with the rows that have it.
    Counted(BTreeMap<Ordered, usize>),
}

#[derive(Debug)]
struct Percentiles {
    call: Percentile,
    values: Values,
}

impl Percentiles {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let values = floats(values)?;
        match &mut self.values {
            Values::All(all) if values.null_count() == 0 => all.extend_from_slice(values.values()),
            Values::All(all) => all.extend(values.iter().flatten()),
            Values::Counted(counts) => values.iter().flatten().for_each(|value| {
                *counts.entry(value.into()).or_default() += 1;
            }),
        }
        Ok(())
    }

    /// The values that one of a number of rows stands for.
    fn times(&self, rows: usize) -> usize {
        if self.call.is_distinct { 1 } else { rows }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::All(all) => all.len(),
            Values::Counted(counts) => counts.values().map(|rows| self.times(*rows)).sum(),
        }
    }

    /// The value at a place of the ascending order; none behind the last.
    fn nth(&mut self, place: usize) -> Option<f64> {
        match &mut self.values {
            Values::All(all) if place < all.len() => {
                Some(*all.select_nth_unstable_by(place, f64::total_cmp).1)
            }
            Values::All(_) => None,
            Values::Counted(counts) => {
                let mut before = 0;
                let is_distinct = self.call.is_distinct;
                let found = counts.iter().find(|(_, rows)| {
                    before += if is_distinct { 1 } else { **rows };
                    before > place
                });
                found.map(|(value, _)| (*value).into())
            }
        }
    }

    fn value(&mut self) -> Option<f64> {
        let last = self.len().checked_sub(1)?;
        let place = self.call.place * last as f64;
        let (lower, upper) = (place.floor() as usize, place.ceil() as usize);
        let is_descending = self.call.is_descending;
        let ascending =
            |place: usize| if is_descending { last.saturating_sub(place) } else { place };
        let (before, after) = (self.nth(ascending(lower))?, self.nth(ascending(upper))?);
        Some(between(before, after, place - lower as f64))
    }
}

/// The value at a fraction of the way from one to another.
fn between(before: f64, after: f64, fraction: f64) -> f64 {
    let step = after - before;
    if before == after {
        before
    } else if step.is_finite() {
        before + step * fraction
    } else {
        before * (1.0 - fraction) + after * fraction
    }
}

fn floats(values: &ArrayRef) -> Result<PrimitiveArray<Float64Type>> {
    Ok(cast(values, &DataType::Float64)?.as_primitive().clone())
}

impl Accumulator for Percentiles {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.add(&values))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Values::Counted(counts) = &mut self.values else {
            return internal_err!("values leave a frame that doesn't move");
        };
        for value in floats(&values[0])?.iter().flatten() {
            let value = Ordered::from(value);
            let rows = counts.get_mut(&value);
            let rows = rows.ok_or_else(|| internal_datafusion_err!("a value left twice"))?;
            *rows -= 1;
            if *rows == 0 {
                counts.remove(&value);
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        matches!(self.values, Values::Counted(_))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Float64Array = match &self.values {
            Values::All(all) => all.clone().into(),
            Values::Counted(counts) => {
                let values = counts.iter().map(|(value, rows)| (*value, self.times(*rows)));
                let values = values.flat_map(|(value, times)| std::iter::repeat_n(value, times));
                values.map(f64::from).collect::<Vec<_>>().into()
            }
        };
        let values = cast(&values, &self.call.data_type)?;
        Ok(vec![SingleRowListArrayBuilder::new(values).build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64(self.value()).cast_to(&self.call.data_type)
    }

    fn size(&self) -> usize {
        let values = match &self.values {
            Values::All(all) => all.capacity() * size_of::<f64>(),
            // Half of a node may be free.
            Values::Counted(counts) => counts.len() * 2 * size_of::<(Ordered, usize)>(),
        };
        size_of_val(self) + values
    }
}
