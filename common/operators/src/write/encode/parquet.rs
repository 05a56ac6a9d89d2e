//! Parquet: rows are kept back until they make a row group.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::TableOptions;
use datafusion::common::file_options::parquet_writer::ParquetWriterOptions;
use datafusion::parquet::arrow::ArrowWriter;

use super::Encoder;

/// Bytes of a row group before it is compressed, whatever the number of its rows.
const ROW_GROUP_BYTES_MAX: usize = 128 << 20;

pub(super) struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetEncoder {
    pub(super) fn new(schema: &SchemaRef, options: &TableOptions) -> Result<Self> {
        let mut options = options.parquet.clone();
        if !options.global.skip_arrow_metadata {
            options.arrow_schema(schema);
        }
        let options = ParquetWriterOptions::try_from(&options)?;
        let properties = options.writer_options().clone();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        Ok(Self { writer })
    }
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows)?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES_MAX {
            self.writer.flush()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }

    fn held_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    fn coming_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }

    fn finish(&mut self) -> Result<()> {
        self.writer.finish()?;
        Ok(())
    }
}
