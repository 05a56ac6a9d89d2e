//! A subquery computed for all outer values at once.
//!
//! The *domain* of a subquery is the relation of the outer values that it refers to, each
//! combination once. [`Rewriter::for_all`] turns a plan that refers to outer columns into one that
//! does not, with the domain's columns added, so that the rows beside the values *d* are those that
//! the subquery has for *d* (Neumann and Kemper, *Unnesting Arbitrary Queries*, BTW 2015). The
//! domain is pushed down as far as there are references, and joined in there:
//!
//! ```text
//! filter, projection     over the input for all values
//! aggregate              by the domain's columns too; without GROUP BY, the domain is joined from
//!                        the left and rows of it alone do not count: every value keeps its row
//! LIMIT                  row_number() over (partition by the domain's columns)
//! window                 partitioned by the domain's columns too
//! join                   one side, or both and their values must agree
//! union                  each input
//! no reference           domain x plan
//! ```

use std::sync::Arc;

use datafusion::common::{Column, Result, TableReference, not_impl_err};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, GroupingSet, JoinType, LogicalPlan, LogicalPlanBuilder,
    Projection, Sort, SubqueryAlias, Window, lit,
};

use super::super::reserved::reserved;
use super::exists::join;
use super::references::{self, Reference, bound};
use super::{Rewriter, limit};

/// The outer values a subquery is computed for.
#[derive(Debug)]
pub(super) struct Domain {
    /// Columns that are called by [`key_name`].
    plan: Arc<LogicalPlan>,
    /// The outer columns that they are.
    columns: Vec<Column>,
}

impl Domain {
    /// The values of the referenced columns, each combination once.
    pub(super) fn distinct(input: &LogicalPlan, references: &[Reference]) -> Result<Self> {
        let columns = references.iter().map(|reference| reference.column.clone()).collect();
        let mut domain = Self::rows(input, columns)?;
        domain.plan = Arc::new(LogicalPlan::Distinct(Distinct::All(domain.plan)));
        Ok(domain)
    }

    /// All rows, with these columns.
    pub(super) fn rows(input: &LogicalPlan, columns: Vec<Column>) -> Result<Self> {
        let named = columns.iter().enumerate();
        // Under a table of their own: a bare name must not meet the same name of another domain.
        let named = named.map(|(at, column)| {
            let relation = Some(TableReference::bare(reserved("domain")));
            Expr::Column(column.clone()).alias_qualified(relation, key_name(at))
        });
        let plan = Projection::try_new(named.collect(), Arc::new(input.clone()))?;
        Ok(Self { plan: Arc::new(LogicalPlan::Projection(plan)), columns })
    }

