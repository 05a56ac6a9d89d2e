//! A bound on the operators that CTEs and views are written out to.
//!
//! DataFusion puts the plan of a CTE or a view wherever it is read, and its SQL planner and every rule walk
//! all copies. A CTE that reads the one before it twice so doubles the plan, and thirty of them are a
//! short text. So the copies are counted on the parsed statement, before anything is planned:
//!
//! ```text
//! operators of a query = its SELECTs and tables + those of its subqueries
//!                      + those of each CTE and view, for every place that reads it
//! ```
//!
//! Operators of the text itself are not counted: [`mod@super::parse`] bounds them.
//!
//! DataFusion looks for the tables of a CTE twice, and so 2^n times in n CTEs inside of each other. Their
//! levels are bounded too.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    ObjectName, Query, Select, TableFactor, Visit as _, Visitor,
};

use super::key_names::normalized;
use super::parse::OPERATORS_MAX;
use super::subqueries::references::query_of;

/// CTEs inside of each other.
const LEVELS_MAX: usize = 16;

/// Operators of the plans of views, by the names under which a statement reads them.
pub(crate) type ViewSizes = HashMap<String, usize>;

/// Refuses a statement whose CTEs and views are written out to too many operators.
///
/// # Errors
/// `Plan`, with the limit.
pub(crate) fn refuse_repeats(statement: &Statement, views: &ViewSizes) -> Result<()> {
    let mut count = Count { views, frames: vec![Frame::default()], written: 0 };
    let outcome = match statement {
        Statement::Statement(statement) => statement.visit(&mut count),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => query.visit(&mut count),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(explain) => return refuse_repeats(&explain.statement, views),
        Statement::CreateExternalTable(_) | Statement::Reset(_) => ControlFlow::Continue(()),
    };
    match outcome {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => {
            Err(DataFusionError::Plan(format!("the statement is too deep: {what}")))
        }
    }
}

/// Operators of a plan, each as often as it is planned. Parts that are shared are looked at once.
///
/// # Errors
/// Never: those of the walk.
pub(crate) fn operators_of(plan: &LogicalPlan) -> Result<usize> {
    operators(plan, &mut HashMap::new())
}

fn operators(plan: &LogicalPlan, known: &mut HashMap<*const LogicalPlan, usize>) -> Result<usize> {
    let at = std::ptr::from_ref(plan);
    if let Some(found) = known.get(&at) {
        return Ok(*found);
    }
    let mut found = 1_usize;
    for input in plan.inputs() {
        found = found.saturating_add(operators(input, known)?);
    }
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Some(query) = query_of(expr) {
                found = found.saturating_add(operators(&query.subquery, known)?);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    known.insert(at, found);
    Ok(found)
}

/// A query whose parts are being counted.
#[derive(Debug, Default)]
struct Frame {
    /// The names of its CTEs, in order. They are the first queries in it.
    names: Vec<String>,
    /// Operators of those that are counted.
    sizes: Vec<usize>,
    is_recursive: bool,
    /// Operators of the query itself, written out.
    size: usize,
    /// CTEs that it stands in.
    levels: usize,
}

impl Frame {
    /// True while the queries of its CTEs are counted.
    fn is_defining(&self) -> bool {
        self.sizes.len() < self.names.len()
    }

    /// The operators that reading a name adds, if the name is one of its CTEs.
    fn size_of(&self, name: &str) -> Option<usize> {
        let defined = &self.names[..self.sizes.len()];
        if let Some(at) = defined.iter().rposition(|own| own == name) {
            return Some(self.sizes[at]);
        }
        // A recursive CTE reads its rows of the round before.
        let being_defined = self.names.get(self.sizes.len());
        let is_own = self.is_recursive && being_defined.is_some_and(|own| own == name);
        is_own.then_some(0)
    }
}

/// A walk over a statement.
struct Count<'a> {
    views: &'a ViewSizes,
    /// The queries around, the innermost last. The first is the statement.
    frames: Vec<Frame>,
    /// Operators of the text so far.
    written: usize,
}

