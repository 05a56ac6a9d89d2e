//! Recursive queries (`WITH RECURSIVE`) on the wire.
//!
//! A recursive query is one task: its iterations share a work table, which lives in the plan. So it
//! keeps DataFusion's own exchanges inside, and travels whole.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::protobuf;
use prost::Message;

use crate::debug_text::debug_text;
use crate::guard::shape::field_text;

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

/// A [`WorkTableExec`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkTableMessage {
    #[prost(string, tag = "1")]
    name: String,
    /// The fields of the columns it reads.
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
    /// Absent when it reads all columns of the query.
    #[prost(message, optional, tag = "3")]
    projection: Option<ColumnsMessage>,
}

/// Columns of the query that a work table is of.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ColumnsMessage {
    #[prost(uint32, repeated, tag = "1")]
    columns: Vec<u32>,
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
    Ok(WorkTableMessage { name: table.name().to_owned(), schema, projection: projection(table)? })
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
    RecursiveQueryExec::try_new(
        message.name.clone(),
        schema,
        Arc::clone(first),
        Arc::clone(recursive),
        message.is_distinct,
    )
}

/// The work table over the columns that are read.
pub(crate) fn decode_work_table(message: &WorkTableMessage) -> Result<WorkTableExec> {
    let (name, schema) = (message.name.clone(), schema_of(message.schema.as_ref())?);
    let Some(ColumnsMessage { columns }) = &message.projection else {
        return WorkTableExec::new(name, schema, None);
    };
    let columns: Vec<usize> = columns.iter().map(|column| *column as usize).collect();
    WorkTableExec::new(name, schema_around(schema, &columns)?, Some(columns))
}

fn schema_of(schema: Option<&protobuf::Schema>) -> Result<SchemaRef> {
    let schema = schema.ok_or_else(|| internal_datafusion_err!("an operator has no schema"))?;
    Ok(Arc::new(Schema::try_from(schema)?))
}

/// The columns of the query that a work table is cut down to; none when it has all of them. It does
/// not tell them but in its `Debug` text.
fn projection(table: &WorkTableExec) -> Result<Option<ColumnsMessage>> {
    let (text, _) = debug_text(table);
    let columns = field_text(&text, "projection").and_then(|columns| {
        if columns == "None" {
            return Some(None);
        }
        let columns = columns.strip_prefix("Some([")?.strip_suffix("])")?;
        let columns = columns.split(", ").filter(|column| !column.is_empty());
        let columns = columns.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Some(ColumnsMessage { columns }))
    });
    columns.ok_or_else(|| internal_datafusion_err!("a work table does not tell its columns"))
}

/// A schema in which the columns with these fields are found; the others are never looked at.
fn schema_around(fields: SchemaRef, columns: &[usize]) -> Result<SchemaRef> {
    let count = columns.iter().max().map_or(0, |last| last + 1);
    let unread: FieldRef = Arc::new(Field::new("", DataType::Null, true));
    let mut whole: Vec<FieldRef> = (0..count).map(|_| Arc::clone(&unread)).collect();
    if columns.len() != fields.fields().len() {
        return internal_err!("{} columns of {} fields", columns.len(), fields.fields().len());
    }
    for (column, field) in columns.iter().zip(fields.fields()) {
        whole[*column] = Arc::clone(field);
    }
    Ok(Arc::new(Schema::new_with_metadata(whole, fields.metadata().clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_table_keeps_the_columns_it_reads() {
        let fields =
            [("a, projection: None", false), ("b", true), ("projection: Some([9])", false)];
        let fields =
            fields.map(|(name, is_nullable)| Field::new(name, DataType::Int8, is_nullable));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let projections =
            [None, Some(vec![]), Some(vec![2]), Some(vec![1, 0]), Some(vec![0, 1, 2])];
        for columns in projections {
            let name = "projection: Some([7])".to_owned();
            let table = WorkTableExec::new(name, Arc::clone(&schema), columns).unwrap();
            let bytes = encode_work_table(&table).unwrap().encode_to_vec();
            let message = WorkTableMessage::decode(bytes.as_slice()).unwrap();
            let decoded = decode_work_table(&message).unwrap();
            assert_eq!(format!("{decoded:?}"), format!("{table:?}"));
        }
    }
}
