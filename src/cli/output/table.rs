//! Results as an aligned table, every row.
//!
//! The first rows are held back and measured; once there are [`MEASURED_ROWS_MAX`] of them, or
//! [`MEASURED_BYTES_MAX`] bytes of text, they are printed, and every later row goes out as it
//! comes. A later cell that is wider than its column is printed whole and moves the rest of its
//! line to the right, so memory does not grow with the result.

use std::io::Write;
use std::mem;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::ArrayFormatter;
use datafusion::config::FormatOptions;
use gnist_operators::shown;

use super::cell::{push_cell, width};
use super::{ResultWriter, WriteError, arrow_options};

/// Rows that are measured before the first is printed.
const MEASURED_ROWS_MAX: usize = 1_000;

/// Bytes of text that are held back to be measured.
const MEASURED_BYTES_MAX: usize = 1 << 20;

/// The text of a null, unless the session's `datafusion.format.null` is another.
const NULL: &str = "NULL";

pub(super) struct TableWriter<W: Write> {
    out: W,
    options: FormatOptions,
    /// Width of every column, in the cells of a terminal.
    widths: Vec<usize>,
    state: State,
    /// A line in the making, kept for its memory.
    line: String,
}

/// Rows of the result, in order.
enum State {
    /// Held back; the header is the first.
    Measuring { rows: Vec<Vec<String>>, bytes: usize },
    /// Printed as they come.
    Printing,
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W, mut options: FormatOptions) -> Self {
        if options.null.is_empty() {
            NULL.clone_into(&mut options.null);
        }
        let state = State::Measuring { rows: Vec::new(), bytes: 0 };
        Self { out, options, widths: Vec::new(), state, line: String::new() }
    }

    /// Holds a row back, or prints it.
    fn row(&mut self, cells: &mut [String]) -> Result<(), WriteError> {
        let State::Measuring { rows, bytes } = &mut self.state else {
            return self.print_row(cells);
        };
        measure(&mut self.widths, cells);
        *bytes += cells.iter().map(String::len).sum::<usize>();
        rows.push(cells.iter_mut().map(mem::take).collect());
        if rows.len() > MEASURED_ROWS_MAX || *bytes >= MEASURED_BYTES_MAX {
            self.print_measured()?;
        }
        Ok(())
    }

    /// Prints the header and what was held back; every later row is printed as it comes.
    fn print_measured(&mut self) -> Result<(), WriteError> {
        let State::Measuring { rows, .. } = mem::replace(&mut self.state, State::Printing) else {
            return Ok(());
        };
        self.print_border()?;
        for (at, row) in rows.iter().enumerate() {
            self.print_row(row)?;
            if at == 0 {
                self.print_border()?;
            }
        }
        Ok(())
    }

    /// Prints a border; none around rows without columns.
    fn print_border(&mut self) -> Result<(), WriteError> {
        if self.widths.is_empty() {
            return Ok(());
        }
        self.line.clear();
        for width in &self.widths {
            self.line.push_str("+-");
            self.line.extend(std::iter::repeat_n('-', *width));
            self.line.push('-');
        }
        self.line.push_str("+\n");
        Ok(self.out.write_all(self.line.as_bytes())?)
    }

    /// Prints a row: as many lines as its tallest cell has.
    fn print_row(&mut self, cells: &[String]) -> Result<(), WriteError> {
        let height = cells.iter().map(|cell| cell.matches('\n').count() + 1).max().unwrap_or(0);
        for at in 0..height {
            self.line.clear();
            for (cell, column) in cells.iter().zip(&self.widths) {
                let part = if height == 1 { cell } else { cell.split('\n').nth(at).unwrap_or("") };
                self.line.push_str("| ");
                self.line.push_str(part);
                let padding = column.saturating_sub(width(part));
                self.line.extend(std::iter::repeat_n(' ', padding + 1));
            }
            self.line.push_str("|\n");
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }
}

/// Widens the columns to hold these cells.
fn measure(widths: &mut [usize], cells: &[String]) {
    for (column, cell) in widths.iter_mut().zip(cells) {
        *column = cell.split('\n').map(width).chain([*column]).max().unwrap_or(0);
    }
}

impl<W: Write> ResultWriter for TableWriter<W> {
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), WriteError> {
        self.widths = vec![0; schema.fields().len()];
        let mut header = vec![String::new(); schema.fields().len()];
        for (cell, field) in header.iter_mut().zip(schema.fields()) {
            push_cell(cell, field.name())?;
            if self.options.types_info {
                cell.push('\n');
                push_cell(cell, field.data_type())?;
            }
        }
        self.row(&mut header)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        shown::check(batch).map_err(WriteError::Value)?;
        let options = self.options.clone();
        let options = arrow_options(&options)?.with_display_error(false);
        let columns = batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options));
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        let mut cells = vec![String::new(); columns.len()];
        for row in 0..batch.num_rows() {
            for (cell, column) in cells.iter_mut().zip(&columns) {
                cell.clear();
                push_cell(cell, &column.value(row))?;
            }
            self.row(&mut cells)?;
        }
        match self.state {
            State::Printing => Ok(self.out.flush()?),
            State::Measuring { .. } => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), WriteError> {
        self.print_measured()?;
        self.print_border()?;
        Ok(self.out.flush()?)
    }
}
