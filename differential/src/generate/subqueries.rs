//! Subqueries: IN, EXISTS, ANY, ALL and scalar ones, correlated or not.

use super::{Generator, Source};
use crate::tree::{Body, Expr, Query, Select};
use crate::types::Kind;

impl Generator<'_> {
    pub(super) fn subquery_predicate(&mut self, outer: &Source) -> Expr {
        let inner = self.inner();
        let kind = self.dice.pick(&[Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Date]);
        let negated = self.dice.percent(50);
        let correlated = self.dice.percent(40);
        let filter = self.inner_filter(&inner, outer, correlated);
        match self.dice.below(12) {
            0..3 => {
                let filter = if correlated { filter } else { self.correlation(&inner, outer) };
                Expr::Exists(Box::new(self.exists_body(&inner, filter)), negated)
            }
            3..8 => {
                let of = if self.dice.percent(85) {
                    self.expr(outer, kind, 0)
                } else {
                    self.literal(kind)
                };
                let query = self.one_column(&inner, kind, filter);
                Expr::InQuery(Box::new(of), Box::new(query), negated)
            }
            8 => {
                let of = self.expr(outer, kind, 0);
                let query = self.one_column(&inner, kind, filter);
                let operator = self.dice.pick(&["=", "<", ">=", "<>"]);
                Expr::Quantified {
                    operator,
                    of: Box::new(of),
                    all: self.dice.percent(50),
                    query: Box::new(query),
                }
            }
            _ => {
                let scalar = self.scalar_subquery_of(outer, kind);
                let operator = self.dice.pick(&["<", ">=", "<>", "="]);
                let of = self.expr(outer, kind, 0);
                Expr::compare(operator, of, scalar)
            }
        }
    }

    pub(super) fn scalar_subquery(&mut self, outer: &Source) -> Expr {
        let kind = self.dice.pick(&[Kind::Int, Kind::Int, Kind::Text, Kind::Date, Kind::Float]);
        self.scalar_subquery_of(outer, kind)
    }

    /// A subquery of at most one row: an aggregate, or the row of a key.
    fn scalar_subquery_of(&mut self, outer: &Source, kind: Kind) -> Expr {
        let inner = self.inner();
        let correlated = self.dice.percent(55);
        let filter = self.inner_filter(&inner, outer, correlated);
        let by_key = self.dice.percent(25) && !inner.ids.is_empty();
        let (item, filter) = if by_key {
            let id = inner.expr_of(inner.ids[0]);
            let key =
                if correlated { self.expr(outer, Kind::Int, 0) } else { self.literal(Kind::Int) };
            (self.expr(&inner, kind, 0), Expr::compare("=", id, key))
        } else {
            (self.aggregate_of(&inner, kind), filter)
        };
        let of = item.of_type();
        let mut select = Select::of(vec![item], Some(inner.from));
        select.filter = Some(filter);
        select.named = false;
        Expr::Scalar(Box::new(select.query()), of)
    }

    fn inner(&mut self) -> Source {
        match self.dice.below(10) {
            0 => self.derived(0),
            // Tables whose columns have the same names.
            1 | 2 => {
                let (left, right) = (self.small_table(), self.small_table());
                self.joined(left, right)
            }
            _ => self.table(),
        }
    }

    fn inner_filter(&mut self, inner: &Source, outer: &Source, correlated: bool) -> Expr {
        let local = self.predicate(inner, 1);
        match (correlated, self.dice.percent(50)) {
            (true, true) if self.dice.percent(15) => {
                Expr::and(self.correlation(inner, outer), self.correlation(inner, outer))
            }
            (true, true) => self.correlation(inner, outer),
            (true, false) => Expr::and(self.correlation(inner, outer), local),
            (false, true) => local,
            (false, false) => Self::always(true),
        }
    }

    /// A predicate over both.
    fn correlation(&mut self, inner: &Source, outer: &Source) -> Expr {
        if self.dice.percent(40)
            && let Some(predicate) = self.namesakes(inner, outer)
        {
            return predicate;
        }
        let kind = self.dice.pick(&[Kind::Int, Kind::Int, Kind::Text, Kind::Date]);
        let (left, right) = (self.expr(inner, kind, 0), self.expr(outer, kind, 0));
        let operator = self.dice.pick(&["=", "=", "=", "=", "=", "<", "<>"]);
        Expr::compare(operator, left, right)
    }

    /// A predicate over two inner columns of one name, if there are such.
    fn namesakes(&mut self, inner: &Source, outer: &Source) -> Option<Expr> {
        let (left, of) = self.dice.pick(&inner.columns);
        let mut others = inner.columns.iter();
        let (right, _) = others.find(|(other, other_of)| {
            other.column == left.column
                && other.relation != left.relation
                && other_of.kind() == of.kind()
                && !matches!(of.kind(), Kind::List | Kind::Bytes)
        })?;
        let (left, right) = (inner.expr_of(left), inner.expr_of(*right));
        let mut against = |column| {
            let operator = self.dice.pick(&["=", "<", ">=", "<>"]);
            Expr::compare(operator, column, self.expr(outer, of.kind(), 0))
        };
        Some(Expr::and(against(left), against(right)))
    }

    /// The query of an EXISTS: rows, or an aggregate, which always has one.
    fn exists_body(&mut self, inner: &Source, filter: Expr) -> Query {
        let item = if self.dice.percent(12) { self.aggregate(inner) } else { Expr::int(1) };
        let mut select = Select::of(vec![item], Some(inner.from.clone()));
        select.filter = Some(filter);
        select.named = false;
        select.query()
    }

    fn one_column(&mut self, inner: &Source, kind: Kind, filter: Expr) -> Query {
        let is_aggregate = self.dice.percent(12);
        let item =
            if is_aggregate { self.aggregate_of(inner, kind) } else { self.expr(inner, kind, 0) };
        let filter = if self.dice.percent(35) && !is_aggregate {
            Expr::and(filter, Expr::IsNull(Box::new(item.clone()), true))
        } else {
            filter
        };
        let mut select = Select::of(vec![item], Some(inner.from.clone()));
        select.filter = Some(filter);
        select.distinct = self.dice.percent(10);
        let is_set = self.dice.percent(6) && !is_aggregate;
        select.named = is_set;
        let query = select.query();
        if is_set {
            let arm = self.arm(&[kind], 0);
            return Query::of(Body::Set {
                operation: crate::tree::SetOperation::Union,
                all: self.dice.percent(50),
                left: Box::new(query),
                right: Box::new(arm),
            });
        }
        query
    }
}
