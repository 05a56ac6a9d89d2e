//! Recursive queries, whose rows have the types of the first ones.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr_rewriter::coerce_plan_expr_for_schema;
use datafusion::logical_expr::logical_plan::{RecursiveQuery, TableScanBuilder};
use datafusion::logical_expr::{LogicalPlan, TableScan};

use super::{Walk, types_of};

impl Walk<'_> {
    /// The first term, then the recursive one over rows as the first one makes them.
    pub(super) fn terms_of_recursive(&mut self, query: RecursiveQuery) -> Result<LogicalPlan> {
        let RecursiveQuery { name, static_term, recursive_term, is_distinct, .. } = query;
        let before = types_of(static_term.schema());
        let static_term = self.plan(Arc::unwrap_or_clone(static_term))?;
        let types = types_of(static_term.schema());
        let recursive_term = Arc::unwrap_or_clone(recursive_term);
        let recursive_term = match before == types {
            true => recursive_term,
            false => reading(recursive_term, &name, &types)?,
        };
        let mut recursive_term = self.plan(recursive_term)?;
        if types_of(recursive_term.schema()) != types {
            recursive_term = coerce_plan_expr_for_schema(recursive_term, static_term.schema())?;
        }
        let (static_term, recursive_term) = (Arc::new(static_term), Arc::new(recursive_term));
        let query = RecursiveQuery::try_new(name, static_term, recursive_term, is_distinct)?;
        Ok(LogicalPlan::RecursiveQuery(query))
    }
}

/// The recursive term over rows of other types.
fn reading(term: LogicalPlan, name: &str, types: &[DataType]) -> Result<LogicalPlan> {
    let reading = term.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) if reads(&scan, name) => {
            let fields = scan.source.schema();
            let fields = fields.fields().iter().zip(types);
            let fields =
                fields.map(|(field, of)| field.as_ref().clone().with_data_type(of.clone()));
            let schema = Schema::new(fields.collect::<Vec<Field>>());
            let rows = Arc::new(CteWorkTable::new(name, Arc::new(schema)));
            let scan = TableScanBuilder::new(scan.table_name, provider_as_source(rows))
                .with_projection(scan.projection)
                .with_filters(scan.filters)
                .with_fetch(scan.fetch)
                .build()?;
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        node => Ok(Transformed::no(node)),
    });
    reading.data()
}

/// Returns true for a scan of the rows that a recursive query has so far.
fn reads(scan: &TableScan, name: &str) -> bool {
    source_as_provider(&scan.source).is_ok_and(|provider| {
        provider.downcast_ref::<CteWorkTable>().is_some_and(|rows| rows.name() == name)
    })
}
