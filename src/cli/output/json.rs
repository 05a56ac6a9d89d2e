//! Results as one JSON object a line: see [`gnist_operators::json_text`].

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use gnist_operators::json_text::write_lines;

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
        write_lines(batch, &mut self.text)?;
        self.out.write_all(&self.text)?;
        Ok(self.out.flush()?)
    }

    fn end(&mut self) -> Result<(), WriteError> {
        Ok(self.out.flush()?)
    }
}
