//! Results as RFC 4180 with a header, lines ended by a line feed. Null is an empty field and empty
//! text is `""`, so that the two can be told apart.

use std::io::Write;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::ArrayFormatter;
use datafusion::config::FormatOptions;
use gnist_operators::shown;

use super::{ResultWriter, WriteError, arrow_options};

pub(super) struct CsvWriter<W> {
    out: W,
    options: FormatOptions,
    /// A line in the making, and a field, kept for their memory.
    line: String,
    field: String,
}

impl<W: Write> CsvWriter<W> {
    pub(super) fn new(out: W, options: FormatOptions) -> Self {
        Self { out, options, line: String::new(), field: String::new() }
    }
}

impl<W: Write> ResultWriter for CsvWriter<W> {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), WriteError> {
        let mut line = String::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            push_field(&mut line, field.name());
        }
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        shown::check(batch).map_err(WriteError::Value)?;
        // Of a null field nothing is written; one inside a list or a struct is told from empty text.
        let options = arrow_options(&self.options)?.with_display_error(false).with_null("NULL");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|array| {
                Ok((array, array.logical_nulls(), ArrayFormatter::try_new(array, &options)?))
            })
            .collect::<Result<_, WriteError>>()?;
        for row in 0..batch.num_rows() {
            self.line.clear();
            for (at, (_, nulls, formatter)) in columns.iter().enumerate() {
                if at > 0 {
                    self.line.push(',');
                }
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                self.field.clear();
                formatter.value(row).write(&mut self.field)?;
                push_field(&mut self.line, &self.field);
            }
            self.line.push('\n');
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(self.out.flush()?)
    }

    fn end(&mut self) -> Result<(), WriteError> {
        Ok(self.out.flush()?)
    }
}

fn push_field(line: &mut String, field: &str) {
    if !field.is_empty() && !field.contains(['"', ',', '\n', '\r']) {
        line.push_str(field);
        return;
    }
    line.push('"');
    line.push_str(&field.replace('"', "\"\""));
    line.push('"');
}
