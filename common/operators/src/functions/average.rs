//! `avg` whose window frames forget what leaves them, and `try_avg`, which gives null where the
//! average does not fit.
//!
//! Totals of durations have 128 bits: a day for each of 150,000 rows is more than 64 bits hold in nanoseconds.
//!
//! Averages of decimals are rounded, where DataFusion cuts them.
//!
//! The rest is DataFusion's: it averages integers as floats, and its totals of decimals have 13 digits
//! more than their values.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Decimal256Array, UInt64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int64Type,
    TimeUnit, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::overflow::does_not_fit;
use super::quotients::{averages, scale_of};
use super::sliding::SlidingSum;

/// The average; a lenient one gives null where the other fails.
pub fn avg(is_lenient: bool) -> Arc<AggregateUDF> {
    let inner = Avg::new();
    let aliases = if is_lenient { Vec::new() } else { inner.aliases().to_vec() };
    Arc::new(AggregateUDF::from(Average { is_lenient, aliases, inner }))
}

/// Returns true if a function is an average of DataFusion's or the one of ours that fails.
pub fn is_plain_avg(function: &AggregateUDF) -> bool {
    let ours = function.inner().downcast_ref::<Average>();
    function.inner().is::<Avg>() || ours.is_some_and(|average| !average.is_lenient)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    is_lenient: bool,
    aliases: Vec<String>,
    inner: Avg,
}

impl Average {
    fn wrap(
        &self,
        inner: Box<dyn Accumulator>,
        name: &str,
        data_type: &DataType,
    ) -> Box<dyn Accumulator> {
        let (is_lenient, name, data_type) = (self.is_lenient, name.to_owned(), data_type.clone());
        Box::new(Averaging { inner, is_lenient, name, data_type })
    }
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        if self.is_lenient { "try_avg" } else { "avg" }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if let DataType::Duration(unit) = args.return_type()
            && !args.is_distinct
        {
            return Ok(Box::new(DurationAverage { total: 0, count: 0, unit: *unit }));
        }
        let (name, data_type) = (args.name, args.return_type().clone());
        Ok(self.wrap(self.inner.accumulator(args)?, name, &data_type))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if is_duration(args.return_type()) {
            return self.accumulator(args);
        }
        if args.return_type() == &DataType::Float64 && !args.is_distinct {
            return Ok(Box::new(SlidingSum::average()));
        }
        let (name, data_type) = (args.name, args.return_type().clone());
        Ok(self.wrap(self.inner.create_sliding_accumulator(args)?, name, &data_type))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if is_duration(args.return_field.data_type()) && !args.is_distinct {
            let field =
                |part: &str, of| Arc::new(Field::new(format!("{}[{part}]", args.name), of, true));
            let count = field("count", DataType::UInt64);
            return Ok(vec![count, field("sum", DataType::Decimal128(38, 0))]);
        }
        self.inner.state_fields(args)
    }

    /// One group's overflow must not take the others with it.
    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        let can_overflow = args.return_type().is_decimal();
        let is_ours = is_duration(args.return_type());
        let runs_per_group = is_ours || (self.is_lenient && can_overflow);
        !runs_per_group && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let (name, data_type) = (args.name.to_owned(), args.return_type().clone());
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(match data_type.is_decimal() {
            true => Box::new(AveragingGroups { inner, name, data_type }),
            false => inner,
        })
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

fn is_duration(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Duration(_))
}

/// The average of durations, cut to their unit.
#[derive(Debug)]
struct DurationAverage {
    total: i128,
    count: u64,
    unit: TimeUnit,
}

impl DurationAverage {
    fn total_of(values: &[ArrayRef]) -> Result<(i128, u64)> {
        let values = cast(&values[0], &DataType::Int64)?;
        let values = values.as_primitive::<Int64Type>();
        let total = values.iter().flatten().map(i128::from).sum();
        Ok((total, (values.len() - values.null_count()) as u64))
    }
}

impl Accumulator for DurationAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (total, count) = Self::total_of(values)?;
        self.total += total;
        self.count += count;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (total, count) = Self::total_of(values)?;
        self.total -= total;
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<UInt64Type>().iter().flatten();
        let totals = states[1].as_primitive::<Decimal128Type>().iter().flatten();
        self.count += counts.sum::<u64>();
        self.total += totals.sum::<i128>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let total = ScalarValue::Decimal128(Some(self.total), 38, 0);
        Ok(vec![ScalarValue::UInt64(Some(self.count)), total])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // It is no larger than the largest of the values.
        let average = self.total.checked_div(i128::from(self.count));
        let average = average.and_then(|average| i64::try_from(average).ok());
        Ok(match self.unit {
            TimeUnit::Second => ScalarValue::DurationSecond(average),
            TimeUnit::Millisecond => ScalarValue::DurationMillisecond(average),
            TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(average),
            TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(average),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// An average that names itself when it does not fit, or is null then.
#[derive(Debug)]
struct Averaging {
    inner: Box<dyn Accumulator>,
    is_lenient: bool,
    name: String,
    data_type: DataType,
}

impl Averaging {
    /// The average of decimals, from DataFusion's state: a count and a sum, or the list of different values.
    fn decimal(&mut self) -> Result<ScalarValue> {
        let state = self.inner.state()?;
        let (sum, count) = match state.as_slice() {
            [ScalarValue::UInt64(count), sum] => (sum.to_array()?, count.unwrap_or(0)),
            [ScalarValue::List(list)] => {
                let values = list.value(0);
                let of =
                    DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale_of(values.data_type()));
                let values = cast(&values, &of)?;
                let values = values.as_primitive::<Decimal256Type>();
                let sum = Decimal256Array::from(vec![datafusion::arrow::compute::sum(values)]);
                let sum: ArrayRef = Arc::new(sum.with_data_type(of));
                (sum, (values.len() - values.null_count()) as u64)
            }
            _ => return internal_err!("an average of decimals has another state"),
        };
        let average = averages(&sum, &UInt64Array::from(vec![count]), &self.data_type)?;
        ScalarValue::try_from_array(&average, 0)
    }
}

impl Accumulator for Averaging {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = match self.data_type.is_decimal() {
            true => self.decimal(),
            false => self.inner.evaluate(),
        };
        match value {
            Ok(value) => Ok(value),
            Err(_) if self.is_lenient => ScalarValue::try_new_null(&self.data_type),
            Err(_) => Err(does_not_fit("the average", &self.data_type, &self.name, "try_avg")),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.name.capacity()
    }
}

/// Averages of decimals per group, rounded. Counts and sums are DataFusion's.
struct AveragingGroups {
    inner: Box<dyn GroupsAccumulator>,
    name: String,
    data_type: DataType,
}

impl GroupsAccumulator for AveragingGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_in_all: usize,
    ) -> Result<()> {
        self.inner.update_batch(values, groups, filter, groups_in_all)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let state = self.inner.state(emit_to)?;
        let [counts, sums] = state.as_slice() else {
            return internal_err!("averages of decimals have another state");
        };
        let averages = averages(sums, counts.as_primitive(), &self.data_type);
        averages.map_err(|_| does_not_fit("the average", &self.data_type, &self.name, "try_avg"))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        groups_in_all: usize,
    ) -> Result<()> {
        self.inner.merge_batch(states, groups, groups_in_all)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.name.capacity()
    }
}
