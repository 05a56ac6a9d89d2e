//! Names of the keys that `USING` merges, as they are written.
//!
//! - `a.k`, where the join merges it, means `a`'s own key, which [`super::keys`] calls `"~a".k`.
//! - `k` means the merged key, which every table of the join has by then. It is written out with the
//!   right table's name: DataFusion takes a name that several tables have for one of the query
//!   around it, where that has one.
//!
//! The keys of `NATURAL` are not known before planning: there `a.k` is the merged key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::logical_expr::JoinType;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query,
    ReplaceSelectElement, ReplaceSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::keys::{hidden, is_lateral, merging};

/// Writes the keys of a `SELECT` out.
pub(super) fn written_out(select: &mut Select) {
    let keys = Keys::of(&mut select.from);
    if keys.is_empty() {
        return;
    }
    let from = std::mem::take(&mut select.from);
    expand_wildcards(select, &keys);
    let _ = select.visit(&mut Rename::new(keys));
    select.from = from;
}

/// Writes the keys in the `ORDER BY` of a query out. A name of a column of the result comes first.
pub(super) fn written_out_in_order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let mut keys = Keys::of(&mut select.from.clone());
    for item in &select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            keys.bare.remove(&normalized(alias));
        }
    }
    if let (Some(order), false) = (&mut query.order_by, keys.is_empty()) {
        let _ = order.visit(&mut Rename::new(keys));
    }
}

/// The keys of a `FROM`.
#[derive(Clone, Default)]
struct Keys {
    /// Keys that are merged though they may differ, by table.
    explicit: BTreeMap<String, BTreeSet<String>>,
    /// A table that has a key, by key.
    bare: BTreeMap<String, Ident>,
}

impl Keys {
    /// Collects them. The conditions of later joins are written out on the way: those of earlier
    /// ones see the columns before the merge.
    fn of(from: &mut [TableWithJoins]) -> Self {
        let mut keys = Self::default();
        for table in from {
            let mut own = Self::default();
            keys.rename_in(&mut table.relation);
            let mut names = own.add_nested(&mut table.relation);
            for join in &mut table.joins {
                let name = name_of(&join.relation);
                own.rename_in(&mut join.relation);
                names.extend(own.add_nested(&mut join.relation));
                match using(join) {
                    Some(columns) => {
                        // The key of a left or right join is that of the side whose rows it keeps.
                        let others =
                            match (merging(join).map(|(join_type, _)| join_type), &names[..]) {
                                (None, _) => &[],
                                (Some(JoinType::Left), [.., right]) if name.is_some() => {
                                    std::slice::from_ref(right)
                                }
                                (Some(JoinType::Right), [left @ .., _]) if name.is_some() => left,
                                (Some(_), all) => all,
                            };
                        own.add(&columns, others, name);
                    }
                    None if own.is_empty() => {}
                    None => {
                        let _ = join.join_operator.visit(&mut Rename::new(own.clone()));
                    }
                }
            }
            keys.explicit.extend(own.explicit);
            keys.bare.extend(own.bare);
        }
        keys
    }

    /// Adds the keys of joins in brackets, and returns the names of the tables.
    fn add_nested(&mut self, relation: &mut TableFactor) -> Vec<String> {
        let TableFactor::NestedJoin { table_with_joins, alias: None } = relation else {
            return name_of(relation).iter().map(normalized).collect();
        };
        let inner = Self::of(std::slice::from_mut(table_with_joins));
        self.explicit.extend(inner.explicit);
        self.bare.extend(inner.bare);
        names_in(table_with_joins)
    }

    /// Writes the keys out in a relation that may name tables before it.
    fn rename_in(&self, relation: &mut TableFactor) {
        if is_lateral(relation) && !self.is_empty() {
            let _ = relation.visit(&mut Rename::new(self.clone()));
        }
    }

    /// Adds columns that a join merges, and tables whose own columns may be others.
    fn add(&mut self, columns: &[String], tables: &[String], right: Option<Ident>) {
        for column in columns {
            if let Some(right) = &right {
                self.bare.insert(column.clone(), right.clone());
            }
            for table in tables {
                self.explicit.entry(table.clone()).or_default().insert(column.clone());
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.explicit.is_empty() && self.bare.is_empty()
    }
}

/// The columns of a join with `USING`.
pub(super) fn using(join: &Join) -> Option<Vec<String>> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)) = &join.join_operator
    else {
        return None;
    };
    match constraint {
        JoinConstraint::Using(columns) => {
            Some(columns.iter().filter_map(last_part).map(normalized).collect())
        }
        _ => None,
    }
}

