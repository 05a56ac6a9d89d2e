//! Relations stacked on relations: groups of groups, windows over windows, constants and declared
//! orders below joins. What a plan knows of the lower one may not hold above it.

use super::{Generator, Source};
use crate::tree::{
    Body, Direction, Expr, GroupingSets, JoinKind, JoinOn, OrderColumn, Query, Select,
};
use crate::types::Kind;

impl Generator<'_> {
    /// A table, or a query over one.
    pub(super) fn input(&mut self) -> Source {
        let table = self.table();
        if self.dice.percent(30) { self.stacked(table) } else { table }
    }

    /// A small table, or a query over one.
    pub(super) fn small_input(&mut self) -> Source {
        let table = self.small_table();
        if self.dice.percent(40) { self.stacked(table) } else { table }
    }

    /// A query over a relation that keeps its first column, as an identity if it is one still.
    pub(super) fn stacked(&mut self, below: Source) -> Source {
        let (query, ids) = match self.dice.below(4) {
            0 => self.grouped_by_id(&below),
            1 => {
                let ids = below.ids.len();
                (self.windowed_over(&below, 0), ids)
            }
            2 => self.with_constants(&below),
            _ => self.distinct_rows(&below),
        };
        let limited = self.dice.percent(15);
        let query = if limited { self.ordered(query) } else { query };
        let mut source = self.derived_of(query, false);
        source.ids = source.columns[..ids].iter().map(|(id, _)| *id).collect();
        source
    }

    /// Groups of the first column and perhaps more, with the count of columns that tell them apart.
    fn grouped_by_id(&mut self, below: &Source) -> (Query, usize) {
        let mut keys = vec![below.at(0)];
        if self.dice.percent(50) {
            keys.push(self.column_of_any_kind(below));
        }
        let aggregates = 1 + self.dice.below(2);
        let query = self.group_by(below, keys, aggregates, 0);
        let Body::Select(select) = &query.body else { return (query, 0) };
        let is_plain = select.group.as_ref().is_some_and(|group| group.sets == GroupingSets::Plain);
        let ids = usize::from(is_plain && below.ids.len() == 1);
        (query, ids)
    }

    /// The first column between constants: an outer join above makes nulls of them.
    fn with_constants(&mut self, below: &Source) -> (Query, usize) {
        let mut items: Vec<Expr> = below.ids.iter().map(|id| below.expr_of(*id)).collect();
        let ids = items.len();
        for _ in 0..1 + self.dice.below(2) {
            let kind = self.dice.pick(&[Kind::Int, Kind::Int, Kind::Text, Kind::Float]);
            items.push(self.literal(kind));
        }
        items.push(self.column_of_any_kind(below));
        let mut select = Select::of(items, Some(below.from.clone()));
        select.filter = self.filter(below, 0);
        (select.query(), ids)
    }

    /// Distinct rows of the first column and others.
    fn distinct_rows(&mut self, below: &Source) -> (Query, usize) {
        let mut items = vec![below.at(0), self.column_of_any_kind(below)];
        let kind = self.dice.pick(&[Kind::Int, Kind::Text, Kind::Date, Kind::Float]);
        items.push(self.expr(below, kind, 0));
        let mut select = Select::of(items, Some(below.from.clone()));
        select.distinct = true;
        select.filter = self.filter(below, 0);
        (select.query(), 0)
    }

    /// A join of two relations that windows have sorted, in the order of both.
    pub(super) fn by_sorted_sides(&mut self) -> Query {
        let (left, right) = (self.sorted_by_window(), self.sorted_by_window());
        let kind =
            self.dice.pick(&[JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full]);
        let on = Expr::compare("=", left.at(1), right.at(1));
        let keys = [left.at(0), right.at(0)];
        let joined = self.join(left, right, kind, JoinOn::On(on));
        let mut items = keys.to_vec();
        items.extend((0..joined.columns.len()).map(|at| joined.at(at)));
        items.retain(|item| item.of_type().kind() != Kind::List);
        if self.dice.percent(30) {
            let query = self.group_by(&joined, keys.to_vec(), 1, 0);
            return self.ordered(query);
        }
        let mut query = Select::of(items, Some(joined.from)).query();
        let ascending = Direction { descending: false, nulls_first: None };
        query.order = (0..2).map(|column| OrderColumn { column, direction: ascending }).collect();
        query
    }

    /// A key, a number of few values and a window in the order of the key.
    fn sorted_by_window(&mut self) -> Source {
        let table = self.small_table();
        let key = self.column(&table, Kind::Int).unwrap_or_else(|| table.at(0));
        let few = self.column(&table, Kind::Int).unwrap_or_else(|| table.at(0));
        let ascending = Direction { descending: false, nulls_first: None };
        let rank = self.rank_in(key.clone(), ascending);
        let query = Select::of(vec![key, few, rank], Some(table.from)).query();
        self.derived_of(query, false)
    }

    /// The table, or groups or distinct rows of it that keep the list.
    pub(super) fn around_list(&mut self, table: Source, list: Expr) -> (Source, Expr) {
        if self.dice.percent(60) {
            return (table, list);
        }
        let id = table.at(0);
        let query = if self.dice.percent(50) {
            self.group_by(&table, vec![id, list], 1, 0)
        } else {
            let mut select = Select::of(vec![id, list], Some(table.from));
            select.distinct = true;
            select.query()
        };
        let source = self.derived_of(query, false);
        let list = source.at(1);
        (source, list)
    }
}
