//! `min` and `max` whose groups of floats know infinity and NaN, and which order structs ([`nested`]).
//!
//! DataFusion starts the groups of a primitive type at the largest or smallest finite number, so that
//! the `max` of minus infinity alone is -1.8e308, and takes every value that it can't compare with the
//! one before, so that NaN comes and goes with the order of rows. Here groups start at the last or
//! first float of the total order, and compare by it. All the rest is DataFusion's.

mod nested;

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{Max, Min, max_udaf, min_udaf};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use nested::{Best, BestOfFrame, has_structs};

/// The functions of this module, over DataFusion's of the same name.
pub(super) fn all() -> [Arc<AggregateUDF>; 2] {
    [min_udaf(), max_udaf()].map(|inner| Arc::new(AggregateUDF::from(Extreme { inner })))
}

/// The function of this module that takes a function of DataFusion's place.
pub fn extreme(function: &AggregateUDF) -> Option<Arc<AggregateUDF>> {
    let is_theirs = function.inner().is::<Min>() || function.inner().is::<Max>();
    all().into_iter().find(|ours| is_theirs && ours.name() == function.name())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    inner: Arc<AggregateUDF>,
}

impl Extreme {
    /// The order of a value that replaces the one before it.
    fn better(&self) -> Ordering {
        if self.inner.inner().is::<Max>() { Ordering::Greater } else { Ordering::Less }
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if has_structs(args.return_type()) {
            return Ok(Box::new(Best::new(self.better(), args.return_type())));
        }
        self.inner.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !has_structs(args.return_type()) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.return_type() {
            DataType::Float16 => groups::<Float16Type>(self.better()),
            DataType::Float32 => groups::<Float32Type>(self.better()),
            DataType::Float64 => groups::<Float64Type>(self.better()),
            _ => self.inner.create_groups_accumulator(args)?,
        })
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if has_structs(args.return_type()) {
            return Ok(Box::new(BestOfFrame::new(self.better(), args.return_type())));
        }
        self.inner.create_sliding_accumulator(args)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

/// A float with a total order.
trait Ordered: ArrowPrimitiveType<Native: Debug + Send + Sync> + Send + Sync {
    const FIRST: Self::Native;
    const LAST: Self::Native;

    fn order(left: Self::Native, right: Self::Native) -> Ordering;
}

macro_rules! ordered {
    ($($type:ty),*) => {$(
        impl Ordered for $type {
            const FIRST: Self::Native = Self::Native::from_bits(!0);
            const LAST: Self::Native = Self::Native::from_bits(!0 >> 1);

            fn order(left: Self::Native, right: Self::Native) -> Ordering {
                left.total_cmp(&right)
            }
        }
    )*};
}

ordered!(Float16Type, Float32Type, Float64Type);

fn groups<T: Ordered>(better: Ordering) -> Box<dyn GroupsAccumulator> {
    let start = if better == Ordering::Greater { T::FIRST } else { T::LAST };
    let keep_better = move |kept: &mut T::Native, value: T::Native| {
        if T::order(value, *kept) == better {
            *kept = value;
        }
    };
    let groups = PrimitiveGroupsAccumulator::<T, _>::new(&T::DATA_TYPE, keep_better);
    Box::new(groups.with_starting_value(start))
}