    /// The outer columns beside the keys of a plan for all values.
    pub(super) fn pairs(&self, keys: &[Column]) -> Vec<(Expr, Expr)> {
        let pairs = self.columns.iter().zip(keys);
        pairs.map(|(outer, key)| (Expr::Column(outer.clone()), Expr::Column(key.clone()))).collect()
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(super) fn is_meant_by(&self, plan: &LogicalPlan) -> Result<bool> {
        let references = references::of_plan(plan)?;
        Ok(references.iter().any(|reference| self.columns.contains(&reference.column)))
    }
}

/// The name of a column of a domain.
pub(super) fn key_name(at: usize) -> String {
    reserved(format_args!("c{at}"))
}

/// A plan without references to a domain, and the domain's columns in it.
pub(super) type ForAll = (LogicalPlan, Vec<Column>);

impl Rewriter {
    /// A plan for all values of a domain. Its columns keep their names; their order is free.
    pub(super) fn for_all(&self, plan: &LogicalPlan, domain: &Domain) -> Result<ForAll> {
        if domain.columns.is_empty() {
            return Ok((plan.clone(), Vec::new()));
        }
        if !domain.is_meant_by(plan)? {
            return self.beside(plan, domain);
        }
        match plan {
            LogicalPlan::Projection(projection) => self.projection_for_all(projection, domain),
            LogicalPlan::Filter(filter) => {
                let (input, keys) = self.for_all(&filter.input, domain)?;
                let predicate = bound(filter.predicate.clone(), &domain.columns, &keys)?;
                Ok((LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?), keys))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, keys) = self.for_all(&alias.input, domain)?;
                let columns = alias.input.schema().columns().into_iter().zip(alias.schema.iter());
                let columns = columns.map(|(column, (relation, field))| {
                    Expr::Column(column).alias_qualified(relation.cloned(), field.name())
                });
                with_keys(input, keys, columns)
            }
            LogicalPlan::Subquery(subquery) => self.for_all(&subquery.subquery, domain),
            LogicalPlan::Aggregate(aggregate) => self.aggregate_for_all(aggregate, domain),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let (input, keys) = self.for_all(input, domain)?;
                Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(input))), keys))
            }
            LogicalPlan::Sort(sort) => self.sort_for_all(sort, domain),
            LogicalPlan::Limit(limit) => self.limit_for_all(limit, domain),
            LogicalPlan::Window(window) => self.window_for_all(window, domain),
            LogicalPlan::Join(join) => self.join_for_all(join, domain),
            LogicalPlan::Union(union) => self.union_for_all(union, domain),
            LogicalPlan::Unnest(unnest) => {
                let (input, keys) = self.for_all(&unnest.input, domain)?;
                let (columns, options) = (unnest.exec_columns.clone(), unnest.options.clone());
                let plan = LogicalPlanBuilder::from(input)
                    .unnest_columns_with_options(columns, options)?
                    .build()?;
                Ok((plan, keys))
            }
            LogicalPlan::Values(values) => self.values_for_all(values, domain),
            other => refused(operator_name(other)),
        }
    }

    /// A copy of the domain under a name of its own.
    pub(super) fn copy_of(&self, domain: &Domain) -> Result<ForAll> {
        let relation = self.relation("outer");
        let alias = SubqueryAlias::try_new(Arc::clone(&domain.plan), relation.clone())?;
        let keys = 0..domain.columns.len();
        let keys = keys.map(|at| Column::new(Some(relation.clone()), key_name(at))).collect();
        Ok((LogicalPlan::SubqueryAlias(alias), keys))
    }

    /// All rows of a plan without references beside all values.
    fn beside(&self, plan: &LogicalPlan, domain: &Domain) -> Result<ForAll> {
        let (values, keys) = self.copy_of(domain)?;
        if is_one_empty_row(plan) {
            return Ok((values, keys));
        }
        Ok((LogicalPlanBuilder::from(values).cross_join(plan.clone())?.build()?, keys))
    }

    fn projection_for_all(&self, projection: &Projection, domain: &Domain) -> Result<ForAll> {
        let (input, keys) = self.for_all(&projection.input, domain)?;
        let mut columns = Vec::with_capacity(projection.expr.len());
        for (expr, (relation, field)) in projection.expr.iter().zip(projection.schema.iter()) {
            let expr = bound(expr.clone(), &domain.columns, &keys)?;
            columns.push(called(expr, relation, field.name()));
        }
        with_keys(input, keys, columns)
    }

    fn aggregate_for_all(&self, aggregate: &Aggregate, domain: &Domain) -> Result<ForAll> {
        let (input, keys) = self.for_all(&aggregate.input, domain)?;
        let groups = aggregate.group_expr.len();
        let named = aggregate.schema.iter();
        let mut exprs = Vec::new();
        let all = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return self.grouping_sets_for_all(aggregate, input, keys, domain);
        }
        for (expr, (relation, field)) in all.zip(named) {
            let expr = bound(expr.clone(), &domain.columns, &keys)?;
            exprs.push(called(expr, relation, field.name()));
        }
        let functions = exprs.split_off(groups);
        if groups > 0 {
            let by = keys.iter().cloned().map(Expr::Column).chain(exprs).collect();
            let plan = Aggregate::try_new(Arc::new(input), by, functions)?;
            return Ok((LogicalPlan::Aggregate(plan), keys));
        }
        self.one_row_for_each(domain, input, &keys, functions)
    }

    /// Aggregates without GROUP BY: one row for each value of the domain, over the rows beside it.
    fn one_row_for_each(
        &self,
        domain: &Domain,
        input: LogicalPlan,
        keys: &[Column],
        functions: Vec<Expr>,
    ) -> Result<ForAll> {
        let relation = self.relation("row");
        let there = lit(true).alias_qualified(Some(relation.clone()), reserved("there"));
        let columns = input.schema().columns().into_iter().map(Expr::Column).chain([there]);
        let rows = Projection::try_new(columns.collect(), Arc::new(input))?;
        let (values, by) = self.copy_of(domain)?;
        let pairs = by
            .iter()
            .zip(keys)
            .map(|(by, key)| (Expr::Column(by.clone()), Expr::Column(key.clone())));
        let rows = LogicalPlan::Projection(rows);
        let rows = join(JoinType::Left, values, rows, pairs.collect(), None)?;
        let there = Expr::Column(Column::new(Some(relation), reserved("there")));
        let functions = functions.into_iter().map(|function| limit::only_where(function, &there));
        let functions = functions.collect::<Result<Vec<_>>>()?;
        let groups = by.iter().cloned().map(Expr::Column).collect();
        let plan = Aggregate::try_new(Arc::new(rows), groups, functions)?;
        Ok((LogicalPlan::Aggregate(plan), by))
    }

    /// Grouping sets, each by the domain's columns too. The empty set would have a row over
    /// nothing, which this has not.
    fn grouping_sets_for_all(
        &self,
        aggregate: &Aggregate,
        input: LogicalPlan,
        keys: Vec<Column>,
        domain: &Domain,
    ) -> Result<ForAll> {
        let [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] = aggregate.group_expr.as_slice()
        else {
            return refused("ROLLUP or CUBE");
        };
        if sets.iter().any(Vec::is_empty) {
            return refused("an empty grouping set");
        }
        let mut wider = Vec::with_capacity(sets.len());
        for set in sets {
            let mut by: Vec<Expr> = keys.iter().cloned().map(Expr::Column).collect();
            for expr in set {
                by.push(bound(expr.clone(), &domain.columns, &keys)?);
            }
            wider.push(by);
        }
        let mut functions = Vec::new();
        for expr in &aggregate.aggr_expr {
            let name = expr.schema_name().to_string();
            functions.push(called(bound(expr.clone(), &domain.columns, &keys)?, None, &name));
        }
        let by = vec![Expr::GroupingSet(GroupingSet::GroupingSets(wider))];
        let plan = Aggregate::try_new(Arc::new(input), by, functions)?;
        Ok((LogicalPlan::Aggregate(plan), keys))
    }

    /// An order counts below a LIMIT only.
    fn sort_for_all(&self, sort: &Sort, domain: &Domain) -> Result<ForAll> {
        match sort.fetch {
            None => self.for_all(&sort.input, domain),
            Some(fetch) => self.first_for_each(&sort.input, &sort.expr, 0, Some(fetch), domain),
        }
    }

    fn window_for_all(&self, window: &Window, domain: &Domain) -> Result<ForAll> {
        let (input, keys) = self.for_all(&window.input, domain)?;
        let mut exprs = Vec::with_capacity(window.window_expr.len());
        for expr in &window.window_expr {
            let name = expr.schema_name().to_string();
            let wider = limit::partitioned_by(expr.clone(), &keys)?;
            exprs.push(called(bound(wider, &domain.columns, &keys)?, None, &name));
        }
        Ok((LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?), keys))
    }
}

