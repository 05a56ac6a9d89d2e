//! Random statements whose answer is a fixed multiset of rows: a limit always follows a total
//! order, and so does every function that depends on order.

mod aggregates;
mod edges;
mod exprs;
mod predicates;
mod queries;
mod selects;
mod sources;
mod stacked;
mod subqueries;
mod windows;

use crate::dice::Dice;
use crate::table::TableSet;
use crate::tree::{
    Body, Direction, Errors, Expr, From, JoinKind, JoinOn, OrderColumn, Query, Select, Statement,
};
use crate::types::{Kind, Type};
use crate::value::Value;
use sources::Source;

/// A limit that is to leave out no row.
pub const ALL_ROWS: u64 = 100_000;

/// Makes statements over a table set.
pub struct Generator<'a> {
    dice: &'a mut Dice,
    tables: &'a TableSet,
    relations: u32,
    commons: u32,
}

impl<'a> Generator<'a> {
    /// A generator of statements over these tables.
    pub fn new(dice: &'a mut Dice, tables: &'a TableSet) -> Self {
        Self { dice, tables, relations: 0, commons: 0 }
    }

    /// The next statement.
    pub fn statement(&mut self) -> Statement {
        (self.relations, self.commons) = (0, 0);
        if self.dice.percent(6) {
            return self.edge_statement();
        }
        let query = match self.dice.below(100) {
            0..10 => self.sorted(),
            10..17 => self.with(),
            17..21 => self.recursive(),
            21..25 => self.zoned(),
            25..28 => self.by_window(),
            28..33 => self.by_keys_of_windows(),
            33..36 => self.by_sorted_sides(),
            _ => self.query(2),
        };
        let percent = if query.order.is_empty() { 45 } else { 0 };
        let query = if self.dice.percent(12) { self.unnamed(query) } else { query };
        let query = if self.dice.percent(percent) { self.ordered(query) } else { query };
        Statement { query, errors: Errors::Lenient }
    }

    /// The query with columns named by their expressions, if these differ.
    fn unnamed(&mut self, mut query: Query) -> Query {
        if let Body::Select(select) = &mut query.body {
            let items: std::collections::BTreeSet<String> =
                select.items.iter().map(|item| format!("{item:?}")).collect();
            select.named = items.len() < select.items.len();
        }
        query
    }

    /// A query without order and limit.
    fn query(&mut self, depth: usize) -> Query {
        match self.dice.below(if depth > 0 { 100 } else { 82 }) {
            0..28 => self.plain_select(depth),
            28..52 => self.grouped(depth),
            52..58 => self.distinct(depth),
            58..75 => self.windowed(depth),
            75..82 => self.lateral(),
            _ => self.set_operation(depth),
        }
    }

    /// Adds an order and, if it is total, perhaps a limit. Lists have no order here.
    fn ordered(&mut self, mut query: Query) -> Query {
        if query.types().iter().any(|of| of.kind() == Kind::List) {
            return query;
        }
        let mut columns: Vec<usize> = (0..query.types().len()).collect();
        if self.dice.percent(30) {
            columns.reverse();
        }
        // Some columns order the rows, but not all of them: a plan may know such an order already.
        let is_total = self.dice.percent(75);
        if !is_total {
            let first = self.dice.below(columns.len());
            columns.rotate_left(first);
            columns.truncate(1 + self.dice.below(2));
        }
        let directed = |column| OrderColumn { column, direction: self.direction() };
        query.order = columns.into_iter().map(directed).collect();
        if !is_total {
            // A limit that leaves out no row: which rows there are would be a matter of chance.
            if self.dice.percent(30) {
                query.limit = Some(ALL_ROWS);
            }
            return query;
        }
        if self.dice.percent(55) {
            query.limit = Some(self.dice.below(25) as u64);
        }
        if self.dice.percent(25) {
            query.offset = Some(self.dice.below(10) as u64);
        }
        query
    }

    fn direction(&mut self) -> Direction {
        Direction {
            descending: self.dice.percent(35),
            nulls_first: self.dice.pick(&[None, None, Some(true), Some(false)]),
        }
    }

