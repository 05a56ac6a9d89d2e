//! Operators whose columns are nullable where those of their inputs are.
//!
//! DataFusion keeps the schema of a projection and of an aggregate when a rule puts something
//! narrower below, as the minimum that a file's footer has in the place of an aggregate. An executor
//! makes the schema of the input, and would see another plan.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::projection::ProjectionExec;

type Plan = Arc<dyn ExecutionPlan>;

/// The operator made again, if its columns are nullable otherwise than by its input.
///
/// # Errors
/// When DataFusion refuses the operator over its own input.
pub(super) fn of_input(node: &Plan) -> Result<Option<Plan>> {
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        return of_projection(projection);
    }
    match node.downcast_ref::<AggregateExec>() {
        Some(aggregate) => of_aggregate(aggregate),
        None => Ok(None),
    }
}

fn of_projection(projection: &ProjectionExec) -> Result<Option<Plan>> {
    let (input, known) = (projection.input(), projection.schema());
    let below = input.schema();
    for (item, field) in projection.expr().iter().zip(known.fields()) {
        if item.expr.nullable(&below)? != field.is_nullable() {
            let items = projection.expr().to_vec();
            return Ok(Some(Arc::new(ProjectionExec::try_new(items, Arc::clone(input))?)));
        }
    }
    Ok(None)
}

fn of_aggregate(aggregate: &AggregateExec) -> Result<Option<Plan>> {
    let keys = aggregate.group_expr();
    let now = keys.group_schema(&aggregate.input().schema())?;
    if are_alike(&now, &aggregate.schema(), keys.expr().len()) {
        return Ok(None);
    }
    let made = AggregateExec::try_new(
        *aggregate.mode(),
        keys.clone(),
        aggregate.aggr_expr().to_vec(),
        aggregate.filter_expr().to_vec(),
        Arc::clone(aggregate.input()),
        aggregate.input_schema(),
    )?;
    Ok(Some(Arc::new(made.with_new_limit_options(aggregate.limit_options()))))
}

/// Returns true if the first columns are nullable in both or in none.
fn are_alike(one: &Schema, other: &Schema, columns: usize) -> bool {
    let pairs = one.fields().iter().zip(other.fields()).take(columns);
    pairs.into_iter().all(|(one, other)| one.is_nullable() == other.is_nullable())
}
