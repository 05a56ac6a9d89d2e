//! SELECT: relation, filter, groups, windows, items, duplicates.

use super::scope::{GroupRows, Scope, WindowRows};
use super::{Evaluated, Oracle, sets};
use crate::tree::{ColumnId, Expr, Select};
use crate::value::Row;

impl Oracle<'_> {
    pub(crate) fn select(
        &mut self,
        select: &Select,
        outer: Option<&Scope<'_>>,
    ) -> Evaluated<Vec<Row>> {
        let (columns, all) = match &select.from {
            Some(from) => {
                let relation = self.from(from, outer)?;
                (relation.columns, relation.rows)
            }
            None => (Vec::new(), vec![Row::new()].into()),
        };
        let mut kept = Vec::new();
        for row in all.iter() {
            self.step()?;
            let scope = Scope::of(&columns, row, outer);
            if self.is_kept(select.filter.as_ref(), &scope)? {
                kept.push(row.clone());
            }
        }
        let rows = if select.is_grouped() {
            let groups = self.groups(select, &columns, kept, outer)?;
            let rows = groups.iter().map(|group| (&[][..], Some(group))).collect();
            self.items(select, WindowRows { columns: &[], rows, outer })?
        } else {
            let rows = kept.iter().map(|row| (row.as_slice(), None)).collect();
            self.items(select, WindowRows { columns: &columns, rows, outer })?
        };
        Ok(if select.distinct { sets::distinct(&rows) } else { rows })
    }

    /// The groups that HAVING keeps.
    fn groups(
        &mut self,
        select: &Select,
        columns: &[ColumnId],
        rows: Vec<Row>,
        outer: Option<&Scope<'_>>,
    ) -> Evaluated<Vec<GroupRows>> {
        let mut kept = Vec::new();
        for mut group in self.group(select.group.as_ref(), columns, rows, outer)? {
            group.columns = columns.to_vec();
            let scope = Scope { group: Some(&group), ..Scope::of(&[], &[], outer) };
            if self.is_kept(select.having.as_ref(), &scope)? {
                kept.push(group);
            }
        }
        Ok(kept)
    }

    fn items(&mut self, select: &Select, rows: WindowRows<'_>) -> Evaluated<Vec<Row>> {
        let mut selected = Vec::new();
        for at in 0..rows.rows.len() {
            let scope = Scope { window: Some((&rows, at)), ..rows.scope(at) };
            if !self.is_kept(select.qualify.as_ref(), &scope)? {
                continue;
            }
            let items: Evaluated<Row> =
                select.items.iter().map(|item| self.expr(item, &scope)).collect();
            selected.push(items?);
        }
        Ok(selected)
    }

    fn is_kept(&mut self, filter: Option<&Expr>, scope: &Scope<'_>) -> Evaluated<bool> {
        match filter {
            Some(filter) => Ok(self.truth(filter, scope)? == Some(true)),
            None => Ok(true),
        }
    }
}
