//! Arithmetic with edge values: overflow is an error by the ANSI rules.

use super::aggregates::sum_type;
use super::{Generator, Source};
use crate::tree::{Aggregate, Errors, Expr, Select, Statement};
use crate::types::{Kind, Type};
use crate::value::Value;

impl Generator<'_> {
    /// A statement that computes with the edge values of every type.
    pub(super) fn edge_statement(&mut self) -> Statement {
        let table = self.tables.tables.iter().position(|table| table.is_edge).unwrap_or(0);
        let source = self.source_of(table);
        let query = match self.dice.below(4) {
            0 | 1 => {
                let items = vec![source.at(0), self.edge_arithmetic(&source)];
                let mut select = Select::of(items, Some(source.from.clone()));
                select.filter = Some(self.few_rows(&source));
                select.query()
            }
            2 => {
                let sum = self.edge_sum(&source);
                let mut select = Select::of(vec![sum], Some(source.from.clone()));
                select.filter = self.dice.percent(70).then(|| self.few_rows(&source));
                select.query()
            }
            _ => {
                let mut select = self.edge_cast(&source);
                select.filter = Some(self.few_rows(&source));
                select.query()
            }
        };
        Statement { query, errors: Errors::Strict }
    }

    /// Some rows, by number: with all of them, nearly every statement would fail.
    fn few_rows(&mut self, source: &Source) -> Expr {
        let first = self.dice.below(10) as i64;
        let last = first + self.dice.below(2) as i64;
        let bounds = [source.at(0), Expr::int(first), Expr::int(last)];
        Expr::Between(Box::new(bounds), false)
    }

    fn number(&mut self, source: &Source) -> Expr {
        let kind = self.dice.pick(&[Kind::Int, Kind::Int, Kind::Decimal]);
        self.column(source, kind).unwrap_or_else(|| source.at(0))
    }

    fn edge_arithmetic(&mut self, source: &Source) -> Expr {
        let left = self.number(source);
        let of = left.of_type();
        match &of {
            Type::Decimal(precision, scale) => {
                // As SQL has it: one more digit, up to 38.
                let of = Type::Decimal((precision + 1).min(38), *scale);
                let operator = self.dice.pick(&["+", "-"]);
                Expr::Arithmetic(operator, Box::new(left.clone()), Box::new(left), of)
            }
            _ => {
                let operator = self.dice.pick(&["+", "-", "*"]);
                let right = if self.dice.percent(50) {
                    left.clone()
                } else {
                    Expr::Literal(Value::Int(self.dice.pick(&[1, 2])), of.clone())
                };
                Expr::Arithmetic(operator, Box::new(left), Box::new(right), of)
            }
        }
    }

    fn edge_sum(&mut self, source: &Source) -> Expr {
        let value = self.number(source);
        let of = sum_type(&value.of_type());
        let sum = Aggregate {
            function: "sum",
            arguments: vec![value],
            distinct: false,
            filter: None,
            order: Vec::new(),
            of,
        };
        Expr::Aggregate(Box::new(sum))
    }

    fn edge_cast(&mut self, source: &Source) -> Select {
        let value = self.number(source);
        let to = self.dice.pick(&[
            Type::Int { bits: 8, signed: true },
            Type::Int { bits: 16, signed: false },
            Type::I32,
            Type::I64,
            Type::Decimal(10, 0),
        ]);
        let fits =
            matches!((value.of_type().kind(), to.kind()), (Kind::Int, _) | (_, Kind::Decimal));
        let to = if fits { to } else { Type::Decimal(10, 0) };
        let cast = Expr::Cast { of: Box::new(value), to, is_try: self.dice.percent(40) };
        Select::of(vec![source.at(0), cast], Some(source.from.clone()))
    }
}
