//! Table expressions, recursion and set operations.

use super::{Generator, canonical, canonical_type};
use crate::tree::{Body, Common, Expr, JoinKind, JoinOn, Query, Select, SetOperation};
use crate::types::{Kind, Type};
use crate::value::Value;

impl Generator<'_> {
    /// A table expression that is read twice.
    pub(super) fn with(&mut self) -> Query {
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

    pub(super) fn new_common(&mut self) -> u32 {
        self.commons += 1;
        self.commons
    }

    /// A counter with something that grows beside it, or a walk over a table.
    pub(super) fn recursive(&mut self) -> Query {
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
            let joined = self.join(last, table, JoinKind::Inner, JoinOn::On(on));
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

    pub(super) fn set_operation(&mut self, depth: usize) -> Query {
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

    pub(super) fn arm(&mut self, kinds: &[Kind], depth: usize) -> Query {
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
}
