//! `x AT TIME ZONE 'zone'`, as in PostgreSQL.
//!
//! DataFusion makes both of these a cast to a timestamp in that zone, and our rule for casts ([`super::zones`]) would
//! read the first one as a time in the session's zone:
//!
//! ```text
//! timestamp AT TIME ZONE 'Europe/Oslo'      the instant at which it is that time in Oslo, in the session's zone
//! timestamptz AT TIME ZONE 'Europe/Oslo'    the time in Oslo at that instant, a timestamp without a zone
//! ```
//!
//! Dates, texts and parameters are read as instants, in the session's zone.
//!
//! The type of `x` tells the two apart, and is known only when `x` is planned, where DataFusion has no hook for
//! `AT TIME ZONE`. Until then it is written as a difference from a constant that no statement has, in the type of the
//! session's timestamps with a zone: `x - cast('\u{1}zone Europe/Oslo' as timestamptz)`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::functions::core::arrow_cast;
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, lit};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, Expr as SqlExpr, TimezoneInfo, Value,
    ValueWithSpan,
};

/// Begins the constant, in front of the zone.
const ZONE: &str = "\u{1}zone ";

/// Writes `AT TIME ZONE` as a difference. A zone that is no constant is left to DataFusion, which refuses it.
pub(super) fn as_difference(expr: &mut SqlExpr) {
    let SqlExpr::AtTimeZone { timestamp, time_zone } = expr else { return };
    let SqlExpr::Value(ValueWithSpan { value: Value::SingleQuotedString(zone), .. }) =
        time_zone.as_ref()
    else {
        return;
    };
    let zone = SqlExpr::value(Value::SingleQuotedString(format!("{ZONE}{zone}")));
    let zone = SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(zone),
        data_type: SqlType::Timestamp(None, TimezoneInfo::WithTimeZone),
        array: false,
        format: None,
    };
    let (left, right) = (timestamp.clone(), Box::new(zone));
    let difference = SqlExpr::BinaryOp { left, op: BinaryOperator::Minus, right };
    *expr = SqlExpr::Nested(Box::new(difference));
}

/// The zone of such a difference, and the session's.
pub(super) fn zones(right: &Expr) -> Option<(&str, Option<&Arc<str>>)> {
    let Expr::Cast(cast) = right else { return None };
    match (cast.expr.as_ref(), cast.field.data_type()) {
        (Expr::Literal(ScalarValue::Utf8(Some(text)), _), DataType::Timestamp(_, session)) => {
            Some((text.strip_prefix(ZONE)?, session.as_ref()))
        }
        _ => None,
    }
}

/// The value of a timestamp at a time zone.
pub(super) fn at_zone(
    timestamp: &Expr,
    zone: &str,
    session: Option<&Arc<str>>,
    schema: &DFSchema,
) -> Result<Expr> {
    let zoned = |unit, zone: &str| DataType::Timestamp(unit, Some(zone.into()));
    let cast = |expr: Expr, to| Expr::Cast(Cast::new(Box::new(expr), to));
    // No cast, which would go by the session's zone and leave the zone out of its name.
    let there =
        |instant: Expr, unit| arrow_cast().call(vec![instant, lit(zoned(unit, zone).to_string())]);
    let here = |unit| zoned(unit, session.map_or("UTC", |zone| zone));
    let read_as = match timestamp.get_type(schema)? {
        DataType::Timestamp(unit, Some(_)) => {
            return Ok(to_local_time().call(vec![there(timestamp.clone(), unit)]));
        }
        DataType::Timestamp(unit, None) => {
            return Ok(cast(there(timestamp.clone(), unit), here(unit)));
        }
        DataType::Date32 | DataType::Date64 => TimeUnit::Microsecond,
        of if is_text(&of) || of.is_null() => unit_of_text(timestamp),
        of => return plan_err!("AT TIME ZONE takes a timestamp, not {of}, as in `{timestamp}`"),
    };
    let instant = cast(timestamp.clone(), here(read_as));
    Ok(to_local_time().call(vec![there(instant, read_as)]))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        of => of.is_string(),
    }
}

/// Nanoseconds, unless a written time is out of their reach.
fn unit_of_text(text: &Expr) -> TimeUnit {
    let in_nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    match text {
        Expr::Literal(text, _) if text.cast_to(&in_nanoseconds).is_err() => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn a_constant_zone_is_marked() {
        let text = parse("select t at time zone 'Europe/Oslo' from w").unwrap()[0].to_string();
        assert!(text.contains("(t - CAST('\u{1}zone Europe/Oslo' AS TIMESTAMP WITH TIME ZONE))"));
        let text = parse("select t at time zone z from w").unwrap()[0].to_string();
        assert!(text.contains("t AT TIME ZONE z"), "{text}");
    }
}