impl Count<'_> {
    /// Counts an operator of the text.
    fn operator(&mut self) {
        self.written += 1;
        if let Some(frame) = self.frames.last_mut() {
            frame.size = frame.size.saturating_add(1);
        }
    }

    /// Counts the copy of a CTE or a view that a table of this name is.
    fn read(&mut self, name: &ObjectName) -> ControlFlow<String> {
        let parts = name.0.iter().map(|part| part.as_ident().map(normalized));
        let Some(parts) = parts.collect::<Option<Vec<String>>>() else {
            return ControlFlow::Continue(());
        };
        let name = parts.join(".");
        let of_cte = self.frames.iter().rev().find_map(|frame| frame.size_of(&name));
        let size = of_cte.or_else(|| self.views.get(&name).copied()).unwrap_or(0);
        self.add(size)
    }

    /// Adds operators to the innermost query.
    fn add(&mut self, size: usize) -> ControlFlow<String> {
        let Some(frame) = self.frames.last_mut() else { return ControlFlow::Continue(()) };
        frame.size = frame.size.saturating_add(size);
        if frame.size.saturating_sub(self.written) > OPERATORS_MAX {
            return ControlFlow::Break(format!(
                "its CTEs and views, at every place that reads them, have more than {OPERATORS_MAX} \
                 operators; write the rows of one to a table (`CREATE TABLE t AS ...`) and read that"
            ));
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Count<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let around = self.frames.last();
        let levels = around.map_or(0, |around| around.levels + usize::from(around.is_defining()));
        if levels > LEVELS_MAX {
            return ControlFlow::Break(format!(
                "its CTEs stand inside of each other, and {LEVELS_MAX} levels are the most; write the \
                 inner ones in front of the outer ones"
            ));
        }
        let mut frame = Frame { levels, ..Frame::default() };
        if let Some(with) = &query.with {
            let names = with.cte_tables.iter().map(|cte| normalized(&cte.alias.name));
            frame.names = names.collect();
            frame.is_recursive = with.recursive;
        }
        self.frames.push(frame);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        let Some(done) = self.frames.pop() else { return ControlFlow::Continue(()) };
        if let Some(around) = self.frames.last_mut()
            && around.is_defining()
        {
            around.sizes.push(done.size);
            return ControlFlow::Continue(());
        }
        self.add(done.size)
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<String> {
        self.operator();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        self.operator();
        match table {
            TableFactor::Table { name, args: None, .. } => self.read(name),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::sql::parse;

    /// CTEs, each of which reads the one before it twice.
    fn doubled(n: usize) -> String {
        let mut text = "with c0 as (select 1 as x)".to_owned();
        for at in 1..n {
            let below = at - 1;
            let _ = write!(text, ", c{at} as (select a.x from c{below} a, C{below} b)");
        }
        text
    }

    fn is_refused(text: &str) -> bool {
        match parse(text) {
            Ok(_) => false,
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("the statement is too deep: its CTEs"), "{error}");
                true
            }
        }
    }

    #[test]
    fn doubled_ctes_are_refused_before_they_are_planned() {
        let of = |n: usize| format!("{} select count(*) from c{}", doubled(n), n - 1);
        assert!(!is_refused(&of(12)));
        for n in [17, 25, 200] {
            assert!(is_refused(&of(n)), "{n}");
            assert!(is_refused(&format!("explain {}", of(n))), "{n}");
            assert!(is_refused(&format!("create view v as {}", of(n))), "{n}");
            assert!(is_refused(&format!("prepare p as {}", of(n))), "{n}");
            assert!(is_refused(&format!("copy ({}) to 'x.csv'", of(n))), "{n}");
            assert!(is_refused(&format!("select (select count(*) from ({}) q)", of(n))), "{n}");
            // Nobody reads the last one, and it is planned all the same.
            assert!(is_refused(&format!("{} select 1", doubled(n))), "{n}");
            let unioned = of(n).replacen("with", "with recursive", 1);
            assert!(is_refused(&unioned), "{n}");
        }
    }

    #[test]
    fn what_is_long_and_not_repeated_is_not_refused() {
        let chain: Vec<String> =
            (1..400).map(|at| format!("c{at} as (select * from c{})", at - 1)).collect();
        let chain = format!("with c0 as (select 1), {} select * from c399", chain.join(", "));
        let unions = vec!["select 1"; 40_000].join(" union all ");
        // A recursive CTE reads itself, and another scope's name is another CTE.
        let rounds = "with recursive r as (select 1 as n union all select n + 1 from r a where n < 3) \
                      select * from r, r b";
        let scopes = "select * from (with a as (select 1) select * from a) x, \
                      (with a as (select 2) select * from a, a b) y";
        for text in [chain.as_str(), unions.as_str(), rounds, scopes] {
            assert!(!is_refused(text), "{}", &text[..40]);
        }
    }

    #[test]
    fn ctes_inside_of_each_other_have_a_limit() {
        let nested = |n: usize| {
            (0..n).fold("select 1".to_owned(), |query, at| {
                format!("with c{at} as ({query}) select * from c{at}")
            })
        };
        assert!(!is_refused(&nested(LEVELS_MAX)));
        assert!(is_refused(&nested(LEVELS_MAX + 1)));
        assert!(is_refused(&nested(100)));
    }

    #[test]
    fn views_count_at_every_place() {
        let statement = parse("select * from v a, S.V b").expect("parsed").pop_front();
        let statement = statement.expect("one");
        let sizes =
            |size: usize| ViewSizes::from([("v".to_owned(), size), ("s.v".to_owned(), size)]);
        assert!(refuse_repeats(&statement, &sizes(OPERATORS_MAX / 2)).is_ok());
        assert!(refuse_repeats(&statement, &sizes(OPERATORS_MAX / 2 + 10)).is_err());
        assert!(refuse_repeats(&statement, &sizes(usize::MAX)).is_err());
    }
}
