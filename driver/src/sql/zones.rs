//! Timestamps with a zone that meet others without one.
//!
//! A column of a Parquet file may have the zone UTC. DataFusion makes a timestamp without a zone one in that
//! zone where the two are compared, and takes the date of one with it for that in UTC. An explicit cast
//! goes by the session's zone, and so does every other one here: by way of a timestamp in it.
//!
//! ```text
//! utc = ts      utc = cast(cast(ts as timestamptz) as a timestamp in UTC)
//! utc > date    to_local_time(cast(utc as timestamptz)) > cast(date as timestamp)
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::numbers::{input_schema, map_named};

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct Zones;

impl AnalyzerRule for Zones {
    fn name(&self) -> &'static str {
        "zones"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone: Arc<str> = config.execution.time_zone.as_deref().unwrap_or("UTC").into();
        plan.transform_up_with_subqueries(|node| {
            let schema = input_schema(&node)?;
            map_named(node, |expr| expr.transform_up(|expr| Ok(by_session(expr, &schema, &zone))))
        })
        .data()
    }
}

fn by_session(expr: Expr, schema: &DFSchema, zone: &Arc<str>) -> Transformed<Expr> {
    let inner = match &expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => expr,
        _ => return Transformed::no(expr),
    };
    let (Ok(from), Ok(to)) = (inner.get_type(schema), expr.get_type(schema)) else {
        return Transformed::no(expr);
    };
    let Some(unit) = unit_of_other_zone(&from, &to, zone) else { return Transformed::no(expr) };
    let here = DataType::Timestamp(unit, Some(Arc::clone(zone)));
    let is_local = matches!(to, DataType::Timestamp(_, None));
    let local = |zoned| if is_local { to_local_time().call(vec![zoned]) } else { zoned };
    Transformed::yes(match expr {
        Expr::Cast(cast) => {
            let by = local(Expr::Cast(Cast::new(cast.expr, here)));
            Expr::Cast(Cast::new(Box::new(by), to))
        }
        Expr::TryCast(cast) => {
            let by = local(Expr::TryCast(TryCast::new(cast.expr, here)));
            Expr::TryCast(TryCast::new(Box::new(by), to))
        }
        other => other,
    })
}

/// The unit of a timestamp in another zone that something without a zone becomes, or whose date or time is
/// asked for, or of one that loses its zone.
fn unit_of_other_zone(from: &DataType, to: &DataType, zone: &str) -> Option<TimeUnit> {
    use DataType::{Date32, Date64, Time32, Time64, Timestamp};
    let is_part =
        |data_type: &DataType| matches!(data_type, Date32 | Date64 | Time32(_) | Time64(_));
    match (from, to) {
        (from, Timestamp(unit, Some(other)))
            if (is_part(from) || from.is_string() || matches!(from, Timestamp(_, None)))
                && !is_same(zone, other) =>
        {
            Some(*unit)
        }
        (Timestamp(unit, Some(other)), to) if is_part(to) && !is_same(zone, other) => Some(*unit),
        (Timestamp(unit, Some(_)), Timestamp(_, None)) if !is_utc(zone) => Some(*unit),
        _ => None,
    }
}

/// Returns true for one zone, also by two of the names of UTC.
pub(super) fn is_same(zone: &str, other: &str) -> bool {
    zone == other || is_utc(zone) && is_utc(other)
}

fn is_utc(zone: &str) -> bool {
    let names = ["UTC", "+00:00", "-00:00", "+00", "Z", "GMT", "Etc/UTC"];
    names.iter().any(|utc| zone.eq_ignore_ascii_case(utc))
}
