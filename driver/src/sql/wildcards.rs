//! Columns that a `*` of a select list has.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, Select, SelectItem, SelectItemQualifiedWildcardKind,
    WildcardAdditionalOptions,
};

use super::key_names::{name_of, normalized, using};

/// The tables whose columns are all in a select list, by `*` or `t.*`.
pub(super) struct Wildcards<'a> {
    tables: BTreeSet<String>,
    /// True if every table of the `FROM` is one of them.
    has_all: bool,
    only_table: Option<&'a str>,
    /// Keys of `USING`, which `*` has once, and each table has too.
    keys: BTreeSet<String>,
}

impl<'a> Wildcards<'a> {
    /// The wildcards of a `SELECT`. One that leaves columns out or renames them is not looked at.
    pub(super) fn of(select: &Select, only_table: Option<&'a str>) -> Self {
        let (mut tables, mut has_all) = (BTreeSet::new(), false);
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(options) if is_plain(options) => has_all = true,
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if is_plain(options) => {
                    let table = name.0.last().and_then(|part| part.as_ident());
                    tables.extend(table.map(normalized));
                }
                _ => {}
            }
        }
        let joins = || select.from.iter().flat_map(|from| &from.joins);
        let keys = joins().filter_map(using).flatten().collect();
        // The keys of `NATURAL` are not known here.
        has_all = has_all && !joins().any(is_natural);
        if has_all {
            let first = select.from.iter().map(|from| &from.relation);
            let relations = first.chain(joins().map(|join| &join.relation));
            tables.extend(relations.filter_map(name_of).map(|name| normalized(&name)));
        }
        Self { tables, has_all, only_table, keys }
    }

    /// True if an expression is a column of these.
    pub(super) fn have(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Identifier(column) => {
                let is_there = self.only_table.is_some_and(|table| self.tables.contains(table));
                (self.has_all || is_there) && !self.keys.contains(&normalized(column))
            }
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => {
                    let is_key = self.has_all && self.keys.contains(&normalized(column));
                    self.tables.contains(&normalized(table)) && !is_key
                }
                _ => false,
            },
            _ => false,
        }
    }
}

fn is_natural(join: &Join) -> bool {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)) = &join.join_operator
    else {
        return false;
    };
    matches!(constraint, JoinConstraint::Natural)
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none()
}
