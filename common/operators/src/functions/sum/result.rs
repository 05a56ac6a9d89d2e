//! The result of a sum, and what becomes of a total that does not fit it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, PrimitiveArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Decimal256Type, DecimalType};
use datafusion::common::{DataFusionError, Result};

use super::super::overflow::does_not_fit;
use super::super::total::{State, Summed, Total, Totals};
use super::OnOverflow;

/// The result of one call of a sum.
#[derive(Clone, Debug)]
pub(super) struct SumResult {
    pub(super) data_type: DataType,
    /// The form of its totals between partial and final sums.
    pub(super) state: State,
    pub(super) on_overflow: OnOverflow,
    /// The call as typed, for the error.
    pub(super) name: String,
}

impl SumResult {
    /// The smallest and the largest total that fit.
    fn bounds<T: Summed>(&self) -> (i128, i128) {
        let digits = match &self.data_type {
            DataType::Decimal32(precision, _)
            | DataType::Decimal64(precision, _)
            | DataType::Decimal128(precision, _) => u32::from(*precision),
            DataType::UInt64 => return (0, i128::from(u64::MAX)),
            _ => return (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let bound = 10_i128.pow(digits) - 1;
        (-bound, bound)
    }

    /// The native value of a total; none is null.
    pub(super) fn of<T: Summed>(&self, total: Total) -> Result<Option<T::Native>> {
        let (min, max) = self.bounds::<T>();
        match (total.narrow(), self.on_overflow) {
            (Some(bits), _) if (min..=max).contains(&bits) => Ok(Some(T::wrap(bits))),
            (_, OnOverflow::Fail) => Err(self.overflow(total)),
            (_, OnOverflow::Wrap) if !self.data_type.is_decimal() => Ok(Some(T::wrap(total.bits))),
            _ => Ok(None),
        }
    }

    /// Refuses partial totals that their state does not hold.
    pub(super) fn check(&self, totals: &Totals) -> Result<()> {
        if self.state.holds(totals) {
            return Ok(());
        }
        let wrapped = totals.iter().find(|total| total.carries != 0);
        Err(self.overflow(wrapped.unwrap_or_default()))
    }

    fn overflow(&self, total: Total) -> DataFusionError {
        let total = Decimal256Type::format_decimal(total.to_wide(), 76, self.state.scale());
        does_not_fit(&total, &self.data_type, &self.name, "try_sum")
    }

    pub(super) fn array<T: Summed>(
        &self,
        totals: &Totals,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        let (min, max) = self.bounds::<T>();
        let fits = |bits: &i128| (min..=max).contains(bits);
        let array: PrimitiveArray<T> = if !totals.has_carries() && totals.bits().iter().all(fits) {
            let values: Vec<_> = totals.bits().iter().map(|bits| T::wrap(*bits)).collect();
            PrimitiveArray::new(values.into(), nulls)
        } else {
            let is_null = |at| nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
            let value = |(at, total)| if is_null(at) { Ok(None) } else { self.of::<T>(total) };
            totals.iter().enumerate().map(value).collect::<Result<_>>()?
        };
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}
