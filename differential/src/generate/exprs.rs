//! Expressions of a kind: columns, constants, functions, CASE, casts.

use super::{Generator, Source, canonical, canonical_type};
use crate::calendar::{DAY_NS, SECOND_NS};
use crate::tree::{Call, Expr};
use crate::types::{Kind, Type};
use crate::value::Value;

const WORDS: [&str; 7] = ["a", "b", "", "abc", "øl", "x'y", "-"];

impl Generator<'_> {
    /// A column of this kind, if there is one.
    pub(super) fn column(&mut self, source: &Source, kind: Kind) -> Option<Expr> {
        // Lists meet others of the same elements only: a text that is no number fails where it is compared with one.
        let fits =
            |of: &Type| of.kind() == kind && (kind != Kind::List || *of == canonical_type(kind));
        let fitting: Vec<&(crate::tree::ColumnId, Type)> =
            source.columns.iter().filter(|(_, of)| fits(of)).collect();
        if fitting.is_empty() {
            return None;
        }
        let (id, of) = self.dice.pick(&fitting);
        Some(Expr::Column(*id, of.clone()))
    }

    pub(super) fn column_of_any_kind(&mut self, source: &Source) -> Expr {
        let at = self.dice.below(source.columns.len());
        source.at(at)
    }

    pub(super) fn expr(&mut self, source: &Source, kind: Kind, depth: usize) -> Expr {
        if depth == 0 || self.dice.percent(55) {
            return match self.column(source, kind) {
                Some(column) => column,
                None => self.literal(kind),
            };
        }
        let left = self.expr(source, kind, depth - 1);
        match self.dice.below(8) {
            0 => self.paired(source, kind, left, &[Call::Coalesce, Call::NullIf]),
            1 if kind != Kind::Bool => {
                self.paired(source, kind, left, &[Call::Greatest, Call::Least])
            }
            2 | 3 => self.case(source, kind, left),
            _ => self.composed(source, kind, left),
        }
    }

    fn paired(&mut self, source: &Source, kind: Kind, left: Expr, calls: &[Call]) -> Expr {
        let (left, right) = (canonical(left), canonical(self.expr(source, kind, 0)));
        let of = left.of_type();
        Expr::Call(self.dice.pick(calls), vec![left, right], of)
    }

    fn case(&mut self, source: &Source, kind: Kind, left: Expr) -> Expr {
        let (left, right) = (canonical(left), canonical(self.expr(source, kind, 0)));
        let of = left.of_type();
        let otherwise = self.dice.percent(70).then(|| Box::new(right.clone()));
        if self.dice.percent(30) {
            let operand = self.expr(source, Kind::Int, 0);
            let whens = vec![(self.literal(Kind::Int), left), (self.literal(Kind::Int), right)];
            return Expr::Case { operand: Some(Box::new(operand)), whens, otherwise, of };
        }
        let mut whens = vec![(self.predicate(source, 1), left)];
        if self.dice.percent(30) {
            whens.push((self.predicate(source, 0), right));
        }
        Expr::Case { operand: None, whens, otherwise, of }
    }

    /// An expression around a column that varies as it does.
    pub(super) fn around(&mut self, column: Expr) -> Expr {
        let of = column.of_type();
        match of.kind() {
            Kind::Int => {
                let column = canonical(column);
                let other = Expr::int(self.dice.pick(&[2, 3, 5]));
                let operator = self.dice.pick(&["%", "+", "/"]);
                Expr::Arithmetic(operator, Box::new(column), Box::new(other), Type::I64)
            }
            Kind::Text => Expr::Call(Call::Upper, vec![column], Type::Text),
            Kind::Date => Expr::Call(Call::AddDays, vec![column, Expr::int(3)], Type::Date),
            Kind::Bool => Expr::Not(Box::new(column)),
            Kind::Timestamp => Expr::Call(Call::TruncateToDay, vec![column], Type::Timestamp),
            _ => column,
        }
    }

    fn composed(&mut self, source: &Source, kind: Kind, left: Expr) -> Expr {
        match kind {
            Kind::Int => self.composed_int(source, left),
            Kind::Text => self.composed_text(source, left),
            Kind::Date => match self.dice.below(3) {
                0 => Expr::cast(self.expr(source, Kind::Timestamp, 0), Type::Date),
                _ => Expr::Call(
                    Call::AddDays,
                    vec![left, Expr::int(self.dice.pick(&[1, -2, 30]))],
                    Type::Date,
                ),
            },
            Kind::Timestamp => match self.dice.below(4) {
                0 => Expr::cast(self.expr(source, Kind::Date, 0), Type::Timestamp),
                1 => Expr::Call(Call::TruncateToMonth, vec![left], Type::Timestamp),
                2 => Expr::Call(Call::TruncateToDay, vec![left], Type::Timestamp),
                _ => Expr::Call(Call::AddDays, vec![left, Expr::int(2)], Type::Timestamp),
            },
            Kind::Decimal => self.composed_decimal(source, left),
            Kind::Float => {
                let other = self.expr(source, Kind::Float, 0);
                match self.dice.below(4) {
                    0 => Expr::cast(self.expr(source, Kind::Int, 0), Type::F64),
                    1 => Expr::Call(Call::Abs, vec![left.clone()], left.of_type()),
                    2 => {
                        let half = Expr::Literal(Value::Float(2.0), Type::F64);
                        Expr::Arithmetic("/", Box::new(canonical(left)), Box::new(half), Type::F64)
                    }
                    _ => {
                        let operator = self.dice.pick(&["+", "-", "*"]);
                        let (left, other) = (canonical(left), canonical(other));
                        Expr::Arithmetic(operator, Box::new(left), Box::new(other), Type::F64)
                    }
                }
            }
            Kind::Bool => self.predicate(source, 0),
            Kind::Instant | Kind::Bytes | Kind::List => left,
        }
    }

    fn composed_int(&mut self, source: &Source, left: Expr) -> Expr {
        let left = canonical(left);
        match self.dice.below(12) {
            0 => {
                let call = self.dice.pick(&[Call::Year, Call::Month, Call::Day]);
                let kind = self.dice.pick(&[Kind::Date, Kind::Timestamp]);
                Expr::Call(call, vec![self.expr(source, kind, 0)], Type::I32)
            }
            1 => Expr::Call(Call::Hour, vec![self.expr(source, Kind::Timestamp, 0)], Type::I32),
            2 => Expr::Call(Call::Length, vec![self.expr(source, Kind::Text, 0)], Type::I64),
            3 => Expr::Call(Call::Abs, vec![left], Type::I64),
            4 => {
                let text = self.expr(source, Kind::Text, 0);
                try_cast(text, Type::I64)
            }
            5 => {
                let divisor = Expr::int(self.dice.pick(&[2, 3, 5, -4]));
                let operator = self.dice.pick(&["/", "%"]);
                Expr::Arithmetic(operator, Box::new(left), Box::new(divisor), Type::I64)
            }
            6 => match self.column(source, Kind::List) {
                Some(list) if list.of_type() == Type::List(Box::new(Type::I64)) => {
                    Expr::Call(Call::Element, vec![list, Expr::int(1)], Type::I64)
                }
                _ => left,
            },
            7 => Expr::Negate(Box::new(left), Type::I64),
            8 => try_cast(self.expr(source, Kind::Decimal, 0), Type::I64),
            9 => try_cast(left, Type::Int { bits: 8, signed: true }),
            _ => {
                let right = canonical(self.expr(source, Kind::Int, 0));
                let operator = self.dice.pick(&["+", "-", "*"]);
                Expr::Arithmetic(operator, Box::new(left), Box::new(right), Type::I64)
            }
        }
    }

    fn composed_text(&mut self, source: &Source, left: Expr) -> Expr {
        let argument = |text: &str| Expr::Literal(Value::text(text), Type::Text);
        let call = |call, arguments| Expr::Call(call, arguments, Type::Text);
        match self.dice.below(8) {
            0 => call(Call::Concat, vec![left, self.expr(source, Kind::Text, 0)]),
            1 => call(Call::Upper, vec![left]),
            2 => call(Call::Lower, vec![left]),
            3 => call(Call::Reverse, vec![left]),
            4 => call(Call::Replace, vec![left, argument("b"), argument("--")]),
            5 => {
                let kind = self.dice.pick(&[Kind::Int, Kind::Date, Kind::Bool]);
                Expr::cast(self.expr(source, kind, 0), Type::Text)
            }
            _ => {
                let (first, count) = (1 + self.dice.below(2), self.dice.below(3));
                let arguments = vec![left, Expr::int(first as i64), Expr::int(count as i64)];
                call(Call::Substr, arguments)
            }
        }
    }

    fn composed_decimal(&mut self, source: &Source, left: Expr) -> Expr {
        let narrow = |expr: Expr| Expr::cast(expr, Type::Decimal(12, 2));
        match self.dice.below(6) {
            5 => {
                let (left, right) = (narrow(left), self.written());
                let operator = self.dice.pick(&["+", "-", "*"]);
                let of = exact_type(operator, &left.of_type(), &right.of_type());
                let (left, right) =
                    if self.dice.percent(30) { (right, left) } else { (left, right) };
                Expr::Arithmetic(operator, Box::new(left), Box::new(right), of)
            }
            4 => try_cast(left, Type::Decimal(12, 1)),
            0 => narrow(canonical(self.expr(source, Kind::Int, 0))),
            1 => Expr::Call(Call::Abs, vec![left.clone()], left.of_type()),
            2 => {
                let right = narrow(self.expr(source, Kind::Decimal, 0));
                Expr::Arithmetic("*", Box::new(narrow(left)), Box::new(right), Type::Decimal(25, 4))
            }
            _ => {
                let right = narrow(self.expr(source, Kind::Decimal, 0));
                let operator = self.dice.pick(&["+", "-"]);
                Expr::Arithmetic(
                    operator,
                    Box::new(narrow(left)),
                    Box::new(right),
                    Type::Decimal(13, 2),
                )
            }
        }
    }

    /// A constant of a kind, rarely null.
    pub(super) fn literal(&mut self, kind: Kind) -> Expr {
        let of = match kind {
            Kind::Decimal => Type::Decimal(12, 2),
            kind => canonical_type(kind),
        };
        self.literal_of(&of)
    }

    /// A number that is written beside decimals. It has no zeros at its end: they are not part of its type.
    pub(super) fn written(&mut self) -> Expr {
        let (units, scale) =
            self.dice.pick(&[(1, 1), (25, 2), (-5, 1), (1001, 3), (11, 1), (-225, 2)]);
        let precision = u8::try_from(i32::abs(units).to_string().len()).expect("few digits");
        let of = Type::Decimal(precision.max(scale), scale);
        Expr::Written(Value::Decimal(i128::from(units), scale), of)
    }

    pub(super) fn literal_of(&mut self, of: &Type) -> Expr {
        if self.dice.percent(4) {
            return Expr::null(of);
        }
        let value = match of {
            Type::Decimal(_, scale) => Value::Decimal(
                self.dice.around_zero(40) * 10_i128.pow(u32::from(*scale)) / 4,
                *scale,
            ),
            Type::Int { signed: false, .. } => Value::Int(self.dice.below(7) as i128),
            of => self.value(of.kind()),
        };
        Expr::Literal(value, of.clone())
    }

    /// A value of the canonical type of a kind.
    pub(super) fn value(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Int => Value::Int(self.dice.around_zero(7)),
            Kind::Text => Value::text(self.dice.pick(&WORDS)),
            Kind::Date => Value::Date(18_300 + self.dice.below(25) as i64),
            Kind::Decimal => Value::Decimal(self.dice.around_zero(40) * 25_000, 5),
            Kind::Float => Value::Float(self.dice.around_zero(8) as f64 / 4.0),
            Kind::Bool => Value::Bool(self.dice.percent(50)),
            Kind::Timestamp | Kind::Instant => {
                let half_hours = self.dice.below(25 * 48) as i64;
                Value::Timestamp(18_300 * DAY_NS + half_hours * 1800 * SECOND_NS)
            }
            Kind::Bytes => Value::Bytes([0_u8, 255][..self.dice.below(3)].into()),
            Kind::List => Value::Null,
        }
    }
}

/// A cast that gives null for what the type has not.
fn try_cast(of: Expr, to: Type) -> Expr {
    Expr::Cast { of: Box::new(of), to, is_try: true }
}

/// The type of a sum, a difference or a product of decimals.
fn exact_type(operator: &str, left: &Type, right: &Type) -> Type {
    let (Type::Decimal(of_left, left), Type::Decimal(of_right, right)) = (left, right) else {
        unreachable!("both are decimals");
    };
    if operator == "*" {
        return Type::Decimal(of_left + of_right + 1, left + right);
    }
    let (whole, scale) = ((of_left - left).max(of_right - right), *left.max(right));
    Type::Decimal(whole + scale + 1, scale)
}