/// The names of the tables of a join in brackets.
fn names_in(table: &TableWithJoins) -> Vec<String> {
    let relations =
        std::iter::once(&table.relation).chain(table.joins.iter().map(|it| &it.relation));
    let names = relations.flat_map(|relation| match relation {
        TableFactor::NestedJoin { table_with_joins, alias: None } => names_in(table_with_joins),
        other => name_of(other).iter().map(normalized).collect(),
    });
    names.collect()
}

fn last_part(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

/// The name that the columns of a table are written with.
pub(super) fn name_of(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table { name, alias, .. } => {
            let own = || last_part(name).cloned();
            alias.as_ref().map(|alias| alias.name.clone()).or_else(own)
        }
        TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
            alias.as_ref().map(|alias| alias.name.clone())
        }
        _ => None,
    }
}

/// An identifier as the catalog has it.
pub(crate) fn normalized(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// Makes `a.*` show `a`'s own keys.
fn expand_wildcards(select: &mut Select, keys: &Keys) {
    for item in &mut select.projection {
        let SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(name),
            options,
        ) = item
        else {
            continue;
        };
        let table = last_part(name).map(normalized).unwrap_or_default();
        let Some(columns) = keys.explicit.get(&table) else { continue };
        let left_out = left_out(options);
        let items = columns.iter().filter(|column| !left_out.contains(*column)).map(|column| {
            let column = Ident::with_quote('"', column);
            let own = vec![Ident::with_quote('"', hidden(&table)), column.clone()];
            let expr = Expr::CompoundIdentifier(own);
            Box::new(ReplaceSelectElement { expr, column_name: column, as_keyword: true })
        });
        let replaced =
            options.opt_replace.get_or_insert_with(|| ReplaceSelectItem { items: vec![] });
        replaced.items.extend(items);
        if replaced.items.is_empty() {
            options.opt_replace = None;
        }
    }
}

/// Columns that a wildcard leaves out, or takes from elsewhere.
fn left_out(options: &WildcardAdditionalOptions) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => names.extend(last_part(name).map(normalized)),
        Some(ExcludeSelectItem::Multiple(all)) => {
            names.extend(all.iter().filter_map(last_part).map(normalized));
        }
        None => {}
    }
    if let Some(except) = &options.opt_except {
        let all = std::iter::once(&except.first_element).chain(&except.additional_elements);
        names.extend(all.map(normalized));
    }
    let replaced = options.opt_replace.iter().flat_map(|replaced| &replaced.items);
    names.extend(replaced.map(|item| normalized(&item.column_name)));
    names
}

/// Renames keys, but for what queries inside have themselves.
struct Rename {
    keys: Keys,
    /// Tables of the queries inside, and of the parts of their `UNION`s.
    shadowed: Vec<BTreeSet<String>>,
    /// Queries around the place.
    depth: usize,
}

impl Rename {
    fn new(keys: Keys) -> Self {
        Self { keys, shadowed: Vec::new(), depth: 0 }
    }
}

fn tables_of(select: &Select) -> BTreeSet<String> {
    select.from.iter().flat_map(names_in).collect()
}

impl VisitorMut for Rename {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        // Its ORDER BY sees the tables too.
        let tables = match query.body.as_ref() {
            SetExpr::Select(select) => tables_of(select),
            _ => BTreeSet::new(),
        };
        self.shadowed.push(tables);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        self.shadowed.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.shadowed.push(tables_of(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.shadowed.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                // There may be a schema in front of the table.
                if let [.., table, column] = parts.as_slice() {
                    let name = normalized(table);
                    let keys = self.keys.explicit.get(&name);
                    let is_key = keys.is_some_and(|keys| keys.contains(&normalized(column)));
                    if is_key && !self.shadowed.iter().any(|names| names.contains(&name)) {
                        *parts = vec![Ident::with_quote('"', hidden(&name)), column.clone()];
                    }
                }
            }
            // Inside a query, a bare name may be a column of its own tables.
            Expr::Identifier(column) if self.depth == 0 => {
                if let Some(table) = self.keys.bare.get(&normalized(column)) {
                    *expr = Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
