//! Columns of tables in the form that times have in the session: timestamps with a zone are in the
//! session's, and times of a day count nanoseconds.
//!
//! A Parquet file may store its timestamps in UTC, or in the zone of who wrote it. DataFusion's functions go by
//! the zone of the column (`extract(hour FROM z)` is that in UTC), and its casts to text too. In PostgreSQL and
//! Spark a timestamp has no zone of its own. A time in microseconds is compared with none in nanoseconds, which
//! literals are. So each scan of a table with these columns gets a projection:
//!
//! ```text
//! z      cast(z as a timestamp in the session's zone)
//! tm     cast(tm as TIME in nanoseconds)
//! ```
//!
//! Both casts keep the order and every digit, so that filters are pushed below them, to the pruning of files. Without a
//! zone of the session it is UTC. What a view computes keeps the zone that it was created with.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, Projection};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ObjectName, TableFactor, Value};

use super::zones::is_same;

/// The planner. See the module.
#[derive(Debug)]
pub(super) struct ScannedTimes;

impl RelationPlanner for ScannedTimes {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, alias, with_hints, .. } = &mut relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if with_hints.last() == Some(&planned_below()) {
            with_hints.pop();
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        with_hints.push(planned_below());
        let (alias, name) = (alias.take(), name.clone());
        let plan = context.plan(relation)?;
        if !is_table(&plan, name, context) {
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))));
        }
        let zone = context.context_provider().options().execution.time_zone.clone();
        let plan = in_session_form(plan, zone.as_deref().unwrap_or("UTC"))?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The hint of a table that is left to DataFusion, which reads no hints. No text has it.
fn planned_below() -> SqlExpr {
    SqlExpr::value(Value::SingleQuotedString("\u{1}planned".to_owned()))
}

/// Returns true for what is planned for a table or a view, and false for a query of `WITH`.
fn is_table(plan: &LogicalPlan, name: ObjectName, context: &dyn RelationPlannerContext) -> bool {
    if matches!(plan, LogicalPlan::TableScan(_)) {
        return true;
    }
    let table = context.object_name_to_table_reference(name);
    let source = table.and_then(|table| context.context_provider().get_table_source(table));
    source.is_ok_and(|source| source.get_logical_plan().is_some())
}

fn in_session_form(plan: LogicalPlan, zone: &str) -> Result<LogicalPlan> {
    let types = || plan.schema().fields().iter().map(|field| session_form(field.data_type(), zone));
    if types().all(|data_type| data_type.is_none()) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().zip(types()).map(|((relation, field), data_type)| {
        let column = Expr::Column(Column::new(relation.cloned(), field.name()));
        match data_type {
            Some(data_type) => Expr::Cast(Cast::new(Box::new(column), data_type))
                .alias_qualified(relation.cloned(), field.name()),
            None => column,
        }
    });
    let columns = columns.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// The type that a column is cast to, if it has another form than the session's.
fn session_form(data_type: &DataType, zone: &str) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(unit, Some(other)) if !is_same(zone, other) => {
            Some(DataType::Timestamp(*unit, Some(zone.into())))
        }
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => {
            Some(DataType::Time64(TimeUnit::Nanosecond))
        }
        _ => None,
    }
}
