//! Results as an aligned table, every row. The widths need all rows, so it is printed at the end.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;

use super::{ResultWriter, WriteError};

pub(super) struct TableWriter<W> {
    out: W,
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, schema: None, batches: Vec::new() }
    }
}

impl<W: Write> ResultWriter for TableWriter<W> {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), WriteError> {
        self.schema = Some(schema.clone());
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.batches.push(batch.clone());
        Ok(())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        let batches = std::mem::take(&mut self.batches);
        let Some(schema) = self.schema.take() else { return Ok(()) };
        let table = pretty_format_batches_with_schema(schema, &batches)?;
        writeln!(self.out, "{table}")?;
        Ok(self.out.flush()?)
    }
}
