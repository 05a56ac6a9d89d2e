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

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::functions_aggregate::count::count_udaf;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::{Column, lit};
    use datafusion::physical_plan::aggregates::{AggregateMode, LimitOptions, PhysicalGroupBy};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::projection::ProjectionExpr;
    use gnist_operators::tree::with_children;

    use super::*;

    fn input(is_nullable: bool) -> Plan {
        let columns = ["a", "b"].map(|name| Field::new(name, DataType::Int64, is_nullable));
        Arc::new(EmptyExec::new(Arc::new(Schema::new(columns.to_vec()))))
    }

    fn column() -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("a", 0))
    }

    fn nullable(node: &Plan) -> Vec<bool> {
        node.schema().fields().iter().map(|field| field.is_nullable()).collect()
    }

    fn projection(items: [(&str, Arc<dyn PhysicalExpr>); 2]) -> Plan {
        let items = items.map(|(name, expr)| ProjectionExpr::new(expr, name.to_owned()));
        Arc::new(ProjectionExec::try_new(items, input(true)).unwrap())
    }

    fn aggregate() -> Plan {
        let of = input(true);
        let count = AggregateExprBuilder::new(count_udaf(), vec![column()]).schema(of.schema());
        let count = Arc::new(count.alias("n").build().unwrap());
        let keys = PhysicalGroupBy::new_single(vec![(column(), "a".to_owned())]);
        let filters = vec![Some(lit(true))];
        let schema = of.schema();
        let mode = AggregateMode::Single;
        let made = AggregateExec::try_new(mode, keys, vec![count], filters, of, schema).unwrap();
        Arc::new(made.with_new_limit_options(Some(LimitOptions::new(7))))
    }

    #[test]
    fn columns_are_nullable_where_those_of_the_new_input_are() {
        let (key, one) = (("a", column()), ("one", lit(1_i64)));
        let projections = [[key.clone(), one.clone()], [one, key]].map(projection);
        for over_nulls in projections.into_iter().chain([aggregate()]) {
            assert!(of_input(&over_nulls).unwrap().is_none());
            let moved = with_children(Arc::clone(&over_nulls), vec![input(false)]).unwrap();
            assert_eq!(nullable(&moved), nullable(&over_nulls), "DataFusion keeps the schema");
            let made = of_input(&moved).unwrap().expect("its key can't be null any more");
            assert_eq!(nullable(&made), [false, false]);
            assert!(of_input(&made).unwrap().is_none());
            let back = with_children(made, vec![input(true)]).unwrap();
            let back = of_input(&back).unwrap().expect("its key may be null again");
            assert_eq!(nullable(&back), nullable(&over_nulls));
        }
    }

    #[test]
    fn an_aggregate_that_is_made_again_loses_nothing() {
        let moved = with_children(aggregate(), vec![input(false)]).unwrap();
        let made = of_input(&moved).unwrap().expect("its key can't be null any more");
        let made = made.downcast_ref::<AggregateExec>().expect("an aggregate");
        assert_eq!(made.limit_options().map(|options| options.limit()), Some(7));
        assert!(made.filter_expr()[0].is_some());
        assert_eq!(made.aggr_expr()[0].name(), "n");
        assert_eq!(*made.mode(), AggregateMode::Single);
    }
}
