//! `avg` whose window frames forget what leaves them, and `try_avg`, which gives null where the
//! average does not fit.
//!
//! The rest is DataFusion's: it averages integers as floats, and its totals of decimals have 13 digits
//! more than their values.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::overflow::does_not_fit;
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
        let (name, data_type) = (args.name, args.return_type().clone());
        Ok(self.wrap(self.inner.accumulator(args)?, name, &data_type))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if args.return_type() == &DataType::Float64 && !args.is_distinct {
            return Ok(Box::new(SlidingSum::average()));
        }
        let (name, data_type) = (args.name, args.return_type().clone());
        Ok(self.wrap(self.inner.create_sliding_accumulator(args)?, name, &data_type))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    /// One group's overflow must not take the others with it.
    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        let can_overflow = args.return_type().is_decimal();
        !(self.is_lenient && can_overflow) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
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
        match self.inner.evaluate() {
            Ok(value) => Ok(value),
            Err(_) if self.is_lenient => ScalarValue::try_new_null(&self.data_type),
            Err(_) => Err(does_not_fit("the average", &self.data_type, &self.name, "try_avg")),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.name.capacity()
    }
}
