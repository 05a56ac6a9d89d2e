//! Random statements whose answer is a fixed multiset of rows: a limit always follows a total
//! order, and so does every function that depends on order.

mod aggregates;
mod edges;
mod exprs;
mod predicates;
mod selects;
mod sources;
mod subqueries;
mod windows;

use crate::dice::Dice;
use crate::table::TableSet;
use crate::tree::{
    Body, Common, Direction, Errors, Expr, From, OrderColumn, Query, Select, SetOperation,
    Statement,
};
use crate::types::{Kind, Type};
use crate::value::Value;
use sources::Source;

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

    /// Adds a total order and, perhaps, a limit. Lists have no order here.
    fn ordered(&mut self, mut query: Query) -> Query {
        if query.types().iter().any(|of| of.kind() == Kind::List) {
            return query;
        }
        let mut columns: Vec<usize> = (0..query.types().len()).collect();
        if self.dice.percent(30) {
            columns.reverse();
        }
        let directed = |column| OrderColumn { column, direction: self.direction() };
        query.order = columns.into_iter().map(directed).collect();
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

    /// A statement that can use the declared order of a table.
    fn sorted(&mut self) -> Query {
        let sorted: Vec<usize> = (0..self.tables.tables.len())
            .filter(|table| self.tables.tables[*table].sorted_by.is_some())
            .collect();
        if sorted.is_empty() {
            return self.grouped(1);
        }
        let table = self.dice.pick(&sorted);
        let source = self.source_of(table);
        let key = self.tables.tables[table].sorted_by.expect("it is sorted");
        let (id, of) = source.columns[key].clone();
        let key = Expr::Column(id, of);
        let ascending =
            Direction { descending: false, nulls_first: self.dice.pick(&[None, Some(false)]) };
        let mut query = match self.dice.below(3) {
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

    /// A table expression that is read twice.
    fn with(&mut self) -> Query {
        let common = self.query(1);
        let number = self.new_common();
        let types = common.types();
        let (left, right) = (self.common(number, &types), self.common(number, &types));
        let source = self.joined(left, right);
        let mut query = if self.dice.percent(50) {
            self.select_from(&source, 0)
        } else {
            self.grouped_from(&source, 0)
        };
        query.with.push(Common { number, types, query: common, step: None });
        query
    }

    fn new_common(&mut self) -> u32 {
        self.commons += 1;
        self.commons
    }

    /// A counter with something that grows beside it, or a walk over a table.
    fn recursive(&mut self) -> Query {
        let number = self.new_common();
        let kind = self.dice.pick(&[Kind::Int, Kind::Text, Kind::Float]);
        let start = canonical(self.literal(kind));
        let types = vec![Type::I64, start.of_type()];
        let from = self.dice.percent(40).then(|| self.small_table());
        let first = match &from {
            Some(source) => source.expr_of(source.ids[0]),
            None => Expr::int(1),
        };
        let base = Select::of(vec![first, start], from.map(|source| source.from)).query();
        let last = self.common(number, &types);
        let (count, grown) = (last.at(0), last.at(1));
        let next = |by: i64| {
            Expr::Arithmetic("+", Box::new(count.clone()), Box::new(Expr::int(by)), Type::I64)
        };
        let step_by = 1 + self.dice.below(2) as i64;
        let bound = Expr::compare("<", count.clone(), Expr::int(3 + self.dice.below(12) as i64));
        let (step, count) = if self.dice.percent(40) {
            let table = self.small_table();
            let on = Expr::compare("=", table.expr_of(table.ids[0]), next(step_by));
            let joined =
                self.join(last, table, crate::tree::JoinKind::Inner, crate::tree::JoinOn::On(on));
            (joined, next(step_by))
        } else {
            (last, next(step_by))
        };
        let grown = self.grown(grown, &types[1]);
        let mut select = Select::of(vec![count, grown], Some(step.from));
        select.filter = Some(bound);
        let reference = self.common(number, &types);
        let mut query = if self.dice.percent(60) {
            self.select_from(&reference, 0)
        } else {
            self.grouped_from(&reference, 0)
        };
        query.with.push(Common { number, types, query: base, step: Some(select.query()) });
        query
    }

    fn grown(&mut self, value: Expr, of: &Type) -> Expr {
        match of.kind() {
            Kind::Int => Expr::Arithmetic("+", Box::new(value), Box::new(Expr::int(3)), Type::I64),
            Kind::Float => {
                let half = Expr::Literal(Value::Float(0.5), Type::F64);
                Expr::Arithmetic("+", Box::new(value), Box::new(half), Type::F64)
            }
            _ => value,
        }
    }

    fn set_operation(&mut self, depth: usize) -> Query {
        let kinds: Vec<Kind> = (0..1 + self.dice.below(3)).map(|_| self.kind()).collect();
        let mut query = self.arm(&kinds, depth);
        for _ in 0..1 + self.dice.below(2) {
            let arm = self.arm(&kinds, depth);
            let operation = self.dice.pick(&[
                SetOperation::Union,
                SetOperation::Union,
                SetOperation::Intersect,
                SetOperation::Except,
            ]);
            let all = self.dice.percent(55);
            let (left, right) = if self.dice.percent(75) { (query, arm) } else { (arm, query) };
            query = Query::of(Body::Set {
                operation,
                all,
                left: Box::new(left),
                right: Box::new(right),
            });
        }
        query
    }

    fn arm(&mut self, kinds: &[Kind], depth: usize) -> Query {
        if self.dice.percent(8) {
            let rows = 1 + self.dice.below(3);
            let types: Vec<Type> = kinds.iter().map(|kind| canonical_type(*kind)).collect();
            let rows =
                (0..rows).map(|_| kinds.iter().map(|kind| self.value(*kind)).collect()).collect();
            return Query::of(Body::Values { types, rows });
        }
        let source = if depth > 1 && self.dice.percent(30) { self.source(1) } else { self.table() };
        let items = kinds.iter().map(|kind| canonical(self.expr(&source, *kind, 0))).collect();
        let mut select = Select::of(items, Some(source.from.clone()));
        select.filter = self.filter(&source, 0);
        select.distinct = self.dice.percent(10);
        let query = select.query();
        if self.dice.percent(15) { self.ordered(query) } else { query }
    }

    /// Unnested lists and correlated queries in FROM.
    fn lateral(&mut self) -> Query {
        let source = if self.dice.percent(50) { self.unnested() } else { self.lateral_join() };
        if self.dice.percent(65) {
            self.select_from(&source, 0)
        } else {
            self.grouped_from(&source, 0)
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
