//! Results as one Arrow IPC stream.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;

use super::{ResultWriter, WriteError};

pub(super) enum ArrowWriter<W: Write> {
    Waiting(W),
    Writing(Box<StreamWriter<W>>),
    Ended,
}

impl<W: Write> ArrowWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self::Waiting(out)
    }
}

impl<W: Write> ResultWriter for ArrowWriter<W> {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), WriteError> {
        if let Self::Waiting(out) = std::mem::replace(self, Self::Ended) {
            *self = Self::Writing(Box::new(StreamWriter::try_new(out, schema)?));
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        if let Self::Writing(writer) = self {
            writer.write(batch)?;
            writer.flush()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        if let Self::Writing(writer) = self {
            writer.finish()?;
            writer.flush()?;
        }
        Ok(())
    }
}
