//! Results as text or bytes on stdout: one file a format.

mod arrow;
mod cell;
mod csv;
mod json;
mod table;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd as _;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display;
use datafusion::common::DataFusionError;
use datafusion::config::FormatOptions;
use gnist_common::error::ErrorKind;
use gnist_operators::failure::failure_of;
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::unix::pipe;

use super::error::CliError;
use super::exit::Exit;
use super::settings::Format;

/// Writes one result: `begin`, any number of batches, `end`.
pub(crate) trait ResultWriter {
    /// The columns, before any row.
    fn begin(&mut self, schema: &SchemaRef) -> Result<(), WriteError>;
    /// Some rows. They are on their way to the reader when this returns, but for formats that
    /// need all rows first.
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), WriteError>;
    /// No more rows.
    fn end(&mut self) -> Result<(), WriteError>;
}

/// The reason why a result was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The stream refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A value has no form in this format.
    #[error(transparent)]
    Arrow(ArrowError),
    /// A value has no text.
    #[error(transparent)]
    Value(DataFusionError),
    /// A `datafusion.format.*` setting is not understood.
    #[error(transparent)]
    Options(DataFusionError),
}

impl From<ArrowError> for WriteError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, source) => Self::Io(source),
            ArrowError::ExternalError(source) => match source.downcast::<DataFusionError>() {
                Ok(error) => Self::Value(*error),
                Err(source) => Self::Arrow(ArrowError::ExternalError(source)),
            },
            other => Self::Arrow(other),
        }
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(source) => Self::writing(source),
            WriteError::Arrow(error) => {
                Self::failed(ErrorKind::User, format!("can't write the result: {error}"))
            }
            WriteError::Options(error) | WriteError::Value(error) => failure_of(&error).into(),
        }
    }
}

/// A writer of this format. Text shows values as the session's `datafusion.format.*` say.
pub(crate) fn writer<'a>(
    format: Format,
    options: FormatOptions,
    out: impl Write + 'a,
) -> Box<dyn ResultWriter + 'a> {
    match format {
        Format::Table => Box::new(table::TableWriter::new(out, options)),
        Format::Csv => Box::new(csv::CsvWriter::new(out, options)),
        Format::Json => Box::new(json::JsonWriter::new(out)),
        Format::Arrow => Box::new(arrow::ArrowWriter::new(out)),
    }
}

/// The session's options as Arrow's.
fn arrow_options(options: &FormatOptions) -> Result<display::FormatOptions<'_>, WriteError> {
    options.try_into().map_err(WriteError::Options)
}

/// Tells whether the format can hold several results one after another.
pub(crate) fn takes_several(format: Format) -> bool {
    matches!(format, Format::Table | Format::Json)
}

/// Stdout, in large writes.
pub(crate) fn stdout() -> impl Write {
    const BUFFER_BYTES: usize = 64 << 10;
    BufWriter::with_capacity(BUFFER_BYTES, io::stdout())
}

/// Waits until the reader of stdout is gone, so that a long job ends with it and not only at its
/// next row; forever when stdout is no pipe.
pub(crate) async fn stdout_closed() {
    let copy = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    // Unchecked: blocking, as it must stay for whoever writes; nothing is written here.
    if let Ok(pipe) = copy.and_then(pipe::Sender::from_file_unchecked)
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Prints text to stdout.
pub(crate) fn print(text: &str) -> Result<Exit, CliError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map(|()| Exit::Success).map_err(CliError::writing)
}

/// A value as one line of JSON.
pub(crate) fn json_text(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string(value).map_err(|error| {
        CliError::failed(ErrorKind::Internal, format!("can't write JSON: {error}"))
    })
}

/// Prints a line to stdout.
pub(crate) fn print_line(line: &str) -> Result<(), CliError> {
    print(&format!("{line}\n")).map(drop)
}

#[cfg(test)]
mod tests;
