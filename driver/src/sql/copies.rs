//! `EXCEPT ALL` and `INTERSECT ALL` count copies.
//!
//! DataFusion plans them as anti and semi joins on all columns, in which one row on the right takes
//! away, or lets through, every copy on the left (#12955, #12956). By the standard a row that is
//! *m* times on the left and *n* times on the right is max(0, m - n) times in `EXCEPT ALL`, and
//! min(m, n) times in `INTERSECT ALL`. So copies are numbered on both sides, and the joins compare
//! the number too:
//!
//! ```text
//! left  ──row_number() over (partition by all columns)──┐
//!                                                       ├─ anti / semi join on columns and number
//! right ──row_number() over (partition by all columns)──┘
//! ```
//!
//! Copy *k* on the left meets copy *k* on the right: the first min(m, n) copies have a partner. Nulls
//! are equal to each other in partitions and in this join. Rejected: counting groups and repeating
//! rows, which has to build each row as many times again.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, NullEquality, Result, TableReference};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Distinct, Expr, ExprFunctionExt, Join, JoinType, LogicalPlan, Projection, Window, WindowFrame,
};
use datafusion::optimizer::AnalyzerRule;

use super::reserved::reserved;

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct CountedCopies;

impl AnalyzerRule for CountedCopies {
    fn name(&self) -> &'static str {
        "counted_copies"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let counted = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if counts_copies(&join) => counted(join).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        });
        counted.data()
    }
}

/// True if a join is DataFusion's plan of `EXCEPT ALL` or `INTERSECT ALL`. Of the forms without
/// `ALL`, the left side is distinct: there is nothing to count.
fn counts_copies(join: &Join) -> bool {
    let compares_all = join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && join.on.len() == join.right.schema().fields().len();
    let is_set = matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi);
    is_set && compares_all && !matches!(*join.left, LogicalPlan::Distinct(Distinct::All(_)))
}

fn counted(join: Join) -> Result<LogicalPlan> {
    let original = Arc::clone(&join.schema);
    let (left, left_copy) = numbered(join.left, &reserved("left"))?;
    let (right, right_copy) = numbered(join.right, &reserved("right"))?;
    let mut on = join.on;
    on.push((left_copy, right_copy));
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let columns = original.columns().into_iter().map(Expr::Column).collect();
    let plan = Projection::try_new(columns, Arc::new(LogicalPlan::Join(joined)))?;
    Ok(LogicalPlan::Projection(plan))
}

/// The rows of a plan, each with the number of its copy.
fn numbered(plan: Arc<LogicalPlan>, relation: &str) -> Result<(LogicalPlan, Expr)> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let mut all: Vec<Expr> = columns.collect();
    let number = row_number()
        .partition_by(all.clone())
        .window_frame(WindowFrame::new(Some(true)))
        .build()?;
    let window = Window::try_new(vec![number], plan)?;
    let at = window.schema.fields().len() - 1;
    let number = Expr::Column(Column::from(window.schema.qualified_field(at)));
    let relation = TableReference::bare(relation);
    let copy = Column::new(Some(relation.clone()), reserved("copy"));
    all.push(number.alias_qualified(Some(relation), reserved("copy")));
    let plan = Projection::try_new(all, Arc::new(LogicalPlan::Window(window)))?;
    Ok((LogicalPlan::Projection(plan), Expr::Column(copy)))
}
