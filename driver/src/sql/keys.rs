//! The merged key of `USING` and `NATURAL` joins.
//!
//! DataFusion reads `k` after `a FULL JOIN b USING (k)` as `a.k`, which is null where only `b` has a row
//! (#22881), or finds it ambiguous; and `*` shows whichever of `a.k` and `b.k` comes first in the
//! alphabet, at its place in the tables. By the standard the key is one column, of the side that
//! has a row, and comes first:
//!
//! ```text
//! join:        a.k, a.x │ b.k, b.y
//! projection:  a.k := key, b.k := key, a.x, b.y, "~a".k := a.k, "~b".k := b.k
//! ```
//!
//! DataFusion's own rules then find the merged key for `k`; and `*` shows one of the columns of a name
//! that a `USING` join compares, so the join is made to compare them all. [`super::joined_keys`]
//! takes the pairs out again that only tell it so. What is written `a.k` is renamed to `"~a".k` by
//! [`super::key_names`].
//!
//! Rejected: a column `k` without a table beside `a.k` and `b.k`; DataFusion allows no such schema.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{Column, NullEquality, Result, TableReference, plan_err};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    Expr, Join as JoinPlan, JoinConstraint as PlanConstraint, JoinType, LogicalPlan, Projection,
};
use datafusion::sql::sqlparser::ast::{
    Join, JoinConstraint, JoinOperator, Select, TableAlias, TableFactor, TableWithJoins,
};

/// The first letter of the table of a key as it was before the join.
const HIDDEN: char = '~';

/// The table of a key as it was before the join.
pub(super) fn hidden(table: &str) -> String {
    format!("{HIDDEN}{table}")
}

/// Returns true if a column is a key as it was before a join.
pub(super) fn is_hidden(column: &Column) -> bool {
    column.relation.as_ref().is_some_and(|relation| relation.table().starts_with(HIDDEN))
}

/// Gives joins with `USING` or `NATURAL` to [`MergedKeys`], which plans tables in `FROM` alone.
pub(super) fn nested_joins(select: &mut Select) {
    for table in &mut select.from {
        if table.joins.iter().any(|join| merging(join).is_some()) {
            let table_with_joins = Box::new(table.clone());
            let relation = TableFactor::NestedJoin { table_with_joins, alias: None };
            *table = TableWithJoins { relation, joins: Vec::new() };
        }
    }
}

/// The type and constraint of a join whose keys are one, though a side may have no row. Those of
/// inner joins are equal, and DataFusion's.
pub(super) fn merging(join: &Join) -> Option<(JoinType, &JoinConstraint)> {
    let (join_type, constraint) = match &join.join_operator {
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
            (JoinType::Left, constraint)
        }
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            (JoinType::Right, constraint)
        }
        JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
        _ => return None,
    };
    let merges = matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural);
    (merges && !is_lateral(&join.relation)).then_some((join_type, constraint))
}

pub(super) fn is_lateral(table: &TableFactor) -> bool {
    match table {
        TableFactor::Derived { lateral, .. } | TableFactor::Function { lateral, .. } => *lateral,
        TableFactor::UNNEST { .. } => true,
        _ => false,
    }
}

/// Plans joins with `USING` and `NATURAL`. See the module.
#[derive(Debug)]
pub(super) struct MergedKeys;

impl RelationPlanner for MergedKeys {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::NestedJoin { table_with_joins: mut table, alias } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(last) = table.joins.iter().rposition(|join| merging(join).is_some()) else {
            let relation = TableFactor::NestedJoin { table_with_joins: table, alias };
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let after = table.joins.split_off(last + 1);
        if !after.is_empty() {
            // What the join and those before it make, joined with the rest.
            let plan =
                context.plan(nested(TableWithJoins { relation: nested(*table), joins: after }))?;
            return Ok(planned(plan, alias));
        }
        let join = table.joins.pop().expect("the join found above");
        let left = if table.joins.is_empty() { table.relation } else { nested(*table) };
        let left = context.plan(left)?;
        let (join_type, constraint) = merging(&join).expect("the join found above");
        let constraint = constraint.clone();
        let right = context.plan(join.relation)?;
        let keys = key_names(&constraint, &left, &right, context)?;
        Ok(planned(merged(left, right, join_type, &keys)?, alias))
    }
}

fn nested(table: TableWithJoins) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(table), alias: None }
}

fn planned(plan: LogicalPlan, alias: Option<TableAlias>) -> RelationPlanning {
    RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias)))
}

