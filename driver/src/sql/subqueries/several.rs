//! Plans of several inputs for all values of a domain: joins, unions and rows that are written out.

use std::sync::Arc;

use datafusion::common::{Column, Result, TableReference};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Cast, Expr, Join, JoinConstraint, JoinType, LogicalPlan, Operator, Projection, Union, Values,
    binary_expr,
};

use super::Rewriter;
use super::domain::{Domain, ForAll, called, key_name, refused};
use super::references::bound;

impl Rewriter {
    pub(super) fn union_for_all(&self, union: &Union, domain: &Domain) -> Result<ForAll> {
        let relation = self.relation("union");
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let (plan, keys) = self.for_all(input, domain)?;
            let columns = input.schema().columns().into_iter().zip(union.schema.iter());
            let columns =
                columns.map(|(column, (_, field))| Expr::Column(column).alias(field.name()));
            let named = keys.into_iter().enumerate();
            let named = named.map(|(at, key)| Expr::Column(key).alias(format!("{relation}.c{at}")));
            let columns = named.chain(columns).collect();
            inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(
                columns,
                Arc::new(plan),
            )?)));
        }
        let all = LogicalPlan::Union(Union::try_new(inputs)?);
        let mut plain = all.schema().columns().into_iter();
        let mut columns = Vec::new();
        let mut keys = Vec::new();
        for (at, column) in plain.by_ref().take(domain.columns().len()).enumerate() {
            let key = Column::new(Some(relation.clone()), key_name(at));
            columns.push(called(Expr::Column(column), key.relation.as_ref(), &key.name));
            keys.push(key);
        }
        for (column, (relation, field)) in plain.zip(union.schema.iter()) {
            columns.push(called(Expr::Column(column), relation, field.name()));
        }
        Ok((LogicalPlan::Projection(Projection::try_new(columns, Arc::new(all))?), keys))
    }

    /// Rows that are written out: a projection of the domain for each.
    pub(super) fn values_for_all(&self, values: &Values, domain: &Domain) -> Result<ForAll> {
        let relation = self.relation("values");
        let key = |at: usize| Column::new(Some(relation.clone()), key_name(at));
        let keys: Vec<Column> = (0..domain.columns().len()).map(key).collect();
        let mut rows = Vec::with_capacity(values.values.len());
        for row in &values.values {
            let (plan, own) = self.copy_of(domain)?;
            let mut columns = Vec::new();
            for (own, key) in own.iter().zip(&keys) {
                columns.push(Expr::Column(own.clone()).alias(key.flat_name()));
            }
            for (expr, field) in row.iter().zip(values.schema.fields()) {
                let expr = bound(expr.clone(), domain.columns(), &own)?;
                let expr = Expr::Cast(Cast::new(Box::new(expr), field.data_type().clone()));
                columns.push(expr.alias(field.name()));
            }
            rows.push(Arc::new(LogicalPlan::Projection(Projection::try_new(
                columns,
                Arc::new(plan),
            )?)));
        }
        let all = match <[_; 1]>::try_from(rows) {
            Ok([row]) => Arc::unwrap_or_clone(row),
            Err(rows) => LogicalPlan::Union(Union::try_new(rows)?),
        };
        let mut plain = all.schema().columns().into_iter();
        let named = plain.by_ref().take(keys.len()).zip(&keys);
        let mut columns: Vec<Expr> = named
            .map(|(column, key)| called(Expr::Column(column), key.relation.as_ref(), &key.name))
            .collect();
        columns.extend(plain.map(Expr::Column));
        Ok((LogicalPlan::Projection(Projection::try_new(columns, Arc::new(all))?), keys))
    }

    pub(super) fn join_for_all(&self, join: &Join, domain: &Domain) -> Result<ForAll> {
        let (mut left_in, mut right_in) =
            (domain.is_meant_by(&join.left)?, domain.is_meant_by(&join.right)?);
        match join.join_type {
            JoinType::Inner => left_in |= !right_in,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                left_in = true;
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                right_in = true;
            }
            JoinType::Full => (left_in, right_in) = (true, true),
        }
        if join.null_aware {
            return refused("a null-aware join");
        }
        let side = |plan: &Arc<LogicalPlan>, is_in: bool| match is_in {
            true => self.for_all(plan, domain),
            false => Ok((plan.as_ref().clone(), Vec::new())),
        };
        let (left, left_keys) = side(&join.left, left_in)?;
        let (right, right_keys) = side(&join.right, right_in)?;
        let (right, right_keys) = match join.join_type {
            JoinType::LeftMark if right_in => {
                under_one_name(right, right_keys, &join.right, &self.relation("outer"))?
            }
            _ => (right, right_keys),
        };
        let keys = if left_in { &left_keys } else { &right_keys };
        let mut conditions = Vec::new();
        if let Some(filter) = &join.filter {
            conditions.push(bound(filter.clone(), domain.columns(), keys)?);
        }
        let mut on = Vec::with_capacity(join.on.len());
        for (left, right) in &join.on {
            let left = bound(left.clone(), domain.columns(), &left_keys)?;
            on.push((left, bound(right.clone(), domain.columns(), &right_keys)?));
        }
        if left_in && right_in {
            conditions.extend(left_keys.iter().zip(&right_keys).map(|(left, right)| {
                let (left, right) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
                binary_expr(left, Operator::IsNotDistinctFrom, right)
            }));
        }
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            conjunction(conditions),
            join.join_type,
            JoinConstraint::On,
            join.null_equality,
            false,
        )?);
        match join.join_type {
            JoinType::Full => self.of_either_side(plan, &left_keys, &right_keys),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                Ok((plan, right_keys))
            }
            _ => Ok((plan, if left_in { left_keys } else { right_keys })),
        }
    }

    /// The keys of a full join: those of the side that has a row.
    fn of_either_side(
        &self,
        plan: LogicalPlan,
        left: &[Column],
        right: &[Column],
    ) -> Result<ForAll> {
        let relation = self.relation("outer");
        let other = plan.schema().columns().into_iter();
        let other = other.filter(|column| !left.contains(column) && !right.contains(column));
        let mut columns: Vec<Expr> = other.map(Expr::Column).collect();
        let mut keys = Vec::new();
        for (at, (left, right)) in left.iter().zip(right).enumerate() {
            let sides = vec![Expr::Column(left.clone()), Expr::Column(right.clone())];
            let key = Column::new(Some(relation.clone()), key_name(at));
            let either = coalesce(sides);
            columns.push(called(either, key.relation.as_ref(), &key.name));
            keys.push(key);
        }
        Ok((LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?), keys))
    }
}

/// The right side of a mark join with its keys under the name of its relation: the mark is called
/// after the one relation that there is. `own` is a name that no other keys have.
fn under_one_name(
    plan: LogicalPlan,
    keys: Vec<Column>,
    original: &LogicalPlan,
    own: &TableReference,
) -> Result<ForAll> {
    let relation = original.schema().iter().find_map(|(relation, _)| relation.cloned());
    let others = plan.schema().columns().into_iter().filter(|column| !keys.contains(column));
    let mut columns: Vec<Expr> = others.map(Expr::Column).collect();
    let mut renamed = Vec::with_capacity(keys.len());
    for (at, key) in keys.into_iter().enumerate() {
        let column = Column::new(relation.clone(), format!("{own}_c{at}"));
        columns.push(called(Expr::Column(key), column.relation.as_ref(), &column.name));
        renamed.push(column);
    }
    Ok((LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?), renamed))
}
