//! `sum` over integers, decimals and durations whose overflow is an error, null, or wraps.
//!
//! Types, coercion and every sum that can't overflow (floats, intervals) are DataFusion's. The
//! totals of the others have more bits than the result ([`super::total`]), and only the result is
//! looked at.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, FieldRef,
    Int64Type, TimeUnit, UInt64Type,
};
use datafusion::common::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
    udaf_default_schema_name, udaf_default_window_function_schema_name,
};

use super::sliding::SlidingSum;
use super::total::{State, Summed};

/// Calls `$of::<T>($args)` with the type of values of this data type, else `$otherwise`.
macro_rules! with_summed_type {
    ($data_type:expr, $of:ident($($args:expr),*), $otherwise:expr) => {
        match $data_type {
            DataType::Int64 => $of::<Int64Type>($($args),*),
            DataType::UInt64 => $of::<UInt64Type>($($args),*),
            DataType::Decimal32(..) => $of::<Decimal32Type>($($args),*),
            DataType::Decimal64(..) => $of::<Decimal64Type>($($args),*),
            DataType::Decimal128(..) => $of::<Decimal128Type>($($args),*),
            DataType::Duration(TimeUnit::Second) => $of::<DurationSecondType>($($args),*),
            DataType::Duration(TimeUnit::Millisecond) => $of::<DurationMillisecondType>($($args),*),
            DataType::Duration(TimeUnit::Microsecond) => $of::<DurationMicrosecondType>($($args),*),
            DataType::Duration(TimeUnit::Nanosecond) => $of::<DurationNanosecondType>($($args),*),
            _ => $otherwise,
        }
    };
}

mod accumulators;
mod result;
mod wide;

use accumulators::{DistinctTotal, GroupTotals, OneTotal};
use result::SumResult;
use wide::{WideSum, is_wide};

/// The fate of a total that does not fit: an error, null, or wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnOverflow {
    /// An error.
    Fail,
    /// Null.
    Null,
    /// Integers wrap, decimals are null: Spark without ANSI.
    Wrap,
}

impl OnOverflow {
    pub(super) const ALL: [Self; 3] = [Self::Fail, Self::Null, Self::Wrap];

    fn function_name(self) -> &'static str {
        match self {
            Self::Fail => "sum",
            Self::Null => "try_sum",
            Self::Wrap => "wrapping_sum",
        }
    }
}

/// The sum that deals with an overflow in this way.
pub fn sum(on_overflow: OnOverflow) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(CheckedSum { on_overflow, inner: Sum::new() }))
}

/// Returns true if a function is a sum of DataFusion's or the one of ours that fails.
pub fn is_plain_sum(function: &AggregateUDF) -> bool {
    let ours = function.inner().downcast_ref::<CheckedSum>();
    function.inner().is::<Sum>() || ours.is_some_and(|sum| sum.on_overflow == OnOverflow::Fail)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    on_overflow: OnOverflow,
    inner: Sum,
}

fn has_total(data_type: &DataType) -> bool {
    fn yes<T: Summed>() -> bool {
        true
    }
    with_summed_type!(data_type, yes(), false)
}

impl CheckedSum {
    fn result(&self, args: &AccumulatorArgs<'_>) -> SumResult {
        SumResult {
            data_type: args.return_type().clone(),
            state: State::of(args.expr_fields[0].data_type()),
            on_overflow: self.on_overflow,
            name: args.name.to_owned(),
        }
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.on_overflow.function_name()
    }

    /// Returns the name of `sum` for the function that wraps, too: users never type its own name.
    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        match self.on_overflow {
            OnOverflow::Null => udaf_default_schema_name(self, params),
            OnOverflow::Fail | OnOverflow::Wrap => self.inner.schema_name(params),
        }
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        match self.on_overflow {
            OnOverflow::Null => udaf_default_window_function_schema_name(self, params),
            OnOverflow::Fail | OnOverflow::Wrap => self.inner.window_function_schema_name(params),
        }
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        fn one<T: Summed + Debug>(result: SumResult) -> Box<dyn Accumulator> {
            Box::new(OneTotal::<T>::new(result))
        }
        let data_type = args.expr_fields[0].data_type();
        if args.is_distinct && (has_total(data_type) || is_wide(data_type)) {
            let result = self.result(&args);
            return Ok(Box::new(DistinctTotal::new(self.inner.accumulator(args)?, result)));
        }
        if args.is_distinct {
            return self.inner.accumulator(args);
        }
        if is_wide(data_type) {
            return Ok(Box::new(WideSum::new(args.return_type(), self.on_overflow, args.name)));
        }
        Ok(with_summed_type!(data_type, one(self.result(&args)), self.inner.accumulator(args)?))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let data_type = args.expr_fields[0].data_type();
        if (has_total(data_type) || is_wide(data_type)) && !args.is_distinct {
            return self.accumulator(args);
        }
        if matches!(data_type, DataType::Float64) && !args.is_distinct {
            return Ok(Box::new(SlidingSum::default()));
        }
        self.inner.create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let data_type = args.input_fields[0].data_type();
        if !args.is_distinct && is_wide(data_type) {
            return Ok(WideSum::state_fields(args.name, data_type));
        }
        if args.is_distinct || !has_total(data_type) {
            return self.inner.state_fields(args);
        }
        let state = State::of(data_type).data_type();
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), state, true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct && !is_wide(args.expr_fields[0].data_type())
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        fn many<T: Summed + Debug>(result: SumResult) -> Box<dyn GroupsAccumulator> {
            Box::new(GroupTotals::<T>::new(result))
        }
        let data_type = args.expr_fields[0].data_type();
        Ok(with_summed_type!(
            data_type,
            many(self.result(&args)),
            self.inner.create_groups_accumulator(args)?
        ))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
