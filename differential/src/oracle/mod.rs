//! The naive oracle: evaluates a statement's tree row by row, by the SQL standard, with nested
//! loops and no optimisation, and shares no code with any engine.
//!
//! A query is evaluated inside a [`Scope`]: the row that its columns come from, and the scopes
//! around it. A correlated subquery runs again for every row. What has no columns from outside is
//! evaluated once.

mod aggregate;
mod arithmetic;
mod call;
mod cast;
mod expr;
mod from;
mod group;
mod predicate;
mod scope;
mod select;
mod sets;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::generate::ALL_ROWS;
use crate::table::TableSet;
use crate::tree::{Body, Common, Expr, From, Node, OrderColumn, Query, Statement, walk};
use crate::value::{Row, Value};

pub(crate) use scope::Scope;

/// Reasons why an evaluation row by row fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A number out of the range of its type.
    Overflow,
    /// Division by zero.
    DivisionByZero,
    /// A value that the target of a cast does not have.
    Cast,
    /// A scalar subquery of several rows.
    ManyRows,
}

/// The oracle's answer.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The rows, in order where the statement orders them.
    Rows(Vec<Row>),
    /// An error.
    Fails(Fault),
    /// The oracle does not know, for this reason.
    NotCovered(&'static str),
    /// SQL leaves it open, for this reason.
    Undetermined(&'static str),
}

/// Settings of the session that answers depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Minutes by which the time zone is ahead of UTC.
    pub zone_minutes: i32,
}

/// Reasons why an evaluation stops.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    Fault(Fault),
    NotCovered(&'static str),
    Undetermined(&'static str),
}

pub(crate) type Evaluated<T> = Result<T, Stop>;

/// Expressions and pairs of rows that one statement may cost. All of them may be rows of the answer, in the memory of
/// the oracle and of each engine.
const FUEL: u64 = 10_000_000;
/// The reason why a statement that costs more is not answered.
pub const TOO_MANY_ROWS: &str = "too many rows";
/// Iterations of a recursive query.
const ITERATIONS_MAX: usize = 200;

/// Answers a statement over these tables.
pub fn answer(statement: &Statement, tables: &TableSet) -> Outcome {
    let settings = Settings { zone_minutes: tables.zone_minutes };
    let mut oracle = Oracle {
        tables,
        settings,
        commons: HashMap::new(),
        closed: HashMap::new(),
        answers: HashMap::new(),
        fuel: FUEL,
    };
    match oracle.query(&statement.query, None) {
        Ok(rows) => Outcome::Rows(rows.to_vec()),
        Err(Stop::Fault(fault)) => Outcome::Fails(fault),
        Err(Stop::NotCovered(reason)) => Outcome::NotCovered(reason),
        Err(Stop::Undetermined(reason)) => Outcome::Undetermined(reason),
    }
}

pub(crate) struct Oracle<'a> {
    pub(crate) tables: &'a TableSet,
    pub(crate) settings: Settings,
    /// Rows of common table expressions by number.
    commons: HashMap<u32, Rc<Vec<Row>>>,
    /// True if a query has no columns from outside, by address.
    closed: HashMap<*const Query, bool>,
    /// Answers of queries that have none, by address.
    answers: HashMap<*const Query, Rc<Vec<Row>>>,
    fuel: u64,
}

