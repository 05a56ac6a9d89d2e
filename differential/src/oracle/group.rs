//! GROUP BY: the groups of every grouping set.

use super::scope::{GroupRows, Scope};
use super::{Evaluated, Oracle};
use crate::tree::{ColumnId, Group, GroupingSets};
use crate::value::{Row, Value};

impl Oracle<'_> {
    /// The groups of the rows. An empty grouping set has one group, even without rows.
    pub(crate) fn group(
        &mut self,
        group: Option<&Group>,
        columns: &[ColumnId],
        rows: Vec<Row>,
        outer: Option<&Scope<'_>>,
    ) -> Evaluated<Vec<GroupRows>> {
        let Some(group) = group else {
            return Ok(vec![GroupRows { keys: vec![], present: vec![], columns: vec![], rows }]);
        };
        let mut keyed: Vec<(Vec<Value>, Row)> = Vec::new();
        for row in rows {
            let scope = Scope::of(columns, &row, outer);
            let keys: Evaluated<Vec<Value>> =
                group.keys.iter().map(|key| self.expr(key, &scope)).collect();
            keyed.push((keys?, row));
        }
        let mut groups = Vec::new();
        for present in grouping_sets(group) {
            self.grouping_set(&present, &keyed, &mut groups)?;
        }
        Ok(groups)
    }

    fn grouping_set(
        &mut self,
        present: &[bool],
        keyed: &[(Vec<Value>, Row)],
        groups: &mut Vec<GroupRows>,
    ) -> Evaluated<()> {
        let first = groups.len();
        let new = |keys, rows| GroupRows { keys, present: present.to_vec(), columns: vec![], rows };
        if !present.contains(&true) {
            groups.push(new(vec![Value::Null; present.len()], Vec::new()));
        }
        for (keys, row) in keyed {
            let masked: Vec<Value> = keys
                .iter()
                .zip(present)
                .map(|(key, present)| if *present { key.clone() } else { Value::Null })
                .collect();
            self.step()?;
            let same = |group: &&mut GroupRows| {
                group.keys.iter().zip(&masked).all(|(left, right)| left.same(right))
            };
            match groups[first..].iter_mut().find(same) {
                Some(group) => group.rows.push(row.clone()),
                None => groups.push(new(masked, vec![row.clone()])),
            }
        }
        Ok(())
    }
}

/// The keys that are present in each grouping set.
fn grouping_sets(group: &Group) -> Vec<Vec<bool>> {
    let count = group.keys.len();
    match &group.sets {
        GroupingSets::Plain => vec![vec![true; count]],
        GroupingSets::Rollup => {
            (0..=count).map(|length| (0..count).map(|key| key < length).collect()).collect()
        }
        GroupingSets::Cube => (0..1_usize << count)
            .map(|bits| (0..count).map(|key| bits >> key & 1 == 1).collect())
            .collect(),
        GroupingSets::Listed(sets) => {
            sets.iter().map(|set| (0..count).map(|key| set.contains(&key)).collect()).collect()
        }
    }
}
