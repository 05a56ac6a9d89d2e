//! Relations that statements read: tables, derived queries, joins of every kind, unnested lists.

use super::Generator;
use crate::tree::{ColumnId, Expr, From, JoinKind, JoinOn, Query, Select};
use crate::types::{Kind, Type};

/// A relation and its columns.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) from: From,
    pub(super) columns: Vec<(ColumnId, Type)>,
    /// Columns that tell the rows apart; empty if none do.
    pub(super) ids: Vec<ColumnId>,
}

impl Source {
    pub(super) fn new(from: From, relation: u32, types: &[Type]) -> Self {
        let columns = types.iter().enumerate().map(|(at, of)| {
            let column = u32::try_from(at).expect("few columns");
            (ColumnId { relation, column, merged: false }, of.clone())
        });
        Self { from, columns: columns.collect(), ids: Vec::new() }
    }

    /// A column by place.
    pub(super) fn at(&self, place: usize) -> Expr {
        let (id, of) = &self.columns[place];
        Expr::Column(*id, of.clone())
    }

    /// A column by name.
    pub(super) fn expr_of(&self, id: ColumnId) -> Expr {
        let of = self.columns.iter().find(|(column, _)| *column == id);
        Expr::Column(id, of.map_or(Type::I64, |(_, of)| of.clone()))
    }
}

