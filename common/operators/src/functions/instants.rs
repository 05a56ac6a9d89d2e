//! Timestamps in a coarser unit, cut down: to the last moment of the unit that is not later.
//!
//! Arrow cuts towards 1970, so that an earlier timestamp becomes one that lies in its own future.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use datafusion::logical_expr::ScalarUDF;

use super::same_type::Kind;

const SECONDS: Kind = Kind {
    name: "floored_to_seconds",
    takes: "one timestamp",
    takes_type: is_timestamp,
    apply: |values| floored(values, TimeUnit::Second),
};

const MILLISECONDS: Kind = Kind {
    name: "floored_to_milliseconds",
    apply: |values| floored(values, TimeUnit::Millisecond),
    ..SECONDS
};

const MICROSECONDS: Kind = Kind {
    name: "floored_to_microseconds",
    apply: |values| floored(values, TimeUnit::Microsecond),
    ..SECONDS
};

/// The functions of this module. The driver puts them below casts to a coarser unit.
pub(super) fn all() -> [Arc<ScalarUDF>; 3] {
    [SECONDS, MILLISECONDS, MICROSECONDS].map(Kind::function)
}

/// The function that cuts timestamps of a type down to another one's unit; none where the unit is no coarser.
pub fn floor_between(from: &DataType, to: &DataType) -> Option<Arc<ScalarUDF>> {
    let (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) = (from, to) else {
        return None;
    };
    let kind = match to {
        TimeUnit::Second => SECONDS,
        TimeUnit::Millisecond => MILLISECONDS,
        TimeUnit::Microsecond => MICROSECONDS,
        TimeUnit::Nanosecond => return None,
    };
    (from > to).then(|| kind.function())
}

/// Nanoseconds of a unit.
pub(super) fn nanoseconds_of(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// The timestamps in their own type, without what is finer than a unit. Other values stay as they are.
pub(super) fn floored(values: &ArrayRef, to: TimeUnit) -> ArrayRef {
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            floored_by::<TimestampMillisecondType>(values, to)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            floored_by::<TimestampMicrosecondType>(values, to)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            floored_by::<TimestampNanosecondType>(values, to)
        }
        _ => Arc::clone(values),
    }
}

fn floored_by<T: ArrowTimestampType>(values: &ArrayRef, to: TimeUnit) -> ArrayRef {
    let step = nanoseconds_of(to) / nanoseconds_of(T::UNIT);
    if step <= 1 {
        return Arc::clone(values);
    }
    let values = values.as_primitive::<T>();
    // The first moments of what 64 bits hold have none before them, and are cut up.
    let floor =
        |value: i64| value.checked_sub(value.rem_euclid(step)).unwrap_or(value / step * step);
    let floored = values.unary::<_, T>(floor);
    Arc::new(floored.with_data_type(values.data_type().clone()))
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}
