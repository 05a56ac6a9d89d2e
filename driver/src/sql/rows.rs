//! `(a, b) IN (SELECT x, y ...)`, which DataFusion refuses, with `EXISTS`.
//!
//! A row equals another where all of its values do, is different where some value is, and else null:
//! `a = x AND b = y` in three values. So the comparison is that of one value with the subquery:
//!
//! ```text
//! CASE WHEN EXISTS (q WHERE a = v0 AND b = v1)             THEN TRUE
//!      WHEN EXISTS (q WHERE (a = v0 AND b = v1) IS NULL)   THEN NULL
//!      ELSE FALSE END
//! ```

use std::ops::ControlFlow;

use datafusion::logical_expr::{Expr as Condition, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, SetExpr, TableFactor, UnaryOperator, VisitMut as _,
    VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::GnistDialect;
use super::reserved::reserved;
use super::row_values::row_of;

/// The end of the reserved name of the rows of the subquery.
const RELATION: &str = "row";

/// Replaces a row compared with a subquery. Returns the number of expressions in the copies of the subquery.
pub(super) fn row_in_subquery(expr: &mut Expr) -> usize {
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return 0 };
    let Some(values) = row_of(row) else { return 0 };
    let equal = values.iter().enumerate().map(|(at, value)| Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(value.clone()))),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::CompoundIdentifier(vec![relation(), column(at)])),
    });
    let Some(equal) = equal.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    }) else {
        return 0;
    };
    let mut copied = 0;
    let _ = visit_expressions(subquery.as_ref(), |_| {
        copied += 2;
        ControlFlow::<()>::Continue(())
    });
    let unknown = Expr::IsNull(Box::new(Expr::Nested(Box::new(equal.clone()))));
    let mut found = template(values.len());
    let conditions = vec![equal, unknown];
    let mut fill = Fill { conditions, subquery: subquery.as_ref().clone() };
    let _ = found.visit(&mut fill);
    *expr = if *negated {
        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(found))) }
    } else {
        found
    };
    copied
}

/// The condition of the subquery of a row, in the plan of `EXISTS`.
pub(super) fn condition(subquery: &LogicalPlan) -> Option<&Condition> {
    let LogicalPlan::Projection(projection) = subquery else { return None };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return None };
    match filter.input.as_ref() {
        LogicalPlan::SubqueryAlias(alias) if alias.alias.table() == reserved(RELATION) => {
            Some(&filter.predicate)
        }
        _ => None,
    }
}

/// A name that no column of a domain has ([`super::subqueries`]).
fn column(at: usize) -> Ident {
    Ident::with_quote('"', reserved(format_args!("v{at}")))
}

fn relation() -> Ident {
    Ident::with_quote('"', reserved(RELATION))
}

/// The expression, with one-row subqueries and conditions that are always true.
fn template(columns: usize) -> Expr {
    let columns: Vec<String> = (0..columns).map(|at| column(at).to_string()).collect();
    let columns = columns.join(", ");
    let exists =
        format!("exists (select 1 from (select 1) as {}({columns}) where true)", relation());
    let text = format!("case when {exists} then true when {exists} then null else false end");
    let parser = Parser::new(&GnistDialect).try_with_sql(&text);
    parser.and_then(|mut parser| parser.parse_expr()).expect("the text above is an expression")
}

/// Puts the subquery and the conditions in their places, in order.
struct Fill {
    conditions: Vec<Expr>,
    subquery: Query,
}

impl VisitorMut for Fill {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Exists { subquery, .. } = expr else { return ControlFlow::Continue(()) };
        let SetExpr::Select(select) = subquery.body.as_mut() else {
            return ControlFlow::Break(());
        };
        if self.conditions.is_empty() {
            return ControlFlow::Break(());
        }
        select.selection = Some(self.conditions.remove(0));
        for table in &mut select.from {
            if let TableFactor::Derived { subquery, .. } = &mut table.relation {
                *subquery.as_mut() = self.subquery.clone();
            }
        }
        ControlFlow::Continue(())
    }
}
