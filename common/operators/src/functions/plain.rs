//! `percentile_cont` and `bit_xor` without what DataFusion does to be faster.
//!
//! - `percentile_cont` of many groups fails where the first step of a grouping is skipped, and of the percentiles 0 and 1
//!   becomes another `min` and `max`, which have another opinion on infinity and NaN. Its values are ours too
//!   ([`super::percentile`]).
//! - `bit_xor` forgets its `DISTINCT` in groups, and over a frame that has no values left it is 0.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::bit_and_or_xor::bit_xor_udaf;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, ReversedUDAF, Signature,
};

use super::percentile::Percentile;

/// The functions of this module, over DataFusion's of the same name.
pub(super) fn all() -> [Arc<AggregateUDF>; 2] {
    [percentile_cont_udaf(), bit_xor_udaf()]
        .map(|inner| Arc::new(AggregateUDF::from(Plain { inner })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Plain {
    inner: Arc<AggregateUDF>,
}

impl Plain {
    fn accumulator_over(
        &self,
        args: AccumulatorArgs<'_>,
        is_moving: bool,
    ) -> Result<Box<dyn Accumulator>> {
        if self.inner.name() == "bit_xor" {
            let inner = self.inner.accumulator(args)?;
            // One that takes no row back: a frame is computed anew ([`super::recomputed`]).
            return Ok(if is_moving { Box::new(Unretracted { inner }) } else { inner });
        }
        let ours = Percentile::of(&args);
        let theirs = self.inner.accumulator(args)?;
        Ok(ours?.map_or(theirs, |call| call.accumulator(is_moving)))
    }
}

impl AggregateUDFImpl for Plain {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
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

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.accumulator_over(args, false)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        false
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.accumulator_over(args, true)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// An accumulator that takes no row back.
#[derive(Debug)]
struct Unretracted {
    inner: Box<dyn Accumulator>,
}

impl Accumulator for Unretracted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
