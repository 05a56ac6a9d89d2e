//! Timestamps in nanoseconds as those in microseconds that are next to them, for comparisons with dates and
//! timestamps beyond the years that nanoseconds reach.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::wrapped::over_array;

/// The side of a timestamp on which the whole microsecond lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The last microsecond that is not later.
    NotLater,
    /// The first microsecond that is not earlier.
    NotEarlier,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::NotLater, Self::NotEarlier];

    fn of(self, nanoseconds: i64) -> i64 {
        let below = nanoseconds.div_euclid(1_000);
        below + i64::from(self == Self::NotEarlier && nanoseconds.rem_euclid(1_000) > 0)
    }
}

/// The function of one side.
pub fn function(side: Side) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Microseconds { side, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Microseconds {
    side: Side,
    signature: Signature,
}

impl ScalarUDFImpl for Microseconds {
    fn name(&self) -> &'static str {
        match self.side {
            Side::NotLater => "microsecond_not_later",
            Side::NotEarlier => "microsecond_not_earlier",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(TimeUnit::Nanosecond, _)] => Ok(types.to_vec()),
            other => {
                plan_err!("`{}` takes one timestamp in nanoseconds, not {other:?}", self.name())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.coerce_types(types)?.as_slice() {
            [DataType::Timestamp(_, zone)] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            other => plan_err!("`{}` takes one timestamp, not {other:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = args.return_field.data_type();
        over_array(&args.args[0], |values| {
            let values = values.as_primitive::<TimestampNanosecondType>();
            let found = values.unary::<_, TimestampMicrosecondType>(|value| self.side.of(value));
            Ok(Arc::new(found.with_data_type(to.clone())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_microsecond_is_on_its_side_before_1970_too() {
        for (nanoseconds, not_later, not_earlier) in
            [(0, 0, 0), (1, 0, 1), (1_000, 1, 1), (-1, -1, 0), (-1_000, -1, -1), (-1_001, -2, -1)]
        {
            assert_eq!(Side::NotLater.of(nanoseconds), not_later);
            assert_eq!(Side::NotEarlier.of(nanoseconds), not_earlier);
        }
    }
}