impl Generator<'_> {
    /// A table of the set without edge values.
    pub(super) fn table(&mut self) -> Source {
        let table = self.dice.pick(&[0, 0, 1, 1, 1, 2, 2, 2, 3, 4]);
        self.source_of(table)
    }

    /// A table of at most a few rows.
    pub(super) fn small_table(&mut self) -> Source {
        let table = self.dice.pick(&[2, 2, 3]);
        self.source_of(table)
    }

    pub(super) fn source_of(&mut self, table: usize) -> Source {
        let relation = self.new_relation();
        let types: Vec<Type> =
            self.tables.tables[table].columns.iter().map(|column| column.of.clone()).collect();
        let mut source = Source::new(From::Table { table, relation }, relation, &types);
        source.ids = vec![source.columns[0].0];
        source
    }

    pub(super) fn source(&mut self, depth: usize) -> Source {
        match self.dice.below(if depth > 0 { 100 } else { 50 }) {
            0..45 => self.table(),
            45..50 => self.series(),
            50..65 => self.derived(depth - 1),
            65..70 => self.using(),
            _ => {
                let left = self.input();
                let right =
                    if self.dice.percent(20) { self.derived(depth - 1) } else { self.input() };
                let joined = self.joined(left, right);
                if !self.dice.percent(30) {
                    return joined;
                }
                let third = self.small_input();
                if self.dice.percent(50) {
                    self.joined(joined, third)
                } else {
                    self.joined(third, joined)
                }
            }
        }
    }

    fn series(&mut self) -> Source {
        let relation = self.new_relation();
        let first = i64::try_from(self.dice.around_zero(5)).expect("small");
        let last = first + i64::try_from(self.dice.below(30)).expect("small");
        let from = From::Series { first, last, relation };
        let mut source = Source::new(from, relation, &[Type::I64]);
        source.ids = vec![source.columns[0].0];
        source
    }

    pub(super) fn derived(&mut self, depth: usize) -> Source {
        let query = self.query(depth);
        let query = if self.dice.percent(20) { self.ordered(query) } else { query };
        self.derived_of(query, false)
    }

    pub(super) fn derived_of(&mut self, query: Query, lateral: bool) -> Source {
        let relation = self.new_relation();
        let types = query.types();
        Source::new(From::Derived { query: Box::new(query), lateral, relation }, relation, &types)
    }

    pub(super) fn joined(&mut self, left: Source, right: Source) -> Source {
        let kind = self.dice.pick(&[
            JoinKind::Inner,
            JoinKind::Inner,
            JoinKind::Inner,
            JoinKind::Left,
            JoinKind::Left,
            JoinKind::Right,
            JoinKind::Full,
            JoinKind::Full,
            JoinKind::Cross,
            JoinKind::LeftSemi,
            JoinKind::LeftAnti,
        ]);
        let on = if kind == JoinKind::Cross {
            JoinOn::Nothing
        } else {
            JoinOn::On(self.condition(&left, &right))
        };
        self.join(left, right, kind, on)
    }

    pub(super) fn join(
        &mut self,
        left: Source,
        right: Source,
        kind: JoinKind,
        on: JoinOn,
    ) -> Source {
        let one_sided = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
        let (mut columns, mut ids) = (left.columns, left.ids);
        if !one_sided {
            columns.extend(right.columns);
            ids = if ids.is_empty() || right.ids.is_empty() {
                Vec::new()
            } else {
                [ids, right.ids].concat()
            };
        }
        let from = From::Join { kind, left: Box::new(left.from), right: Box::new(right.from), on };
        Source { from, columns, ids }
    }

    /// A condition over two sides: equal keys and more, keys that are not distinct, or none equal.
    pub(super) fn condition(&mut self, left: &Source, right: &Source) -> Expr {
        let both = Source {
            from: left.from.clone(),
            columns: [&left.columns[..], &right.columns[..]].concat(),
            ids: Vec::new(),
        };
        match self.dice.below(20) {
            0..9 => self.equal_keys(left, right, "="),
            9..12 => {
                let keys = self.equal_keys(left, right, "=");
                Expr::and(keys, self.predicate(&both, 1))
            }
            12..14 => {
                let (first, second) =
                    (self.equal_keys(left, right, "="), self.equal_keys(left, right, "="));
                Expr::and(first, second)
            }
            14..16 => {
                let Expr::Compare(_, left, right) = self.equal_keys(left, right, "=") else {
                    return self.predicate(&both, 0);
                };
                Expr::Distinct { left, right, negated: true }
            }
            16 => self.equal_keys(left, right, "<"),
            17 => {
                let keys = self.equal_keys(left, right, "=");
                Expr::Or(Box::new(keys), Box::new(self.predicate(&both, 0)))
            }
            18 => self.predicate(left, 0),
            _ => self.predicate(&both, 1),
        }
    }

    fn equal_keys(&mut self, left: &Source, right: &Source, operator: &'static str) -> Expr {
        let kind = self.dice.pick(&[
            Kind::Int,
            Kind::Int,
            Kind::Int,
            Kind::Int,
            Kind::Text,
            Kind::Date,
            Kind::Float,
            Kind::Decimal,
            Kind::Bool,
            Kind::Timestamp,
        ]);
        match (self.column(left, kind), self.column(right, kind)) {
            (Some(left), Some(right)) => Expr::compare(operator, left, right),
            _ => {
                let (left, right) = (self.expr(left, kind, 0), self.expr(right, kind, 0));
                Expr::compare(operator, left, right)
            }
        }
    }

    /// A join with USING or NATURAL, selected so that every column has a name of its own.
    fn using(&mut self) -> Source {
        let (left, right) = if self.dice.percent(50) {
            (self.table(), self.table())
        } else {
            let (left, right) = (self.table(), self.table());
            (self.narrow(&left), self.narrow(&right))
        };
        let is_derived = matches!(left.from, From::Derived { .. });
        let same: Vec<usize> = (1..left.columns.len().min(right.columns.len()))
            .filter(|at| left.columns[*at].1 == right.columns[*at].1)
            .filter(|at| left.columns[*at].1.kind() != Kind::List)
            .collect();
        let all_same =
            left.columns.iter().zip(&right.columns).all(|(left, right)| left.1 == right.1);
        let natural = is_derived && all_same && self.dice.percent(60);
        let keys: Vec<usize> = match (natural, same.is_empty()) {
            (true, _) => (0..left.columns.len()).collect(),
            (false, true) => vec![0],
            (false, false) => vec![self.dice.pick(&same)],
        };
        let key = |at: &usize| {
            let (left, of) = left.columns[*at].clone();
            (left, right.columns[*at].0, of)
        };
        let keys: Vec<_> = keys.iter().map(key).collect();
        let kind =
            self.dice.pick(&[JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full]);
        let merged =
            keys.iter().map(|(left, _, of)| (ColumnId { merged: true, ..*left }, of.clone()));
        let merged: Vec<(ColumnId, Type)> = merged.collect();
        let is_key = |id: &ColumnId| keys.iter().any(|(left, right, _)| left == id || right == id);
        let others = left.columns.iter().chain(&right.columns).filter(|(id, _)| !is_key(id));
        let mut items: Vec<Expr> =
            merged.into_iter().map(|(id, of)| Expr::Column(id, of)).collect();
        items.extend(others.take(6).map(|(id, of)| Expr::Column(*id, of.clone())));
        let on = if natural { JoinOn::Natural(keys) } else { JoinOn::Using(keys) };
        let source = self.join(left, right, kind, on);
        let query = Select::of(items, Some(source.from)).query();
        self.derived_of(query, false)
    }

    /// A query of two columns of a table.
    fn narrow(&mut self, source: &Source) -> Source {
        let kind = self.dice.pick(&[Kind::Text, Kind::Date, Kind::Int]);
        let items = vec![source.at(1), self.expr(source, kind, 0)];
        let query = Select::of(items, Some(source.from.clone())).query();
        self.derived_of(query, false)
    }

    /// A table with the elements of a list of each row.
    pub(super) fn unnested(&mut self) -> Source {
        let table = self.table();
        let lists: Vec<Expr> = (0..table.columns.len())
            .map(|at| table.at(at))
            .filter(|column| column.of_type().kind() == Kind::List)
            .collect();
        let Some(list) = (!lists.is_empty()).then(|| self.dice.pick(&lists)) else { return table };
        let Type::List(of) = list.of_type() else { return table };
        let (table, list) = self.around_list(table, list);
        let relation = self.new_relation();
        let elements = Source::new(From::Unnest { list, relation }, relation, &[*of]);
        self.join(table, elements, JoinKind::Cross, JoinOn::Nothing)
    }

    /// A table with a query for each row.
    pub(super) fn lateral_join(&mut self) -> Source {
        let outer = self.table();
        let is_pair = self.dice.percent(20);
        let inner = if is_pair {
            let (left, right) = (self.small_table(), self.small_table());
            self.joined(left, right)
        } else {
            self.small_table()
        };
        let key = self.equal_keys(&inner, &outer, "=");
        let key = if is_pair && self.dice.percent(30) {
            Expr::and(key, self.equal_keys(&inner, &outer, "="))
        } else {
            key
        };
        let aggregated = self.dice.percent(50);
        let mut query = if aggregated {
            let count = 1 + self.dice.below(2);
            let mut query = self.group_by(&inner, Vec::new(), count, 0);
            if let crate::tree::Body::Select(select) = &mut query.body {
                select.filter = Some(key);
            }
            query
        } else {
            let items = vec![inner.at(0), inner.at(1), inner.at(3)];
            let mut select = Select::of(items, Some(inner.from.clone()));
            select.filter = Some(key);
            select.query()
        };
        if !aggregated && self.dice.percent(30) {
            query = self.ordered(query);
            query.offset = None;
        }
        let inner = self.derived_of(query, true);
        if self.dice.percent(60) {
            self.join(outer, inner, JoinKind::Cross, JoinOn::Nothing)
        } else {
            let always = Expr::Literal(crate::value::Value::Bool(true), Type::Bool);
            self.join(outer, inner, JoinKind::Left, JoinOn::On(always))
        }
    }
}