    /// A query in the order of one key over a query in the order of another one, each of which the table
    /// declares.
    fn by_two_orders(&mut self, source: &Source, keys: [Expr; 2], ascending: Direction) -> Query {
        let ids = source.ids.iter().map(|id| source.expr_of(*id));
        let items = keys.into_iter().chain(ids).collect();
        let first = self.dice.below(2);
        let mut below = Select::of(items, Some(source.from.clone())).query();
        below.order = vec![OrderColumn { column: first, direction: ascending }];
        below.limit = Some(ALL_ROWS);
        let below = self.derived_of(below, false);
        let mut items: Vec<Expr> = (0..below.columns.len()).map(|at| below.at(at)).collect();
        if self.dice.percent(50) {
            items.push(self.rank_in(below.at(1 - first), ascending));
        }
        let mut query = Select::of(items, Some(below.from)).query();
        if self.dice.percent(70) {
            query.order = vec![OrderColumn { column: 1 - first, direction: ascending }];
        }
        query
    }

    /// A query over the first rows of a table that is declared to be sorted by its first column.
    fn over_first_rows(&mut self, source: &Source, ascending: Direction) -> Query {
        let mut items = vec![source.at(0)];
        items.extend((0..2).map(|_| self.column_of_any_kind(source)));
        let mut below = Select::of(items, Some(source.from.clone()));
        below.filter = self.filter(source, 0);
        let mut below = below.query();
        below.order = vec![OrderColumn { column: 0, direction: ascending }];
        below.limit = Some(1 + self.dice.below(8) as u64);
        let mut below = self.derived_of(below, false);
        below.ids = vec![below.columns[0].0];
        if self.dice.percent(50) {
            let query = self.select_from(&below, 0);
            return self.ordered(query);
        }
        let other = self.small_input();
        let kind = self.dice.pick(&[
            JoinKind::Inner,
            JoinKind::Right,
            JoinKind::LeftSemi,
            JoinKind::LeftAnti,
        ]);
        let key = below.at(self.dice.below(2));
        let (key, partner) = match self.column(&other, key.of_type().kind()) {
            Some(partner) => (key, partner),
            None => (below.at(0), other.at(0)),
        };
        let on = Expr::compare("=", key, partner);
        let joined = self.join(below, other, kind, JoinOn::On(on));
        self.select_from(&joined, 0)
    }

    /// A statement that can use the declared order of a table.
    fn sorted(&mut self) -> Query {
        let sorted: Vec<usize> = (0..self.tables.tables.len())
            .filter(|table| !self.tables.tables[*table].sorted_by.is_empty())
            .collect();
        if sorted.is_empty() {
            return self.grouped(1);
        }
        let table = self.dice.pick(&sorted);
        let source = self.source_of(table);
        let orders = self.tables.tables[table].sorted_by.clone();
        let key = source.at(orders[0]);
        let ascending =
            Direction { descending: false, nulls_first: self.dice.pick(&[None, Some(false)]) };
        if let Some(other) = orders.get(1)
            && self.dice.percent(50)
        {
            return self.by_two_orders(&source, [key, source.at(*other)], ascending);
        }
        if orders[0] == 0 && self.dice.percent(30) {
            return self.over_first_rows(&source, ascending);
        }
        let mut query = match self.dice.below(4) {
            0 => {
                let count = 1 + self.dice.below(2);
                self.group_by(&source, vec![key], count, 0)
            }
            1 => {
                let mut items = vec![key];
                items.extend(source.ids.iter().map(|id| source.expr_of(*id)));
                let mut select = Select::of(items, Some(source.from.clone()));
                select.filter = self.filter(&source, 0);
                select.query()
            }
            2 => {
                let other = self.small_input();
                let kind = self.dice.pick(&[
                    JoinKind::Inner,
                    JoinKind::Left,
                    JoinKind::Right,
                    JoinKind::Full,
                    JoinKind::LeftAnti,
                ]);
                let partner =
                    self.column(&other, key.of_type().kind()).unwrap_or_else(|| key.clone());
                let on = Expr::compare("=", key.clone(), partner);
                let joined = self.join(source, other, kind, JoinOn::On(on));
                let mut items = vec![key];
                items.extend((0..joined.columns.len().min(16)).map(|at| joined.at(at)));
                items.retain(|item| item.of_type().kind() != Kind::List);
                Select::of(items, Some(joined.from)).query()
            }
            _ => {
                let mut items = vec![key.clone()];
                items.extend(source.ids.iter().map(|id| source.expr_of(*id)));
                items.push(self.window_by(&source, Some(key)));
                Select::of(items, Some(source.from.clone())).query()
            }
        };
        query.order = (0..query.types().len())
            .map(|column| OrderColumn { column, direction: ascending })
            .collect();
        if self.dice.percent(50) {
            query.limit = Some(1 + self.dice.below(12) as u64);
        }
        query
    }

