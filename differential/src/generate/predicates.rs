//! Predicates: comparisons, tests, lists, patterns, and their combinations.

use super::{Generator, Source};
use crate::tree::Expr;
use crate::types::{Kind, Type};

impl Generator<'_> {
    /// A WHERE clause, perhaps; with subqueries where they may stand.
    pub(super) fn filter(&mut self, source: &Source, depth: usize) -> Option<Expr> {
        if !self.dice.percent(60) {
            return None;
        }
        if depth == 0 || !self.dice.percent(35) {
            return Some(self.predicate(source, 2));
        }
        let subquery = self.subquery_predicate(source);
        Some(match self.dice.below(6) {
            0 | 1 => subquery,
            2 => Expr::and(subquery, self.predicate(source, 1)),
            3 => Expr::and(subquery, self.subquery_predicate(source)),
            4 => Expr::Not(Box::new(subquery)),
            _ => Expr::Or(Box::new(self.predicate(source, 1)), Box::new(subquery)),
        })
    }

    pub(super) fn predicate(&mut self, source: &Source, depth: usize) -> Expr {
        if depth > 0 && self.dice.percent(40) {
            let left = Box::new(self.predicate(source, depth - 1));
            let right = Box::new(self.predicate(source, depth - 1));
            return match self.dice.below(4) {
                0 => Expr::And(left, right),
                1 | 2 => Expr::Or(left, right),
                _ => Expr::Not(left),
            };
        }
        let kind = self.kind();
        if self.dice.percent(6) {
            return self.two_lists(source, kind);
        }
        let mut value = self.expr(source, kind, 0);
        let mut other = match kind {
            Kind::Decimal if self.dice.percent(25) => self.written(),
            kind if self.dice.percent(50) => self.literal(kind),
            kind => self.expr(source, kind, 0),
        };
        if self.dice.percent(20) {
            std::mem::swap(&mut value, &mut other);
        }
        let negated = self.dice.percent(35);
        match self.dice.below(12) {
            0 => Expr::IsNull(Box::new(value), self.dice.percent(60)),
            1 => {
                let high = self.literal(kind);
                Expr::Between(Box::new([value, other, high]), negated)
            }
            2 => {
                let list = vec![other, self.literal(kind), self.literal(kind)];
                Expr::InList(Box::new(value), list, negated)
            }
            3 => Expr::Distinct { left: Box::new(value), right: Box::new(other), negated },
            4 if kind == Kind::Text => Expr::Like {
                of: Box::new(value),
                pattern: self.dice.pick(&["%b%", "a%", "_b%", "%", "ab", "%c", "ø_"]).to_owned(),
                negated,
                insensitive: self.dice.percent(25),
            },
            5 if kind == Kind::Bool => Expr::IsTruth {
                of: Box::new(value),
                truth: self.dice.pick(&[Some(true), Some(false), None]),
                negated,
            },
            6 | 7 => Expr::compare("=", value, other),
            _ => {
                let operator = self.dice.pick(&["<", "<=", ">", ">=", "<>", "="]);
                Expr::compare(operator, value, other)
            }
        }
    }

    /// Two lists over one value, which an optimizer may make one list.
    fn two_lists(&mut self, source: &Source, kind: Kind) -> Expr {
        let value = self.expr(source, kind, 0);
        let mut list = || {
            let items = (0..1 + self.dice.below(5)).map(|_| {
                if self.dice.percent(15) { self.expr(source, kind, 0) } else { self.literal(kind) }
            });
            let items = items.collect();
            Expr::InList(Box::new(value.clone()), items, self.dice.percent(50))
        };
        let (left, right) = (Box::new(list()), Box::new(list()));
        let both =
            if self.dice.percent(60) { Expr::And(left, right) } else { Expr::Or(left, right) };
        if self.dice.percent(30) {
            Expr::IsNull(Box::new(both), self.dice.percent(50))
        } else {
            both
        }
    }

    pub(super) fn always(truth: bool) -> Expr {
        Expr::Literal(crate::value::Value::Bool(truth), Type::Bool)
    }
}
