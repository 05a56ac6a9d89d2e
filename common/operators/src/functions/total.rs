//! Totals that remember what does not fit, so that only the final one has to.
//!
//! A total is `bits + carries * 2^128`, `bits` read as a signed number. Adding wraps, and each wrap
//! changes the number of carries by one. The representation is unique, so the total does not depend
//! on the order of its parts, nor on the number of partitions they came from: an overflow on the way
//! whose final total fits is none. Wraps are rare, so that the carries of groups are kept only once
//! there is one.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, PrimitiveArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Int64Type, UInt64Type, i256,
};
use datafusion::common::Result;
use datafusion::logical_expr::EmitTo;

/// A type whose values are summed in 128 bits.
pub(super) trait Summed: ArrowPrimitiveType + Send + Sync {
    fn widen(value: Self::Native) -> i128;
    /// The low bits.
    fn wrap(bits: i128) -> Self::Native;
}

macro_rules! summed {
    ($($type:ty),*) => {$(
        impl Summed for $type {
            fn widen(value: Self::Native) -> i128 {
                i128::from(value)
            }

            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            fn wrap(bits: i128) -> Self::Native {
                bits as Self::Native
            }
        }
    )*};
}

summed!(Int64Type, UInt64Type, Decimal32Type, Decimal64Type, Decimal128Type);
summed!(DurationSecondType, DurationMillisecondType);
summed!(DurationMicrosecondType, DurationNanosecondType);

/// One total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) bits: i128,
    pub(super) carries: i64,
}

impl Total {
    pub(super) fn add(&mut self, value: i128) {
        let (bits, wraps) = self.bits.overflowing_add(value);
        self.bits = bits;
        if wraps {
            self.carries += value.signum() as i64;
        }
    }

    pub(super) fn subtract(&mut self, value: i128) {
        let (bits, wraps) = self.bits.overflowing_sub(value);
        self.bits = bits;
        if wraps {
            self.carries -= value.signum() as i64;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.add(other.bits);
        self.carries += other.carries;
    }

    pub(super) fn from_wide(wide: i256) -> Self {
        let (low, high) = wide.to_parts();
        let bits = low.cast_signed();
        let carries = high + i128::from(bits < 0);
        Self { bits, carries: i64::try_from(carries).expect("fewer wraps than rows") }
    }

    pub(super) fn to_wide(self) -> i256 {
        let high = i128::from(self.carries) - i128::from(self.bits < 0);
        i256::from_parts(self.bits.cast_unsigned(), high)
    }

    /// The total, if it has 128 bits.
    pub(super) fn narrow(self) -> Option<i128> {
        (self.carries == 0).then_some(self.bits)
    }
}

/// The totals of groups.
#[derive(Debug, Default)]
pub(super) struct Totals {
    bits: Vec<i128>,
    /// Empty as long as no total has wrapped.
    carries: Vec<i64>,
}

impl Totals {
    pub(super) fn resize(&mut self, groups: usize) {
        self.bits.resize(groups, 0);
        if !self.carries.is_empty() {
            self.carries.resize(groups, 0);
        }
    }

    pub(super) fn add(&mut self, group: usize, value: i128) {
        let (bits, wraps) = self.bits[group].overflowing_add(value);
        self.bits[group] = bits;
        if wraps {
            self.carry(group, value.signum() as i64);
        }
    }

    pub(super) fn merge(&mut self, group: usize, other: Total) {
        self.add(group, other.bits);
        if other.carries != 0 {
            self.carry(group, other.carries);
        }
    }

    #[cold]
    fn carry(&mut self, group: usize, wraps: i64) {
        self.carries.resize(self.bits.len(), 0);
        self.carries[group] += wraps;
    }

    pub(super) fn take(&mut self, emit: EmitTo) -> Self {
        let carries =
            if self.carries.is_empty() { Vec::new() } else { emit.take_needed(&mut self.carries) };
        Self { bits: emit.take_needed(&mut self.bits), carries }
    }

    pub(super) fn bits(&self) -> &[i128] {
        &self.bits
    }

    pub(super) fn has_carries(&self) -> bool {
        !self.carries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Total> + '_ {
        let carries = self.carries.iter().copied().chain(std::iter::repeat(0));
        self.bits.iter().zip(carries).map(|(bits, carries)| Total { bits: *bits, carries })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bits.capacity() * size_of::<i128>() + self.carries.capacity() * size_of::<i64>()
    }
}

/// The form of a total between partial and final sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// 128 bits: integers, and decimals that take more rows than there are to fill them.
    Narrow(i8),
    /// 256 bits.
    Wide(i8),
}

/// Digits of decimals whose totals may need more than 128 bits: with fewer it takes 10^10 rows of
/// the largest value.
const WIDE_FROM_DIGITS: u8 = 29;

impl State {
    /// The state of the totals of values of a type.
    pub(super) fn of(values: &DataType) -> Self {
        match values {
            DataType::Decimal128(precision, scale) if *precision >= WIDE_FROM_DIGITS => {
                Self::Wide(*scale)
            }
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale) => Self::Narrow(*scale),
            _ => Self::Narrow(0),
        }
    }

    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Narrow(scale) => DataType::Decimal128(38, scale),
            Self::Wide(scale) => DataType::Decimal256(76, scale),
        }
    }

    /// Digits after the point.
    pub(super) fn scale(self) -> i8 {
        match self {
            Self::Narrow(scale) | Self::Wide(scale) => scale,
        }
    }

    /// Returns true if it holds every one of these totals.
    pub(super) fn holds(self, totals: &Totals) -> bool {
        matches!(self, Self::Wide(_)) || totals.carries.is_empty()
    }

    /// The states of totals that it holds.
    pub(super) fn encode(self, totals: Totals, nulls: Option<NullBuffer>) -> ArrayRef {
        assert!(self.holds(&totals), "the caller looked");
        match self {
            Self::Narrow(_) => {
                let states = Decimal128Array::new(totals.bits.into(), nulls);
                Arc::new(states.with_data_type(self.data_type()))
            }
            Self::Wide(_) => {
                let values: Vec<i256> = totals.iter().map(Total::to_wide).collect();
                let states = Decimal256Array::new(values.into(), nulls);
                Arc::new(states.with_data_type(self.data_type()))
            }
        }
    }

    /// The states of single values.
    pub(super) fn of_values<T: Summed>(self, values: &PrimitiveArray<T>) -> Result<ArrayRef> {
        Ok(match self {
            Self::Narrow(_) => {
                let states = values.unary::<_, Decimal128Type>(T::widen);
                Arc::new(states.with_data_type(self.data_type()))
            }
            Self::Wide(_) => {
                let wide = |value| i256::from_i128(T::widen(value));
                let states = values.unary::<_, Decimal256Type>(wide);
                Arc::new(states.with_data_type(self.data_type()))
            }
        })
    }
}

/// States as they come in.
pub(super) enum States<'a> {
    Narrow(&'a Decimal128Array),
    Wide(&'a Decimal256Array),
}

impl<'a> States<'a> {
    pub(super) fn of(states: &'a dyn Array, state: State) -> Self {
        match state {
            State::Narrow(_) => Self::Narrow(states.as_primitive()),
            State::Wide(_) => Self::Wide(states.as_primitive()),
        }
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = Total> + '_> {
        match self {
            Self::Narrow(states) => {
                Box::new(states.iter().flatten().map(|bits| Total { bits, carries: 0 }))
            }
            Self::Wide(states) => Box::new(states.iter().flatten().map(Total::from_wide)),
        }
    }
}
