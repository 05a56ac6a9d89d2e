//! Aggregates, with FILTER, DISTINCT and ORDER BY.

use super::{Generator, Source};
use crate::tree::{Aggregate, Direction, Expr};
use crate::types::{Kind, Type};
use crate::value::Value;

impl Generator<'_> {
    pub(super) fn aggregate(&mut self, source: &Source) -> Expr {
        let kind = self.kind();
        self.aggregate_of(source, kind)
    }

    pub(super) fn aggregate_of(&mut self, source: &Source, kind: Kind) -> Expr {
        let value = self.expr(source, kind, 1);
        let of = value.of_type();
        let mut made = match kind {
            Kind::Int => match self.dice.below(7) {
                0 => simple("count", Vec::new(), Type::I64),
                1 => simple("count", vec![value], Type::I64),
                2 => Aggregate { distinct: true, ..simple("count", vec![value], Type::I64) },
                3 => simple("sum", vec![value], sum_type(&of)),
                4 => Aggregate { distinct: true, ..simple("sum", vec![value], sum_type(&of)) },
                _ => simple(self.dice.pick(&["min", "max"]), vec![value], of),
            },
            Kind::Float => match self.dice.below(3) {
                0 => simple("sum", vec![value], Type::F64),
                1 => {
                    let number =
                        if self.dice.percent(50) { value } else { self.expr(source, Kind::Int, 0) };
                    simple("avg", vec![number], Type::F64)
                }
                _ => simple(self.dice.pick(&["min", "max"]), vec![value], of),
            },
            Kind::Decimal => match self.dice.below(2) {
                0 => simple("sum", vec![value], sum_type(&of)),
                _ => simple(self.dice.pick(&["min", "max"]), vec![value], of),
            },
            Kind::Bool => simple(self.dice.pick(&["bool_and", "bool_or"]), vec![value], of),
            _ if !source.ids.is_empty() && self.dice.percent(35) => {
                self.ordered_aggregate(source, value)
            }
            _ => simple(self.dice.pick(&["min", "max"]), vec![value], of),
        };
        if self.dice.percent(20) {
            made.filter = Some(self.predicate(source, 0));
        }
        Expr::Aggregate(Box::new(made))
    }

    /// An aggregate whose value depends on the order of the rows, with a total order.
    fn ordered_aggregate(&mut self, source: &Source, value: Expr) -> Aggregate {
        let of = value.of_type();
        let mut order: Vec<(Expr, Direction)> = Vec::new();
        if self.dice.percent(50) {
            let kind = self.kind();
            let key = self.column(source, kind);
            order.extend(key.map(|key| (key, self.direction())));
        }
        for id in &source.ids {
            order.push((source.expr_of(*id), self.direction()));
        }
        let aggregate = match self.dice.below(3) {
            0 if of == Type::Text => {
                let comma = Expr::Literal(Value::text("|"), Type::Text);
                simple("string_agg", vec![value, comma], of)
            }
            _ => simple(self.dice.pick(&["first_value", "last_value"]), vec![value], of),
        };
        Aggregate { order, ..aggregate }
    }
}

fn simple(function: &'static str, arguments: Vec<Expr>, of: Type) -> Aggregate {
    Aggregate { function, arguments, distinct: false, filter: None, order: Vec::new(), of }
}

/// The type of a sum.
pub(super) fn sum_type(of: &Type) -> Type {
    match of {
        Type::Int { signed: true, .. } => Type::I64,
        Type::Int { signed: false, .. } => Type::Int { bits: 64, signed: false },
        Type::Decimal(precision, scale) => Type::Decimal((precision + 10).min(38), *scale),
        _ => Type::F64,
    }
}