    /// Unnested lists and correlated queries in FROM.
    fn lateral(&mut self) -> Query {
        let source = if self.dice.percent(50) { self.unnested() } else { self.lateral_join() };
        match self.dice.below(20) {
            0..12 => self.select_from(&source, 0),
            12..16 => {
                let (key, count) = (source.at(0), 1 + self.dice.below(2));
                self.group_by(&source, vec![key], count, 0)
            }
            _ => self.grouped_from(&source, 0),
        }
    }

    /// Functions that read the session's time zone.
    fn zoned(&mut self) -> Query {
        let source = self.table();
        let text = self.zoned_text(&source);
        let instant = Expr::Call(crate::tree::Call::ToTimestamp, vec![text], Type::Instant);
        if self.dice.percent(50) {
            let aggregate = crate::tree::Aggregate {
                function: self.dice.pick(&["min", "max"]),
                arguments: vec![instant],
                distinct: false,
                filter: None,
                order: Vec::new(),
                of: Type::Instant,
            };
            let key = self.expr(&source, Kind::Int, 0);
            let mut query = self.group_by(&source, vec![key], 0, 0);
            if let Body::Select(select) = &mut query.body {
                select.items.push(Expr::Aggregate(Box::new(aggregate)));
            }
            return query;
        }
        let mut items: Vec<Expr> = source.ids.iter().map(|id| source.expr_of(*id)).collect();
        items.push(instant);
        let mut select = Select::of(items, Some(source.from.clone()));
        select.filter = self.filter(&source, 0);
        select.query()
    }

    /// A text with a time that differs from row to row.
    fn zoned_text(&mut self, source: &Source) -> Expr {
        let date = Expr::cast(self.expr(source, Kind::Date, 0), Type::Text);
        let hour = 10 + self.dice.below(10);
        let time = Expr::Literal(Value::text(&format!("T{hour}:30:00")), Type::Text);
        Expr::Call(crate::tree::Call::Concat, vec![date, time], Type::Text)
    }

    fn new_relation(&mut self) -> u32 {
        self.relations += 1;
        self.relations
    }

    fn common(&mut self, number: u32, types: &[Type]) -> Source {
        let relation = self.new_relation();
        let from = From::Common { common: number, types: types.to_vec(), relation };
        Source::new(from, relation, types)
    }

    /// A kind of a value, the common ones more often.
    fn kind(&mut self) -> Kind {
        self.dice.pick(&[
            Kind::Int,
            Kind::Int,
            Kind::Int,
            Kind::Text,
            Kind::Text,
            Kind::Date,
            Kind::Decimal,
            Kind::Float,
            Kind::Float,
            Kind::Bool,
            Kind::Timestamp,
        ])
    }
}

/// The type to which values of a kind are cast where they meet.
fn canonical_type(kind: Kind) -> Type {
    match kind {
        Kind::Int => Type::I64,
        Kind::Text => Type::Text,
        Kind::Date => Type::Date,
        Kind::Decimal => Type::Decimal(30, 5),
        Kind::Float => Type::F64,
        Kind::Bool => Type::Bool,
        Kind::Timestamp => Type::Timestamp,
        Kind::Instant => Type::Instant,
        Kind::Bytes => Type::Bytes,
        Kind::List => Type::List(Box::new(Type::I64)),
    }
}

/// The expression, of the type that all expressions of its kind can be cast to.
fn canonical(expr: Expr) -> Expr {
    let of = expr.of_type();
    let to = canonical_type(of.kind());
    match of.kind() {
        Kind::Int | Kind::Decimal | Kind::Float if of != to => Expr::cast(expr, to),
        _ => expr,
    }
}
