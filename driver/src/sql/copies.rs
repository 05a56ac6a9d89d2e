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
//!
//! Wide rows are partitioned and compared by one key, the bytes of [`row_key()`]: DataFusion's planner looks at every
//! pair of columns, and at each of them again, and took 15 seconds for 400.

use std::sync::Arc;

use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, NullEquality, Result, TableReference};
use datafusion::functions::core::expr_fn;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Distinct, Expr, ExprFunctionExt, ExprSchemable, Join, JoinType, LogicalPlan, Projection,
    Window, WindowFrame,
};
use datafusion::optimizer::AnalyzerRule;
use gnist_operators::functions::normal_nested;
use gnist_operators::functions::row_key::row_key;

use super::reserved::reserved;
use crate::numbers::normal_form;

/// Columns from which rows are compared by a key.
const WIDE_MIN: usize = 64;

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
    let is_by_key = has_wide_rows(&join)?;
    let (left, left_key, left_copy) = numbered(join.left, &reserved("left"), is_by_key)?;
    let (right, right_key, right_copy) = numbered(join.right, &reserved("right"), is_by_key)?;
    let mut on = match (left_key, right_key) {
        (Some(left), Some(right)) => vec![(left, right)],
        _ => join.on,
    };
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
    // Of copies that differ in form alone, as 0.0 and -0.0 do, which ones are left depends on the order of rows.
    let columns = original.iter().map(|(relation, field)| {
        let column = Expr::Column(Column::new(relation.cloned(), field.name()));
        match normal_form(field.data_type()) {
            Some(normal) => {
                normal.call(vec![column]).alias_qualified(relation.cloned(), field.name())
            }
            None => column,
        }
    });
    let plan = Projection::try_new(columns.collect(), Arc::new(LogicalPlan::Join(joined)))?;
    Ok(LogicalPlan::Projection(plan))
}

/// Returns true if rows are so wide that they are compared by a key: the columns of both sides are of the same
/// types then, and have keys.
fn has_wide_rows(join: &Join) -> Result<bool> {
    if join.on.len() < WIDE_MIN {
        return Ok(false);
    }
    for (left, right) in &join.on {
        let of_both = left.get_type(join.left.schema())?;
        let sort = SortField::new(of_both.clone());
        if of_both != right.get_type(join.right.schema())?
            || !RowConverter::supports_fields(&[sort])
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows of a plan, each with the number of its copy. Returns the column of the number, and before it that
/// of the key, if the rows have one.
fn numbered(
    plan: Arc<LogicalPlan>,
    relation: &str,
    is_by_key: bool,
) -> Result<(LogicalPlan, Option<Expr>, Expr)> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let mut all: Vec<Expr> = columns.collect();
    let relation = TableReference::bare(relation);
    let (plan, partition_by, key) = if is_by_key {
        let key = key_of(&all).alias_qualified(Some(relation.clone()), reserved("key"));
        let with_key = all.iter().cloned().chain([key]).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(with_key, plan)?);
        let key = Expr::Column(Column::new(Some(relation.clone()), reserved("key")));
        all.push(key.clone());
        (Arc::new(plan), vec![key.clone()], Some(key))
    } else {
        (plan, all.clone(), None)
    };
    let number = row_number()
        .partition_by(partition_by)
        .window_frame(WindowFrame::new(Some(true)))
        .build()?;
    let window = Window::try_new(vec![number], plan)?;
    let at = window.schema.fields().len() - 1;
    let number = Expr::Column(Column::from(window.schema.qualified_field(at)));
    let copy = Column::new(Some(relation.clone()), reserved("copy"));
    all.push(number.alias_qualified(Some(relation), reserved("copy")));
    let plan = Projection::try_new(all, Arc::new(LogicalPlan::Window(window)))?;
    Ok((LogicalPlan::Projection(plan), key, Expr::Column(copy)))
}

/// The key of a row. Floats and intervals that are equal have one form in it.
fn key_of(columns: &[Expr]) -> Expr {
    let row = expr_fn::r#struct(columns.to_vec());
    row_key(normal_nested::function().call(vec![row]), true, true)
}
