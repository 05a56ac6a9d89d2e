//! SQL text of a statement's tree.

mod expr;

use crate::table::TableSet;
use crate::tree::{
    Body, Common, Expr, From, Group, GroupingSets, JoinKind, JoinOn, Query, Select, SetOperation,
};
use expr::direction_text;

/// The SQL text of a query over these tables.
pub fn sql(query: &Query, tables: &TableSet) -> String {
    Printer { tables }.query(query)
}

struct Printer<'a> {
    tables: &'a TableSet,
}

/// Keys of the GROUP BY around an expression.
type Keys<'a> = &'a [Expr];

impl Printer<'_> {
    pub(super) fn query(&self, query: &Query) -> String {
        let mut text = String::new();
        if !query.with.is_empty() {
            let recursive = query.with.iter().any(|common| common.step.is_some());
            let commons: Vec<String> =
                query.with.iter().map(|common| self.common(common)).collect();
            let word = if recursive { "with recursive " } else { "with " };
            text.push_str(&format!("{word}{} ", commons.join(", ")));
        }
        text.push_str(&self.body(&query.body));
        if !query.order.is_empty() {
            let keys = query.order.iter().map(|key| (key.column + 1, key.direction));
            let keys: Vec<String> =
                keys.map(|(at, direction)| format!("{at}{}", direction_text(direction))).collect();
            text.push_str(&format!(" order by {}", keys.join(", ")));
        }
        if let Some(limit) = query.limit {
            text.push_str(&format!(" limit {limit}"));
        }
        if let Some(offset) = query.offset {
            text.push_str(&format!(" offset {offset}"));
        }
        text
    }

    fn common(&self, common: &Common) -> String {
        let columns = column_list(common.types.len());
        let body = match &common.step {
            None => self.query(&common.query),
            Some(step) => {
                format!("{} union all {}", self.query(&common.query), self.query(step))
            }
        };
        format!("w{}({columns}) as ({body})", common.number)
    }

    fn body(&self, body: &Body) -> String {
        match body {
            Body::Select(select) => self.select(select),
            Body::Set { operation, all, left, right } => {
                let word = match operation {
                    SetOperation::Union => "union",
                    SetOperation::Intersect => "intersect",
                    SetOperation::Except => "except",
                };
                let all = if *all { " all" } else { "" };
                format!("({}) {word}{all} ({})", self.query(left), self.query(right))
            }
            Body::Values { types, rows } => {
                let row = |row: &crate::value::Row| {
                    let values = row.iter().zip(types).map(|(value, of)| value.sql(of));
                    format!("({})", values.collect::<Vec<_>>().join(", "))
                };
                let rows: Vec<String> = rows.iter().map(row).collect();
                let names = (1..=types.len()).enumerate();
                let names = names.map(|(at, column)| format!("column{column} as c{at}"));
                let names: Vec<String> = names.collect();
                format!("select {} from (values {})", names.join(", "), rows.join(", "))
            }
        }
    }

    fn select(&self, select: &Select) -> String {
        let keys: Keys<'_> = select.group.as_ref().map_or(&[], |group| &group.keys);
        let items = select.items.iter().enumerate();
        let items = items.map(|(at, item)| {
            let name = if select.named { format!(" as c{at}") } else { String::new() };
            format!("{}{name}", self.expr(item, keys))
        });
        let items = items.collect::<Vec<_>>().join(", ");
        let distinct = if select.distinct { "distinct " } else { "" };
        let mut text = format!("select {distinct}{items}");
        if let Some(from) = &select.from {
            text.push_str(&format!(" from {}", self.from(from)));
        }
        if let Some(filter) = &select.filter {
            text.push_str(&format!(" where {}", self.expr(filter, keys)));
        }
        if let Some(group) = &select.group {
            text.push_str(&self.group(group));
        }
        if let Some(having) = &select.having {
            text.push_str(&format!(" having {}", self.expr(having, keys)));
        }
        if let Some(qualify) = &select.qualify {
            text.push_str(&format!(" qualify {}", self.expr(qualify, keys)));
        }
        text
    }

    fn group(&self, group: &Group) -> String {
        let keys: Vec<String> = group.keys.iter().map(|key| self.expr(key, &[])).collect();
        let all = keys.join(", ");
        match &group.sets {
            GroupingSets::Plain if keys.is_empty() => " group by ()".to_owned(),
            GroupingSets::Plain => format!(" group by {all}"),
            GroupingSets::Rollup => format!(" group by rollup({all})"),
            GroupingSets::Cube => format!(" group by cube({all})"),
            GroupingSets::Listed(sets) => {
                let set = |set: &Vec<usize>| {
                    let keys: Vec<&str> = set.iter().map(|key| keys[*key].as_str()).collect();
                    format!("({})", keys.join(", "))
                };
                let sets: Vec<String> = sets.iter().map(set).collect();
                format!(" group by grouping sets ({})", sets.join(", "))
            }
        }
    }

    fn from(&self, from: &From) -> String {
        match from {
            From::Table { table, relation } => {
                format!("{} as t{relation}", self.tables.tables[*table].name)
            }
            From::Common { common, relation, .. } => format!("w{common} as t{relation}"),
            From::Derived { query, lateral, relation } => {
                let lateral = if *lateral { "lateral " } else { "" };
                format!("{lateral}({}) as t{relation}", self.query(query))
            }
            From::Unnest { list, relation } => {
                format!("unnest({}) as t{relation}(c0)", self.expr(list, &[]))
            }
            From::Series { first, last, relation } => {
                format!("generate_series({first}, {last}) as t{relation}(c0)")
            }
            From::Join { kind, left, right, on } => self.join(*kind, left, right, on),
        }
    }

    fn join(&self, kind: JoinKind, left: &From, right: &From, on: &JoinOn) -> String {
        let word = match kind {
            JoinKind::Inner => "join",
            JoinKind::Left => "left join",
            JoinKind::Right => "right join",
            JoinKind::Full => "full join",
            JoinKind::Cross => "cross join",
            JoinKind::LeftSemi => "left semi join",
            JoinKind::LeftAnti => "left anti join",
        };
        let natural = if matches!(on, JoinOn::Natural(_)) { "natural " } else { "" };
        let right_text = match right {
            From::Join { .. } => format!("({})", self.from(right)),
            _ => self.from(right),
        };
        let on = match on {
            JoinOn::On(on) => format!(" on {}", self.expr(on, &[])),
            JoinOn::Using(columns) => {
                let names = columns.iter().map(|(left, ..)| format!("c{}", left.column));
                format!(" using ({})", names.collect::<Vec<_>>().join(", "))
            }
            JoinOn::Natural(_) | JoinOn::Nothing => String::new(),
        };
        format!("{} {natural}{word} {right_text}{on}", self.from(left))
    }
}

fn column_list(count: usize) -> String {
    (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(", ")
}
