//! The tree of a statement: queries, what they read, and their expressions.
//!
//! The generator makes it, the printer turns it into SQL text, the oracle evaluates it, and the
//! reducer cuts it down. A column is named by the relation that brings it into scope, and every
//! relation of a statement has a number of its own, so that no name is ever ambiguous.

mod children;
mod expr;
mod walk;

pub use expr::{Aggregate, Bound, Call, Expr, Frame, FrameUnit, Window};
pub use walk::{Node, walk};

use crate::types::Type;
use crate::value::Row;

/// A column of a relation in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId {
    /// The number of the relation.
    pub relation: u32,
    /// The place among the columns of the relation.
    pub column: u32,
    /// True if it is the merged key of a `USING` or `NATURAL` join, which has no relation in SQL.
    pub merged: bool,
}

/// A statement and what is fixed about its answer.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The query.
    pub query: Query,
    /// The meaning of an error.
    pub errors: Errors,
}

/// True if a statement may, or must, fail where an evaluation row by row fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// No error is expected; one that the oracle finds may be found or not.
    Lenient,
    /// The statement computes with edge values: an engine that evaluates early may fail more often.
    Edge,
    /// The statement computes with edge values where every engine must evaluate: it fails if the
    /// oracle does.
    Strict,
}

/// `WITH ... body ORDER BY ... LIMIT ... OFFSET ...`.
#[derive(Clone, Debug)]
pub struct Query {
    /// Common table expressions.
    pub with: Vec<Common>,
    /// The part that makes its rows.
    pub body: Body,
    /// Keys of its order, as places among its columns.
    pub order: Vec<OrderColumn>,
    /// The most rows it returns.
    pub limit: Option<u64>,
    /// Rows left out first.
    pub offset: Option<u64>,
}

/// A common table expression.
#[derive(Clone, Debug)]
pub struct Common {
    /// The number: it is named `w<number>`.
    pub number: u32,
    /// Types of its columns.
    pub types: Vec<Type>,
    /// The query, or the first term of a recursive one.
    pub query: Query,
    /// The recursive term.
    pub step: Option<Query>,
}

/// The body of a query.
#[derive(Clone, Debug)]
pub enum Body {
    /// A SELECT.
    Select(Box<Select>),
    /// A set operation.
    Set {
        /// The kind of the set operation.
        operation: SetOperation,
        /// True if it keeps duplicates.
        all: bool,
        /// The left arm.
        left: Box<Query>,
        /// The right arm.
        right: Box<Query>,
    },
    /// VALUES.
    Values {
        /// Types of the columns.
        types: Vec<Type>,
        /// The rows.
        rows: Vec<Row>,
    },
}

/// Set operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperation {
    /// `UNION`
    Union,
    /// `INTERSECT`
    Intersect,
    /// `EXCEPT`
    Except,
}

/// A SELECT without order and limit.
#[derive(Clone, Debug)]
pub struct Select {
    /// True if its columns are named `c0`, `c1`, ...; otherwise each is named by its expression.
    pub named: bool,
    /// True if duplicates are removed.
    pub distinct: bool,
    /// The columns.
    pub items: Vec<Expr>,
    /// The relation it reads; one row without columns if absent.
    pub from: Option<From>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY. Absent with aggregates in the items: one group of all rows.
    pub group: Option<Group>,
    /// HAVING.
    pub having: Option<Expr>,
    /// QUALIFY.
    pub qualify: Option<Expr>,
}

/// GROUP BY.
#[derive(Clone, Debug)]
pub struct Group {
    /// The keys.
    pub keys: Vec<Expr>,
    /// The way in which they form grouping sets.
    pub sets: GroupingSets,
}

/// The grouping sets of a GROUP BY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupingSets {
    /// One set of all keys.
    Plain,
    /// Every prefix of the keys.
    Rollup,
    /// Every subset of the keys.
    Cube,
    /// These sets of keys.
    Listed(Vec<Vec<usize>>),
}

/// The relation that a SELECT reads.
#[derive(Clone, Debug)]
pub enum From {
    /// A table of the set.
    Table {
        /// The place in the set.
        table: usize,
        /// The number in the statement.
        relation: u32,
    },
    /// A common table expression.
    Common {
        /// The number.
        common: u32,
        /// Types of its columns.
        types: Vec<Type>,
        /// The number of this reference.
        relation: u32,
    },
    /// A query in parentheses.
    Derived {
        /// The query.
        query: Box<Query>,
        /// True if it may refer to what stands left of it.
        lateral: bool,
        /// The number.
        relation: u32,
    },
    /// The elements of a list of a relation to its left.
    Unnest {
        /// The list.
        list: Expr,
        /// The relation's number.
        relation: u32,
    },
    /// `generate_series(first, last)`.
    Series {
        /// The first number.
        first: i64,
        /// The last number, included.
        last: i64,
        /// The relation's number.
        relation: u32,
    },
    /// A join.
    Join {
        /// The kind of join: it decides what becomes of rows without a partner.
        kind: JoinKind,
        /// The left side.
        left: Box<From>,
        /// The right side.
        right: Box<From>,
        /// The condition.
        on: JoinOn,
    },
}

/// Kinds of joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Rows with partners.
    Inner,
    /// Rows with partners, and the left rows without.
    Left,
    /// Rows with partners, and the right rows without.
    Right,
    /// Rows with partners, and the rows without of both sides.
    Full,
    /// Every pair.
    Cross,
    /// Left rows with a partner, once.
    LeftSemi,
    /// Left rows without a partner.
    LeftAnti,
}

/// Conditions of joins.
#[derive(Clone, Debug)]
pub enum JoinOn {
    /// None: every pair.
    Nothing,
    /// A predicate.
    On(Expr),
    /// Equal columns of the same name: left, right and the merged column.
    Using(Vec<(ColumnId, ColumnId, Type)>),
    /// Columns as in `Using`, spelled `NATURAL`.
    Natural(Vec<(ColumnId, ColumnId, Type)>),
}

/// A direction and where nulls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Greatest first.
    pub descending: bool,
    /// As spelled; without, nulls count as the greatest.
    pub nulls_first: Option<bool>,
}

/// A key of a query's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderColumn {
    /// The place of the column, from 0.
    pub column: usize,
    /// The direction.
    pub direction: Direction,
}

impl Direction {
    /// Returns true if nulls come first.
    pub fn is_nulls_first(self) -> bool {
        self.nulls_first.unwrap_or(self.descending)
    }
}

impl Query {
    /// A query of this body alone.
    pub fn of(body: Body) -> Self {
        Self { with: Vec::new(), body, order: Vec::new(), limit: None, offset: None }
    }

    /// Types of its columns.
    pub fn types(&self) -> Vec<Type> {
        match &self.body {
            Body::Select(select) => select.items.iter().map(Expr::of_type).collect(),
            Body::Set { left, .. } => left.types(),
            Body::Values { types, .. } => types.clone(),
        }
    }
}

impl Select {
    /// These items of a relation.
    pub fn of(items: Vec<Expr>, from: Option<From>) -> Self {
        Self {
            named: true,
            distinct: false,
            items,
            from,
            filter: None,
            group: None,
            having: None,
            qualify: None,
        }
    }

    /// Makes it a query.
    pub fn query(self) -> Query {
        Query::of(Body::Select(Box::new(self)))
    }

    /// Returns true if it has groups: a GROUP BY, or aggregates without one.
    pub fn is_grouped(&self) -> bool {
        self.group.is_some()
            || self.items.iter().chain(&self.having).any(|item| item.has_aggregate())
    }
}
