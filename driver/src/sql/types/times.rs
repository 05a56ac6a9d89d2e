//! Dates, timestamps and timestamps with a zone where they become one type.
//!
//! DataFusion makes a date and a timestamp with a zone timestamps without one, which is another moment, and
//! subtracts the digits of clocks of two zones. It makes a date and a timestamp nanoseconds, which end in
//! 2262, whatever the timestamp has. Here the type that is asked for is that of PostgreSQL:
//!
//! ```text
//! date, timestamp                  a timestamp in the unit of the latter
//! date or timestamp, timestamptz   a timestamp in the session's zone
//! times of a day in two units      a time in nanoseconds (DataFusion refuses them)
//! ```
//!
//! Differences and values of one column get this type always. Comparisons get it for times of a day, and for a date
//! with a timestamp that has no nanoseconds. Other comparisons are handled by [`crate::sql::far_dates`] and
//! [`crate::sql::zones`].

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::{Expr, cast, lit};

use super::operands::Meeting;
use crate::sql::far_dates::constant;

/// Casts dates and timestamps, or times of a day, to what they are together. Returns true if one was something else.
pub(super) fn meet(
    meeting: Meeting,
    operands: &mut [&mut Expr],
    types: &[DataType],
    zone: &Arc<str>,
) -> bool {
    match meeting {
        Meeting::Compared => compare(operands, types, zone),
        Meeting::Subtracted | Meeting::Combined => {
            common_type(types, zone).is_some_and(|to| cast_each(operands, types, &to))
        }
    }
}

/// Casts the expressions that have another type. Always returns true.
fn cast_each(exprs: &mut [&mut Expr], types: &[DataType], to: &DataType) -> bool {
    for (expr, from) in exprs.iter_mut().zip(types) {
        if from != to {
            **expr = cast(std::mem::take(*expr), to.clone());
        }
    }
    true
}

/// Makes dates, and timestamps that have no nanoseconds, timestamps that are compared: of the session's clock, or
/// instants where the dates are constants, so that files are pruned by them. Returns true if it did.
fn compare(exprs: &mut [&mut Expr], types: &[DataType], zone: &Arc<str>) -> bool {
    let to = match common_type(types, zone) {
        Some(to @ DataType::Time64(_)) => return cast_each(exprs, types, &to),
        Some(to) if types.iter().any(is_date) => to,
        _ => return false,
    };
    if as_instants(exprs, types, &to) {
        return true;
    }
    let DataType::Timestamp(unit, _) = to else { return false };
    if unit == TimeUnit::Nanosecond {
        return false;
    }
    let local = DataType::Timestamp(unit, None);
    for (expr, from) in exprs.iter_mut().zip(types) {
        if let DataType::Timestamp(unit, Some(_)) = from {
            let here = DataType::Timestamp(*unit, Some(Arc::clone(zone)));
            **expr = to_local_time().call(vec![cast(std::mem::take(*expr), here)]);
        } else if *from != local {
            **expr = cast(std::mem::take(*expr), local.clone());
        }
    }
    true
}

/// Makes dates and timestamps without a zone instants, if they are constants that are one moment in the zone. Returns
/// true if it did.
fn as_instants(exprs: &mut [&mut Expr], types: &[DataType], to: &DataType) -> bool {
    let is_zoned = |of: &DataType| matches!(of, DataType::Timestamp(_, Some(_)));
    if !is_zoned(to) {
        return false;
    }
    let instants = exprs.iter().zip(types).map(|(expr, of)| match is_zoned(of) {
        true => Some(None),
        false => Some(Some(constant(expr)?.cast_to(to).ok()?)),
    });
    let Some(instants) = instants.collect::<Option<Vec<_>>>() else { return false };
    for (expr, instant) in exprs.iter_mut().zip(instants) {
        if let Some(instant) = instant {
            **expr = lit(instant);
        }
    }
    true
}

/// The type of dates and timestamps together, or of times of a day. None if there is something else among them, or
/// if DataFusion finds the same type.
fn common_type(types: &[DataType], zone: &Arc<str>) -> Option<DataType> {
    let mut values = types.iter().filter(|of| !of.is_null());
    let first = values.clone().next()?;
    if values.clone().all(is_time) {
        let is_mixed = values.any(|of| of != first);
        return is_mixed.then_some(DataType::Time64(TimeUnit::Nanosecond));
    }
    let (mut units, mut zones, mut has_date) = (Vec::new(), Vec::new(), false);
    for data_type in types {
        match data_type {
            DataType::Null => {}
            of if is_date(of) => has_date = true,
            DataType::Timestamp(unit, zone) => {
                units.push(*unit);
                zones.push(zone);
            }
            _ => return None,
        }
    }
    let unit = units.into_iter().max()?;
    let is_zoned = zones.iter().any(|zone| zone.is_some());
    if !has_date && zones.iter().all(|zone| zone == &zones[0]) {
        return None;
    }
    Some(DataType::Timestamp(unit, is_zoned.then(|| Arc::clone(zone))))
}

fn is_date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}
