//! Relations and joins, by nested loops.

use std::rc::Rc;

use super::{Evaluated, Oracle, Scope, Stop, equal};
use crate::tree::{ColumnId, Expr, From, JoinKind, JoinOn};
use crate::types::Type;
use crate::value::{Row, Value};

/// Rows with the names of their columns.
pub(crate) struct Relation {
    pub(crate) columns: Vec<ColumnId>,
    pub(crate) rows: Rc<Vec<Row>>,
}

impl Relation {
    fn of(relation: u32, columns: usize, rows: Rc<Vec<Row>>) -> Self {
        let id = |column| ColumnId { relation, column, merged: false };
        let columns = (0..u32::try_from(columns).expect("few columns")).map(id).collect();
        Self { columns, rows }
    }
}

impl Oracle<'_> {
    pub(crate) fn from(&mut self, from: &From, outer: Option<&Scope<'_>>) -> Evaluated<Relation> {
        Ok(match from {
            From::Table { table, relation } => {
                let table = &self.tables.tables[*table];
                Relation::of(*relation, table.columns.len(), Rc::new(table.rows.clone()))
            }
            From::Common { common, types, relation } => {
                Relation::of(*relation, types.len(), self.common(*common)?)
            }
            From::Derived { query, relation, .. } => {
                Relation::of(*relation, query.types().len(), self.query(query, outer)?)
            }
            From::Unnest { list, relation } => {
                let empty = Scope::of(&[], &[], outer);
                let rows = match self.expr(list, &empty)? {
                    Value::List(values) => values.iter().map(|value| vec![value.clone()]).collect(),
                    _ => Vec::new(),
                };
                Relation::of(*relation, 1, Rc::new(rows))
            }
            From::Series { first, last, relation } => {
                let rows = (*first..=*last).map(|number| vec![Value::Int(number.into())]);
                Relation::of(*relation, 1, Rc::new(rows.collect()))
            }
            From::Join { kind, left, right, on } => self.join(*kind, left, right, on, outer)?,
        })
    }

    fn join(
        &mut self,
        kind: JoinKind,
        left: &From,
        right: &From,
        on: &JoinOn,
        outer: Option<&Scope<'_>>,
    ) -> Evaluated<Relation> {
        let left = self.from(left, outer)?;
        if is_lateral(right) {
            return self.lateral(kind, &left, right, on, outer);
        }
        let right = self.from(right, outer)?;
        let mut rows = Vec::new();
        let mut right_met = vec![false; right.rows.len()];
        for left_row in left.rows.iter() {
            let left_scope = Scope::of(&left.columns, left_row, outer);
            let mut met = false;
            for (at, right_row) in right.rows.iter().enumerate() {
                let scope = Scope::of(&right.columns, right_row, Some(&left_scope));
                if self.joins(on, &scope)? {
                    (met, right_met[at]) = (true, true);
                    if !matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) {
                        rows.push([&left_row[..], &right_row[..]].concat());
                    }
                }
            }
            match kind {
                JoinKind::LeftSemi if met => rows.push(left_row.clone()),
                JoinKind::LeftAnti if !met => rows.push(left_row.clone()),
                JoinKind::Left | JoinKind::Full if !met => {
                    rows.push([&left_row[..], &nulls(&right)].concat());
                }
                _ => {}
            }
        }
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            let unmet = right.rows.iter().zip(&right_met).filter(|(_, met)| !**met);
            rows.extend(unmet.map(|(row, _)| [&nulls(&left), &row[..]].concat()));
        }
        Ok(joined(kind, &left.columns, &right.columns, rows, on))
    }

    /// The right side is evaluated again for every row of the left.
    fn lateral(
        &mut self,
        kind: JoinKind,
        left: &Relation,
        right: &From,
        on: &JoinOn,
        outer: Option<&Scope<'_>>,
    ) -> Evaluated<Relation> {
        if !matches!(kind, JoinKind::Inner | JoinKind::Cross | JoinKind::Left) {
            return Err(Stop::NotCovered("this kind of lateral join"));
        }
        let mut rows = Vec::new();
        for left_row in left.rows.iter() {
            let left_scope = Scope::of(&left.columns, left_row, outer);
            let right = self.from(right, Some(&left_scope))?;
            let mut met = false;
            for right_row in right.rows.iter() {
                let scope = Scope::of(&right.columns, right_row, Some(&left_scope));
                if self.joins(on, &scope)? {
                    met = true;
                    rows.push([&left_row[..], &right_row[..]].concat());
                }
            }
            if !met && kind == JoinKind::Left {
                rows.push([&left_row[..], &nulls(&right)].concat());
            }
        }
        let right_columns = lateral_columns(right);
        Ok(joined(kind, &left.columns, &right_columns, rows, on))
    }

    fn joins(&mut self, on: &JoinOn, scope: &Scope<'_>) -> Evaluated<bool> {
        self.step()?;
        Ok(match on {
            JoinOn::Nothing => true,
            JoinOn::On(on) => self.truth(on, scope)? == Some(true),
            JoinOn::Using(columns) | JoinOn::Natural(columns) => {
                let mut all = true;
                for (left, right, of) in columns {
                    let value =
                        |oracle: &mut Self, id| oracle.expr(&Expr::Column(id, of.clone()), scope);
                    let (left, right) = (value(self, *left)?, value(self, *right)?);
                    all &= equal(&left, &right) == Some(true);
                }
                all
            }
        })
    }
}

fn nulls(relation: &Relation) -> Row {
    vec![Value::Null; relation.columns.len()]
}

fn is_lateral(from: &From) -> bool {
    matches!(from, From::Derived { lateral: true, .. } | From::Unnest { .. })
}

fn lateral_columns(from: &From) -> Vec<ColumnId> {
    let (relation, count) = match from {
        From::Derived { query, relation, .. } => (*relation, query.types().len()),
        From::Unnest { relation, .. } => (*relation, 1),
        _ => return Vec::new(),
    };
    Relation::of(relation, count, Rc::default()).columns
}

/// Names the columns of joined rows, and appends the merged keys: the key of the side that has a
/// row.
fn joined(
    kind: JoinKind,
    left: &[ColumnId],
    right: &[ColumnId],
    mut rows: Vec<Row>,
    on: &JoinOn,
) -> Relation {
    if matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) {
        return Relation { columns: left.to_vec(), rows: Rc::new(rows) };
    }
    let mut columns = [left, right].concat();
    if let JoinOn::Using(keys) | JoinOn::Natural(keys) = on {
        let place = |id: &ColumnId| columns.iter().position(|column| column == id);
        let places: Vec<(ColumnId, usize, usize)> = keys
            .iter()
            .filter_map(|(left, right, _): &(ColumnId, ColumnId, Type)| {
                Some((ColumnId { merged: true, ..*left }, place(left)?, place(right)?))
            })
            .collect();
        for (merged, left, right) in places {
            columns.push(merged);
            for row in &mut rows {
                let key = if row[left].is_null() { row[right].clone() } else { row[left].clone() };
                row.push(key);
            }
        }
    }
    Relation { columns, rows: Rc::new(rows) }
}
