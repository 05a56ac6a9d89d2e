//! The accumulators of `sum`: of all rows or a window frame, of distinct values, and of groups.

use std::fmt::Debug;
use std::marker::PhantomData;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, new_null_array};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::prep_null_mask_filter;
use datafusion::arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Int64Type, TimeUnit,
    UInt64Type,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::NullState;

use super::super::total::{States, Summed, Total, Totals};
use super::result::SumResult;
use super::wide::{WideSum, is_wide};

/// The sum of all rows, or of a window frame.
#[derive(Debug)]
pub(super) struct OneTotal<T> {
    total: Total,
    rows: u64,
    result: SumResult,
    values: PhantomData<fn(T)>,
}

impl<T: Summed + Debug> OneTotal<T> {
    pub(super) fn new(result: SumResult) -> Self {
        Self { total: Total::default(), rows: 0, result, values: PhantomData }
    }

    fn each(values: &[ArrayRef], mut use_value: impl FnMut(i128)) -> u64 {
        let values = values[0].as_primitive::<T>();
        if values.null_count() == 0 {
            values.values().iter().for_each(|value| use_value(T::widen(*value)));
        } else {
            values.iter().flatten().for_each(|value| use_value(T::widen(value)));
        }
        (values.len() - values.null_count()) as u64
    }
}

impl<T: Summed + Debug> Accumulator for OneTotal<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut total = self.total;
        self.rows += Self::each(values, |value| total.add(value));
        self.total = total;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.rows -= Self::each(values, |value| self.total.subtract(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.rows += (states[0].len() - states[0].null_count()) as u64;
        States::of(&states[0], self.result.state).iter().for_each(|state| self.total.merge(state));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.rows == 0 {
            return Ok(vec![ScalarValue::try_new_null(&self.result.state.data_type())?]);
        }
        let mut totals = Totals::default();
        totals.resize(1);
        totals.merge(0, self.total);
        self.result.check(&totals)?;
        Ok(vec![ScalarValue::try_from_array(&self.result.state.encode(totals, None), 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = if self.rows == 0 { None } else { self.result.of::<T>(self.total)? };
        ScalarValue::new_primitive::<T>(value, &self.result.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.result.name.capacity()
    }
}

/// The sum of distinct values: DataFusion keeps them, and they are summed here.
#[derive(Debug)]
pub(super) struct DistinctTotal {
    values: Box<dyn Accumulator>,
    result: SumResult,
}

impl DistinctTotal {
    pub(super) fn new(values: Box<dyn Accumulator>, result: SumResult) -> Self {
        Self { values, result }
    }
}

impl Accumulator for DistinctTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        fn total<T: Summed + Debug>(result: SumResult, values: ArrayRef) -> Result<ScalarValue> {
            let mut total = OneTotal::<T>::new(result);
            total.update_batch(&[values])?;
            total.evaluate()
        }
        let state = self.values.state()?.remove(0).to_array()?;
        let values = state.as_list::<i32>().value(0);
        let result = self.result.clone();
        if is_wide(&result.data_type) {
            let mut sum = WideSum::new(&result.data_type, result.on_overflow, &result.name);
            sum.update_batch(&[values])?;
            return sum.evaluate();
        }
        with_summed_type!(result.data_type.clone(), total(result, values), self.values.evaluate())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size() + self.result.name.capacity()
    }
}

/// The sums of groups.
#[derive(Debug)]
pub(super) struct GroupTotals<T> {
    totals: Totals,
    nulls: NullState,
    result: SumResult,
    values: PhantomData<fn(T)>,
}

impl<T: Summed + Debug> GroupTotals<T> {
    pub(super) fn new(result: SumResult) -> Self {
        Self { totals: Totals::default(), nulls: NullState::new(), result, values: PhantomData }
    }
}

impl<T: Summed + Debug> GroupsAccumulator for GroupTotals<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.totals.resize(total_groups);
        let (totals, values) = (&mut self.totals, values[0].as_primitive::<T>());
        let add = |group, value| totals.add(group, T::widen(value));
        self.nulls.accumulate(groups, values, filter, total_groups, add);
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        total_groups: usize,
    ) -> Result<()> {
        self.totals.resize(total_groups);
        let totals = &mut self.totals;
        match States::of(&states[0], self.result.state) {
            States::Narrow(states) => {
                let add = |group, bits| totals.add(group, bits);
                self.nulls.accumulate(groups, states, None, total_groups, add);
            }
            States::Wide(states) => {
                let merge = |group, wide| totals.merge(group, Total::from_wide(wide));
                self.nulls.accumulate(groups, states, None, total_groups, merge);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let nulls = self.nulls.build(emit);
        self.result.array::<T>(&self.totals.take(emit), nulls)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let nulls = self.nulls.build(emit);
        let totals = self.totals.take(emit);
        self.result.check(&totals)?;
        Ok(vec![self.result.state.encode(totals, nulls)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let states = self.result.state.of_values(values)?;
        let Some(filter) = filter else { return Ok(vec![states]) };
        let keep = prep_null_mask_filter(filter);
        let nothing = new_null_array(states.data_type(), 1);
        let nothing = Scalar::new(nothing);
        Ok(vec![zip(&keep, &states, &nothing)?])
    }

    fn size(&self) -> usize {
        self.totals.bytes() + self.nulls.size() + self.result.name.capacity()
    }
}
