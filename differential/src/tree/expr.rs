//! Expressions.

use super::{ColumnId, Direction, Query};
use crate::types::Type;
use crate::value::Value;

/// An expression.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A column in scope.
    Column(ColumnId, Type),
    /// A constant.
    Literal(Value, Type),
    /// A number that is written without its type: `1.25`. It stands beside decimals, and is one there.
    Written(Value, Type),
    /// The value of a key of GROUP BY, by place.
    Key(usize, Type),
    /// `grouping(key)`: 1 where the key is not in the row's grouping set.
    Grouping(usize),
    /// `NOT`
    Not(Box<Expr>),
    /// `AND`
    And(Box<Expr>, Box<Expr>),
    /// `OR`
    Or(Box<Expr>, Box<Expr>),
    /// `IS [NOT] NULL`
    IsNull(Box<Expr>, bool),
    /// `IS [NOT] TRUE`, `FALSE` or `UNKNOWN`
    IsTruth {
        /// The boolean.
        of: Box<Expr>,
        /// True, false, or none for unknown.
        truth: Option<bool>,
        /// True with NOT.
        negated: bool,
    },
    /// `=`, `<>`, `<`, `<=`, `>` or `>=`
    Compare(&'static str, Box<Expr>, Box<Expr>),
    /// `IS [NOT] DISTINCT FROM`
    Distinct {
        /// The left side.
        left: Box<Expr>,
        /// The right side.
        right: Box<Expr>,
        /// True with NOT.
        negated: bool,
    },
    /// `[NOT] BETWEEN`
    Between(Box<[Expr; 3]>, bool),
    /// `[NOT] IN (a, b)`
    InList(Box<Expr>, Vec<Expr>, bool),
    /// `[NOT] LIKE` or `ILIKE`
    Like {
        /// The text.
        of: Box<Expr>,
        /// The pattern.
        pattern: String,
        /// True with NOT.
        negated: bool,
        /// `ILIKE`
        insensitive: bool,
    },
    /// `+`, `-`, `*`, `/` or `%`
    Arithmetic(&'static str, Box<Expr>, Box<Expr>, Type),
    /// `-x`
    Negate(Box<Expr>, Type),
    /// `CASE`
    Case {
        /// The value that the WHEN values are compared with.
        operand: Option<Box<Expr>>,
        /// WHEN and THEN.
        whens: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
        /// The type.
        of: Type,
    },
    /// A scalar function.
    Call(Call, Vec<Expr>, Type),
    /// `CAST` or `TRY_CAST`
    Cast {
        /// The value.
        of: Box<Expr>,
        /// The target.
        to: Type,
        /// True if it gives null where it would fail.
        is_try: bool,
    },
    /// An aggregate.
    Aggregate(Box<Aggregate>),
    /// A window function.
    Window(Box<Window>),
    /// `(SELECT ...)`
    Scalar(Box<Query>, Type),
    /// `[NOT] EXISTS`
    Exists(Box<Query>, bool),
    /// `[NOT] IN (SELECT ...)`
    InQuery(Box<Expr>, Box<Query>, bool),
    /// `x < ANY (SELECT ...)` or `ALL`
    Quantified {
        /// The comparison.
        operator: &'static str,
        /// The value.
        of: Box<Expr>,
        /// `ALL`
        all: bool,
        /// The subquery.
        query: Box<Query>,
    },
}

/// Scalar functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `coalesce`
    Coalesce,
    /// `nullif`
    NullIf,
    /// `greatest`
    Greatest,
    /// `least`
    Least,
    /// `abs`
    Abs,
    /// `||`
    Concat,
    /// `character_length`
    Length,
    /// `upper`
    Upper,
    /// `lower`
    Lower,
    /// `substr(text, first, count)`
    Substr,
    /// `replace`
    Replace,
    /// `reverse`
    Reverse,
    /// `extract(year from x)`
    Year,
    /// `extract(month from x)`
    Month,
    /// `extract(day from x)`
    Day,
    /// `extract(hour from x)`
    Hour,
    /// `date_trunc('month', x)`
    TruncateToMonth,
    /// `date_trunc('day', x)`
    TruncateToDay,
    /// `x + interval 'n days'`: the second argument is a literal
    AddDays,
    /// `to_timestamp(text)`
    ToTimestamp,
    /// `array_length`
    ArrayLength,
    /// `x[n]`
    Element,
}

/// A key of an order within an expression.
pub(crate) type OrderKey = (Expr, Direction);

