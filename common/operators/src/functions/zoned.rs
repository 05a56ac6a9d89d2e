//! `to_timestamp` and the like: text with the zone of its type, numbers that are too large, earlier times.
//!
//! - DataFusion reads text in the session's zone and promises a timestamp in it, and leaves the zone
//!   out of what it returns for a column. The instants are right, so the zone is put back.
//! - Integers are seconds since 1970 in UTC. DataFusion takes them for a time in the session's zone.
//! - A float beyond what nanoseconds of 64 bits hold becomes the last timestamp there is. Here it is an error.
//! - A number of seconds, milli- or microseconds that is in no year of the calendar is an error, in `from_unixtime`
//!   too.
//! - A constant text is read by a column of formats, by `to_date` too.
//! - A timestamp becomes one of a coarser unit as everywhere ([`super::instants`]), also in `to_unixtime`.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, Float64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, exec_err};
use datafusion::execution::FunctionRegistry;
use datafusion::functions::datetime::to_date;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::instants::floored;
use super::wrapped::{is_wrapped, over_array, over_columns, wrapped};
use crate::shown::check_column;

const NAMES: [&str; 7] = [
    "from_unixtime",
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
    "to_unixtime",
];

/// The first float beyond what nanoseconds of 64 bits hold.
const NANOSECONDS_END: f64 = 9_223_372_036_854_775_808.0;

/// The functions of this module, over DataFusion's in a registry.
pub(super) fn all(registry: &dyn FunctionRegistry) -> Result<Vec<Arc<ScalarUDF>>> {
    let ours = |name| {
        let found = registry.udf(name)?;
        Ok(if is_wrapped(&found) { found } else { wrapped(found, zoned) })
    };
    let to_date = wrapped(to_date(), by_formats);
    NAMES.into_iter().map(ours).chain([Ok(to_date)]).collect()
}

fn zoned(inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let promised = args.return_field.data_type().clone();
    if let Some(value) = args.args.first_mut() {
        match (value.data_type(), &promised) {
            (DataType::Timestamp(..), DataType::Timestamp(unit, _)) => {
                *value = over_array(value, |values| Ok(floored(values, *unit)))?;
            }
            (DataType::Timestamp(..), _) => {
                *value = over_array(value, |values| Ok(floored(values, TimeUnit::Second)))?;
            }
            (of, _) if of.is_floating() && inner.name() == "to_timestamp" => fits(value)?,
            // Seconds since 1970 in UTC; DataFusion's takes them for a time in the zone.
            (of, DataType::Timestamp(unit, _))
                if of.is_integer() && inner.name() == "to_timestamp" =>
            {
                let seconds = value.cast_to(&DataType::Timestamp(TimeUnit::Second, None), None)?;
                let instants = seconds.cast_to(&DataType::Timestamp(*unit, None), None)?;
                return instants.cast_to(&DataType::Int64, None)?.cast_to(&promised, None);
            }
            _ => {}
        }
    }
    let value = match by_formats(inner, args)? {
        ColumnarValue::Array(values) => ColumnarValue::Array(in_zone(values, &promised)),
        value => value,
    };
    check_column(&value.to_array(1)?)?;
    Ok(value)
}

/// The value of a call of DataFusion's, which refuses a constant text with a column of formats.
fn by_formats(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let is_column = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Array(_));
    if args.args.iter().skip(1).any(is_column) {
        return over_columns(inner, args);
    }
    inner.invoke_with_args(args)
}

/// An error if floats of seconds have no timestamp in nanoseconds.
fn fits(seconds: &ColumnarValue) -> Result<()> {
    let seconds = cast(&seconds.to_array(1)?, &DataType::Float64)?;
    let mut seconds = seconds.as_primitive::<Float64Type>().iter().flatten();
    // NaN is within nothing.
    let beyond = seconds.find(|seconds| {
        (seconds * 1e9).abs().partial_cmp(&NANOSECONDS_END) != Some(Ordering::Less)
    });
    match beyond {
        Some(seconds) => {
            exec_err!("{seconds} seconds since 1970 do not fit a timestamp of nanoseconds")
        }
        None => Ok(()),
    }
}

/// The same instants in the zone of a type.
fn in_zone(values: ArrayRef, promised: &DataType) -> ArrayRef {
    fn tagged<T: ArrowTimestampType>(values: &ArrayRef, zone: &Arc<str>) -> ArrayRef {
        Arc::new(values.as_primitive::<T>().clone().with_timezone(Arc::clone(zone)))
    }
    match (values.data_type(), promised) {
        (DataType::Timestamp(unit, None), DataType::Timestamp(other, Some(zone)))
            if unit == other =>
        {
            match unit {
                TimeUnit::Second => tagged::<TimestampSecondType>(&values, zone),
                TimeUnit::Millisecond => tagged::<TimestampMillisecondType>(&values, zone),
                TimeUnit::Microsecond => tagged::<TimestampMicrosecondType>(&values, zone),
                TimeUnit::Nanosecond => tagged::<TimestampNanosecondType>(&values, zone),
            }
        }
        _ => values,
    }
}