impl Oracle<'_> {
    /// Pays for a step.
    pub(crate) fn step(&mut self) -> Evaluated<()> {
        self.fuel = self.fuel.checked_sub(1).ok_or(Stop::NotCovered(TOO_MANY_ROWS))?;
        Ok(())
    }

    /// Rows of a common table expression in scope.
    pub(crate) fn common(&self, number: u32) -> Evaluated<Rc<Vec<Row>>> {
        self.commons.get(&number).cloned().ok_or(Stop::NotCovered("an unknown table expression"))
    }

    /// Rows of a query; evaluated once if nothing in it comes from outside.
    pub(crate) fn query(
        &mut self,
        query: &Query,
        outer: Option<&Scope<'_>>,
    ) -> Evaluated<Rc<Vec<Row>>> {
        let address: *const Query = query;
        if let Some(rows) = self.answers.get(&address) {
            return Ok(Rc::clone(rows));
        }
        let is_closed = *self.closed.entry(address).or_insert_with(|| is_closed(query));
        let rows = Rc::new(self.evaluate(query, outer)?);
        if is_closed {
            self.answers.insert(address, Rc::clone(&rows));
        }
        Ok(rows)
    }

    fn evaluate(&mut self, query: &Query, outer: Option<&Scope<'_>>) -> Evaluated<Vec<Row>> {
        for common in &query.with {
            let rows = self.with(common, outer)?;
            self.commons.insert(common.number, Rc::new(rows));
        }
        let mut rows = match &query.body {
            Body::Select(select) => self.select(select, outer)?,
            Body::Set { operation, all, left, right } => {
                let left = self.query(left, outer)?;
                let right = self.query(right, outer)?;
                sets::combine(*operation, *all, &left, &right)
            }
            Body::Values { rows, .. } => rows.clone(),
        };
        if !query.order.is_empty() {
            rows.sort_by(|left, right| ordered(&query.order, left, right));
        }
        let offset = usize::try_from(query.offset.unwrap_or(0)).unwrap_or(usize::MAX);
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        if query.limit == Some(ALL_ROWS) && rows.len() > limit {
            return Err(Stop::NotCovered("more rows than the limit of all rows"));
        }
        Ok(rows.into_iter().skip(offset).take(limit).collect())
    }

    fn with(&mut self, common: &Common, outer: Option<&Scope<'_>>) -> Evaluated<Vec<Row>> {
        let mut all = self.query(&common.query, outer)?.to_vec();
        let Some(step) = &common.step else { return Ok(all) };
        let mut last = all.clone();
        for _ in 0..ITERATIONS_MAX {
            if last.is_empty() {
                return Ok(all);
            }
            self.commons.insert(common.number, Rc::new(last));
            last = self.evaluate(step, outer)?;
            all.extend(last.iter().cloned());
            self.fuel = self.fuel.saturating_sub(last.len() as u64 * 100);
        }
        Err(Stop::NotCovered("a recursion without an end"))
    }
}

fn ordered(order: &[OrderColumn], left: &Row, right: &Row) -> std::cmp::Ordering {
    let keys = order
        .iter()
        .map(|key| scope::directed(&left[key.column], &right[key.column], key.direction));
    keys.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
}

/// True if every column and every table expression of the query is brought into scope by itself.
/// A recursive term sees other rows in every iteration, so it is not closed.
fn is_closed(query: &Query) -> bool {
    let (mut brought, mut used) = (BTreeSet::new(), BTreeSet::new());
    let (mut defined, mut read) = (BTreeSet::new(), BTreeSet::new());
    walk(&mut query.clone(), &mut |node| match node {
        Node::Query(query) => defined.extend(query.with.iter().map(|common| common.number)),
        Node::From(from) => match from {
            From::Table { relation, .. }
            | From::Derived { relation, .. }
            | From::Unnest { relation, .. }
            | From::Series { relation, .. } => {
                brought.insert(*relation);
            }
            From::Common { common, relation, .. } => {
                brought.insert(*relation);
                read.insert(*common);
            }
            From::Join { .. } => {}
        },
        Node::Expr(Expr::Column(id, _)) => {
            used.insert(id.relation);
        }
        Node::Expr(_) | Node::Select(_) => {}
    });
    used.is_subset(&brought) && read.is_subset(&defined)
}

/// SQL equality of values: none where one is null.
pub(crate) fn equal(left: &Value, right: &Value) -> Option<bool> {
    (!left.is_null() && !right.is_null()).then(|| left.same(right))
}