/// An aggregate.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The function's SQL name.
    pub function: &'static str,
    /// The arguments; none for `count(*)`.
    pub arguments: Vec<Expr>,
    /// `DISTINCT`
    pub distinct: bool,
    /// `FILTER`
    pub filter: Option<Expr>,
    /// `ORDER BY`
    pub order: Vec<OrderKey>,
    /// The type.
    pub of: Type,
}

/// A window function, or an aggregate over a window.
#[derive(Clone, Debug)]
pub struct Window {
    /// The function's SQL name.
    pub function: &'static str,
    /// The arguments.
    pub arguments: Vec<Expr>,
    /// True if the function is an aggregate.
    pub is_aggregate: bool,
    /// `FILTER`
    pub filter: Option<Expr>,
    /// `IGNORE NULLS`
    pub ignores_nulls: bool,
    /// `PARTITION BY`
    pub partition: Vec<Expr>,
    /// `ORDER BY`
    pub order: Vec<OrderKey>,
    /// The frame as spelled.
    pub frame: Option<Frame>,
    /// The type.
    pub of: Type,
}

/// A window frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The unit that its bounds count.
    pub unit: FrameUnit,
    /// The first row.
    pub start: Bound,
    /// The last row.
    pub end: Bound,
}

/// The unit that the bounds of a frame count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUnit {
    /// Rows.
    Rows,
    /// Values of the only key.
    Range,
    /// Groups of peers.
    Groups,
}

/// A bound of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `UNBOUNDED PRECEDING`
    UnboundedPreceding,
    /// `n PRECEDING`
    Preceding(u32),
    /// `CURRENT ROW`
    CurrentRow,
    /// `n FOLLOWING`
    Following(u32),
    /// `UNBOUNDED FOLLOWING`
    UnboundedFollowing,
}

impl Expr {
    /// The null of a type.
    pub fn null(of: &Type) -> Self {
        Self::Literal(Value::Null, of.clone())
    }

    /// An integer of 64 bits.
    pub fn int(number: i64) -> Self {
        Self::Literal(Value::Int(number.into()), Type::I64)
    }

    /// A comparison.
    pub fn compare(operator: &'static str, left: Self, right: Self) -> Self {
        Self::Compare(operator, Box::new(left), Box::new(right))
    }

    /// Both.
    pub fn and(left: Self, right: Self) -> Self {
        Self::And(Box::new(left), Box::new(right))
    }

    /// A cast that may fail.
    pub fn cast(of: Self, to: Type) -> Self {
        Self::Cast { of: Box::new(of), to, is_try: false }
    }

    /// The type.
    pub fn of_type(&self) -> Type {
        match self {
            Self::Column(_, of)
            | Self::Literal(_, of)
            | Self::Written(_, of)
            | Self::Key(_, of)
            | Self::Arithmetic(_, _, _, of)
            | Self::Negate(_, of)
            | Self::Case { of, .. }
            | Self::Call(_, _, of)
            | Self::Cast { to: of, .. }
            | Self::Scalar(_, of) => of.clone(),
            Self::Aggregate(aggregate) => aggregate.of.clone(),
            Self::Window(window) => window.of.clone(),
            Self::Grouping(_) => Type::I32,
            _ => Type::Bool,
        }
    }

    /// True if an aggregate stands in it, outside of subqueries and the arguments of windows.
    pub fn has_aggregate(&self) -> bool {
        match self {
            Self::Aggregate(_) | Self::Key(..) | Self::Grouping(_) => true,
            other => other.children().into_iter().any(Self::has_aggregate),
        }
    }

    /// Returns true if a window function stands in it, outside of subqueries.
    pub fn has_window(&self) -> bool {
        matches!(self, Self::Window(_)) || self.children().into_iter().any(Self::has_window)
    }

    /// The subquery directly in this expression.
    pub fn subquery(&self) -> Option<&Query> {
        match self {
            Self::Scalar(query, _)
            | Self::Exists(query, _)
            | Self::InQuery(_, query, _)
            | Self::Quantified { query, .. } => Some(query),
            _ => None,
        }
    }

    /// The subquery, as [`Self::subquery`] gives it, to change.
    pub fn subquery_mut(&mut self) -> Option<&mut Query> {
        match self {
            Self::Scalar(query, _)
            | Self::Exists(query, _)
            | Self::InQuery(_, query, _)
            | Self::Quantified { query, .. } => Some(query),
            _ => None,
        }
    }
}
