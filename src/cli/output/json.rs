//! Results as one JSON object a line: every column present, null where there is no value, numbers
//! with all their digits.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;

use super::{ResultWriter, WriteError};

pub(super) struct JsonWriter<W> {
    out: W,
    text: Vec<u8>,
}

impl<W: Write> JsonWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, text: Vec::new() }
    }
}

impl<W: Write> ResultWriter for JsonWriter<W> {
    fn begin(&mut self, _: &SchemaRef) -> Result<(), WriteError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.text.clear();
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, LineDelimited>(&mut self.text);
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        self.out.write_all(&self.text)?;
        Ok(self.out.flush()?)
    }

    fn end(&mut self) -> Result<(), WriteError> {
        Ok(self.out.flush()?)
    }
}