/// An expression under this name, if it has not got it.
pub(super) fn called(expr: Expr, relation: Option<&TableReference>, name: &str) -> Expr {
    let (own_relation, own_name) = expr.qualified_name();
    if own_relation.as_ref() == relation && own_name == name {
        return expr;
    }
    expr.unalias().alias_qualified(relation.cloned(), name)
}

/// A projection to the keys and these columns.
pub(super) fn with_keys(
    input: LogicalPlan,
    keys: Vec<Column>,
    columns: impl IntoIterator<Item = Expr>,
) -> Result<ForAll> {
    let all = keys.iter().cloned().map(Expr::Column).chain(columns).collect();
    Ok((LogicalPlan::Projection(Projection::try_new(all, Arc::new(input))?), keys))
}

fn is_one_empty_row(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty)
        if empty.produce_one_row && empty.schema.fields().is_empty())
}

pub(super) fn refused<T>(what: impl std::fmt::Display) -> Result<T> {
    not_impl_err!("{what} that depends on a column of the query around it is not supported yet")
}

fn operator_name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::RecursiveQuery(_) => "a recursive query",
        LogicalPlan::TableScan(_) => "a table function",
        LogicalPlan::Repartition(_) => "DISTRIBUTE BY",
        _ => "a part of a subquery",
    }
}
