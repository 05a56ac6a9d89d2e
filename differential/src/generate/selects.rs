//! SELECTs: plain, grouped, distinct.

use super::{Generator, Source, canonical};
use crate::tree::{Body, Call, Expr, Group, GroupingSets, Query, Select};
use crate::types::{Kind, Type};

impl Generator<'_> {
    pub(super) fn plain_select(&mut self, depth: usize) -> Query {
        let source = self.source(depth);
        self.select_from(&source, depth)
    }

    pub(super) fn select_from(&mut self, source: &Source, depth: usize) -> Query {
        let items = (0..1 + self.dice.below(4)).map(|_| self.item(source, depth)).collect();
        let mut select = Select::of(items, Some(source.from.clone()));
        select.filter = self.filter(source, depth);
        select.query()
    }

    fn item(&mut self, source: &Source, depth: usize) -> Expr {
        match self.dice.below(100) {
            0..5 if depth > 0 => self.subquery_predicate(source),
            5..12 if depth > 0 => self.scalar_subquery(source),
            12..15 => self.column_of_any_kind(source),
            _ => {
                let kind = self.kind();
                self.expr(source, kind, 2)
            }
        }
    }

    pub(super) fn distinct(&mut self, depth: usize) -> Query {
        let mut query = self.plain_select(depth);
        if let crate::tree::Body::Select(select) = &mut query.body {
            select.distinct = true;
        }
        query
    }

    pub(super) fn grouped(&mut self, depth: usize) -> Query {
        let source = if self.dice.percent(12) { self.input() } else { self.source(depth) };
        self.grouped_from(&source, depth)
    }

    pub(super) fn grouped_from(&mut self, source: &Source, depth: usize) -> Query {
        let keys: Vec<Expr> = (0..self.dice.below(4))
            .filter_map(|_| {
                let kind = self.kind();
                let column = self.column(source, kind)?;
                // A key that is computed, but not constant: an order by constants means nothing.
                Some(if self.dice.percent(20) { self.around(column) } else { column })
            })
            .collect();
        let aggregates = self.dice.below(3) + usize::from(keys.is_empty());
        let mut query = self.group_by(source, keys, aggregates, depth);
        // What a plan knows of the keys, by their places, is not true of what stands there then.
        if let Body::Select(select) = &mut query.body
            && self.dice.percent(40)
        {
            let first = self.dice.below(select.items.len());
            select.items.rotate_left(first);
        }
        query
    }

    /// Groups by these keys; without keys and without GROUP BY, all rows are one group.
    pub(super) fn group_by(
        &mut self,
        source: &Source,
        keys: Vec<Expr>,
        aggregates: usize,
        depth: usize,
    ) -> Query {
        let keys = without_copies(keys);
        let mut items: Vec<Expr> =
            keys.iter().enumerate().map(|(at, key)| Expr::Key(at, key.of_type())).collect();
        let sets =
            if keys.is_empty() { GroupingSets::Plain } else { self.grouping_sets(keys.len()) };
        if sets != GroupingSets::Plain && self.dice.percent(40) {
            items.push(Expr::Grouping(self.dice.below(keys.len())));
        }
        for _ in 0..aggregates {
            let aggregate = self.aggregate(source);
            items.push(self.around_aggregate(aggregate));
        }
        let having = (aggregates > 0 && self.dice.percent(20)).then(|| {
            let kind = self.dice.pick(&[Kind::Int, Kind::Float, Kind::Date]);
            let aggregate = self.aggregate_of(source, kind);
            let bound = self.literal(kind);
            let operator = self.dice.pick(&["<", ">=", "<>"]);
            Expr::compare(operator, aggregate, bound)
        });
        let mut select = Select::of(items, Some(source.from.clone()));
        select.filter = self.filter(source, depth);
        let is_grouped = !keys.is_empty() || self.dice.percent(3);
        select.group = is_grouped.then_some(Group { keys, sets });
        select.having = having;
        select.query()
    }

    /// The aggregate, or something that is computed of it: a function, or a rank among the groups.
    fn around_aggregate(&mut self, aggregate: Expr) -> Expr {
        let of = aggregate.of_type();
        match self.dice.below(12) {
            0 if of.kind() != Kind::List => {
                let (left, right) = (canonical(aggregate), canonical(self.literal(of.kind())));
                let of = left.of_type();
                Expr::Call(Call::Coalesce, vec![left, right], of)
            }
            1 if of.kind() == Kind::Int => {
                let zero = Expr::compare(">", aggregate, Expr::int(2));
                let whens = vec![(zero, Expr::int(1))];
                Expr::Case { operand: None, whens, otherwise: None, of: Type::I64 }
            }
            2 => self.rank_by(aggregate),
            _ => aggregate,
        }
    }

    fn grouping_sets(&mut self, keys: usize) -> GroupingSets {
        match self.dice.below(12) {
            0 => GroupingSets::Rollup,
            1 => GroupingSets::Cube,
            2 => {
                let sets = 1 + self.dice.below(3);
                let mut set = || (0..keys).filter(|_| self.dice.percent(60)).collect();
                let mut sets: Vec<Vec<usize>> = (0..sets).map(|_| set()).collect();
                // Every key stands in a set, or it would be no key.
                sets.push((0..keys).collect());
                GroupingSets::Listed(sets)
            }
            _ => GroupingSets::Plain,
        }
    }
}

fn without_copies(keys: Vec<Expr>) -> Vec<Expr> {
    let mut kept: Vec<Expr> = Vec::new();
    for key in keys {
        let text = format!("{key:?}");
        if !kept.iter().any(|other| format!("{other:?}") == text) {
            kept.push(key);
        }
    }
    kept
}
