//! Recursive queries (`WITH RECURSIVE`) on the wire.
//!
//! A recursive query is one task: its iterations share a work table, which lives in the plan. So it
//! keeps DataFusion's own exchanges inside, and travels whole.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::protobuf;
use prost::Message;

/// A [`RecursiveQueryExec`]; its terms travel as its children.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecursiveQueryMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
    #[prost(bool, tag = "3")]
    is_distinct: bool,
}

/// A [`WorkTableExec`] with the columns it reads.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkTableMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
}

pub(crate) fn encode_query(query: &RecursiveQueryExec) -> Result<RecursiveQueryMessage> {
    Ok(RecursiveQueryMessage {
        name: query.name().to_owned(),
        schema: Some(query.schema().as_ref().try_into()?),
        is_distinct: query.is_distinct(),
    })
}

pub(crate) fn encode_work_table(table: &WorkTableExec) -> Result<WorkTableMessage> {
    let schema = Some(WorkTableExec::schema(table).as_ref().try_into()?);
    Ok(WorkTableMessage { name: table.name().to_owned(), schema })
}

/// The query over its decoded terms.
pub(crate) fn decode_query(
    message: &RecursiveQueryMessage,
    terms: &[Arc<dyn ExecutionPlan>],
) -> Result<RecursiveQueryExec> {
    let [first, recursive] = terms else {
        return internal_err!("a recursive query has {} terms", terms.len());
    };
    let schema = schema_of(message.schema.as_ref())?;
    let recursive = with_projections(Arc::clone(recursive), &message.name, &schema)?;
    RecursiveQueryExec::try_new(
        message.name.clone(),
        schema,
        Arc::clone(first),
        recursive,
        message.is_distinct,
    )
}

/// A work table of the columns that are read; [`decode_query`] says where they come from.
pub(crate) fn decode_work_table(message: &WorkTableMessage) -> Result<WorkTableExec> {
    WorkTableExec::new(message.name.clone(), schema_of(message.schema.as_ref())?, None)
}

fn schema_of(schema: Option<&protobuf::Schema>) -> Result<SchemaRef> {
    let schema = schema.ok_or_else(|| internal_datafusion_err!("an operator has no schema"))?;
    Ok(Arc::new(Schema::try_from(schema)?))
}

/// A work table does not tell which columns of the query it was cut down to, so they are found by
/// their names, which are unique in a recursive query.
fn with_projections(
    term: Arc<dyn ExecutionPlan>,
    name: &str,
    schema: &SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    term.transform_up(|node| {
        let Some(table) = node.downcast_ref::<WorkTableExec>().filter(|table| table.name() == name)
        else {
            return Ok(Transformed::no(node));
        };
        let fields = WorkTableExec::schema(table).fields().clone();
        let columns = fields.iter().map(|field| schema.index_of(field.name()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let all = columns.iter().copied().eq(0..schema.fields().len());
        let columns = (!all).then_some(columns);
        let table = WorkTableExec::new(name.to_owned(), Arc::clone(schema), columns)?;
        Ok(Transformed::yes(Arc::new(table) as _))
    })
    .data()
}
