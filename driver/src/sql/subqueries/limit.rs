//! Operators that count rows, done for each outer value on its own: `LIMIT`, windows and
//! aggregates.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, Filter, Limit, LogicalPlan, Projection, SkipType, SortExpr,
    Window, WindowFrame, lit,
};

use super::Rewriter;
use super::domain::{Domain, refused, with_keys};
use super::references::bound;

impl Rewriter {
    pub(super) fn limit_for_all(
        &self,
        limit: &Limit,
        domain: &Domain,
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return refused("LIMIT");
        };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                self.first_for_each(&sort.input, &sort.expr, skip, fetch, domain)
            }
            // A projection keeps the rows and their order.
            LogicalPlan::Projection(projection) => {
                let below = Limit { input: Arc::clone(&projection.input), ..limit.clone() };
                let below = Arc::new(LogicalPlan::Limit(below));
                let above = Projection::try_new(projection.expr.clone(), below)?;
                self.for_all(&LogicalPlan::Projection(above), domain)
            }
            other => self.first_for_each(other, &[], skip, fetch, domain),
        }
    }

    /// The first rows in this order for each value of the domain.
    pub(super) fn first_for_each(
        &self,
        input: &LogicalPlan,
        order: &[SortExpr],
        skip: usize,
        fetch: Option<usize>,
        domain: &Domain,
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        let (rows, keys) = self.for_all(input, domain)?;
        let mut order_by = Vec::with_capacity(order.len());
        for sort in order {
            let expr = bound(sort.expr.clone(), domain.columns(), &keys)?;
            order_by.push(sort.with_expr(expr));
        }
        let number = row_number()
            .partition_by(keys.iter().cloned().map(Expr::Column).collect())
            .order_by(order_by)
            .window_frame(WindowFrame::new(Some(true)))
            .build()?;
        let window = Window::try_new(vec![number], Arc::new(rows))?;
        let at = window.schema.fields().len() - 1;
        let number = Expr::Column(Column::from(window.schema.qualified_field(at)));
        let as_count = |rows: usize| lit(u64::try_from(rows).unwrap_or(u64::MAX));
        let mut predicate = number.clone().gt(as_count(skip));
        if let Some(fetch) = fetch {
            predicate = predicate.and(number.lt_eq(as_count(skip.saturating_add(fetch))));
        }
        let first = Filter::try_new(predicate, Arc::new(LogicalPlan::Window(window)))?;
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        with_keys(LogicalPlan::Filter(first), keys, columns)
    }
}

/// A window expression that is partitioned by these columns too.
pub(super) fn partitioned_by(expr: Expr, keys: &[Column]) -> Result<Expr> {
    let wider = expr.transform(|expr| match expr {
        Expr::WindowFunction(mut function) => {
            let columns = keys.iter().cloned().map(Expr::Column);
            function.params.partition_by.splice(0..0, columns);
            Ok(Transformed::yes(Expr::WindowFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    });
    wider.data()
}

/// An aggregate over those rows alone that this column is true for. Its name stays.
pub(super) fn only_where(expr: Expr, there: &Expr) -> Result<Expr> {
    let name = expr.schema_name().to_string();
    let fewer = expr.transform(|expr| match expr {
        Expr::AggregateFunction(mut function) => {
            let filter = match function.params.filter.take() {
                Some(filter) => there.clone().and(*filter),
                None => there.clone(),
            };
            function.params.filter = Some(Box::new(filter));
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    });
    let fewer = fewer.data()?;
    Ok(if fewer.schema_name().to_string() == name { fewer } else { fewer.alias(name) })
}