fn key_names(
    constraint: &JoinConstraint,
    left: &LogicalPlan,
    right: &LogicalPlan,
    context: &dyn RelationPlannerContext,
) -> Result<Vec<String>> {
    let JoinConstraint::Using(names) = constraint else {
        let right: BTreeSet<String> = visible(right).map(|column| column.name).collect();
        let mut shared: Vec<String> = Vec::new();
        for Column { name, .. } in visible(left) {
            if right.contains(&name) && !shared.contains(&name) {
                shared.push(name);
            }
        }
        return Ok(shared);
    };
    let parts = names.iter().map(|name| match name.0.as_slice() {
        [part] => part.as_ident().cloned(),
        _ => None,
    });
    match parts.collect::<Option<Vec<_>>>() {
        Some(parts) => Ok(parts.into_iter().map(|ident| context.normalize_ident(ident)).collect()),
        None => plan_err!("a column in USING is a plain name, without its table"),
    }
}

fn visible(plan: &LogicalPlan) -> impl Iterator<Item = Column> {
    plan.schema().columns().into_iter().filter(|column| !is_hidden(column))
}

/// A key on one side of the join.
struct Side {
    /// The columns, all of the same value; `*` shows the first.
    columns: Vec<Column>,
    /// Columns of this side, each with its copy as it is before the join, where the copy is new.
    copies: Vec<(Column, Column)>,
    /// Copies that are there already.
    copied: Vec<Column>,
}

impl Side {
    /// Fails when there is no such column, or several that no `USING` made one.
    fn of(plan: &LogicalPlan, name: &str) -> Result<Self> {
        let schema = plan.schema();
        let using = plan.using_columns()?;
        Column::from_name(name).normalize_with_schemas_and_ambiguity_check(&[&[schema]], &using)?;
        let named = schema.columns().into_iter().filter(|column| column.name == name);
        let (copied, mut columns): (Vec<_>, Vec<_>) = named.partition(is_hidden);
        columns.sort();
        let copies = columns.iter().filter_map(|column| {
            let table = TableReference::bare(hidden(column.relation.as_ref()?.table()));
            let copy = Column::new(Some(table), name);
            (!copied.contains(&copy)).then(|| (column.clone(), copy))
        });
        let copies = copies.collect();
        Ok(Self { columns, copies, copied })
    }

    /// All columns of the key after the first.
    fn others(&self) -> impl Iterator<Item = &Column> {
        let new = self.copies.iter().map(|(_, copy)| copy);
        self.columns.iter().skip(1).chain(&self.copied).chain(new)
    }
}

/// Joins two plans on keys, and merges the keys.
fn merged(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    keys: &[String],
) -> Result<LogicalPlan> {
    let (mut on, mut first) = (Vec::new(), Vec::new());
    let (mut left_copies, mut right_copies) = (Vec::new(), Vec::new());
    let mut replaced = BTreeSet::new();
    for name in keys {
        let (l, r) = (Side::of(&left, name)?, Side::of(&right, name)?);
        let (Some(left_key), Some(right_key)) = (l.columns.first(), r.columns.first()) else {
            return plan_err!("the column `{name}` of USING is not on both sides of the join");
        };
        let column = |column: &Column| Expr::Column(column.clone());
        // The first pair of a name is the one that is compared.
        on.push((column(left_key), column(right_key)));
        on.extend(l.others().map(|other| (column(other), column(right_key))));
        on.extend(r.others().map(|other| (column(left_key), column(other))));
        let value = match join_type {
            JoinType::Left => column(left_key),
            JoinType::Right => column(right_key),
            _ => coalesce(vec![column(left_key), column(right_key)]),
        };
        for column in l.columns.iter().chain(&r.columns) {
            first.push(value.clone().alias_qualified(column.relation.clone(), name));
            replaced.insert(column.clone());
        }
        left_copies.extend(l.copies);
        right_copies.extend(r.copies);
    }
    let (left, right) = (with_copies(left, left_copies)?, with_copies(right, right_copies)?);
    let rest = left.schema().columns().into_iter().chain(right.schema().columns());
    let rest = rest.filter(|column| !replaced.contains(column));
    let (hidden, shown): (Vec<_>, Vec<_>) = rest.partition(is_hidden);
    first.extend(shown.into_iter().chain(hidden).map(Expr::Column));
    let joined = JoinPlan::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join_type,
        PlanConstraint::Using,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    let joined = Arc::new(LogicalPlan::Join(joined));
    Ok(LogicalPlan::Projection(Projection::try_new(first, joined)?))
}

fn with_copies(plan: LogicalPlan, copies: Vec<(Column, Column)>) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let copies = copies
        .into_iter()
        .map(|(column, copy)| Expr::Column(column).alias_qualified(copy.relation, copy.name));
    let columns = columns.chain(copies).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}
