//! Rows as the bytes of a file.

mod parquet;
mod text;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::config::TableOptions;
use datafusion::common::{Result, plan_err};

use super::WriteFormat;

/// An encoder of one file.
pub(super) trait Encoder: Send {
    /// Takes rows.
    fn write(&mut self, rows: &RecordBatch) -> Result<()>;

    /// Takes the bytes that were made since the last call.
    fn take(&mut self) -> Vec<u8>;

    /// Bytes of memory that rows hold which are not encoded yet.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Bytes of memory that the encoder itself takes, whatever it is given.
    fn own_bytes(&self) -> usize {
        0
    }

    /// About as many bytes as these rows will be in the file.
    fn coming_bytes(&self) -> usize {
        0
    }

    /// Encodes rows that were kept back.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the file; its last bytes are to be taken.
    fn finish(&mut self) -> Result<()>;
}

/// An encoder of a file with these columns.
///
/// # Errors
/// As [`check_schema`].
pub(super) fn encoder_of(
    format: WriteFormat,
    options: &TableOptions,
    schema: &SchemaRef,
) -> Result<Box<dyn Encoder>> {
    Ok(match format {
        WriteFormat::Parquet => Box::new(parquet::ParquetEncoder::new(schema, options)?),
        WriteFormat::Json => Box::new(text::JsonEncoder::new(&options.json)?),
        WriteFormat::Csv => Box::new(text::CsvEncoder::new(schema, &options.csv)?),
    })
}

/// Checks that a format can hold columns of these types.
///
/// # Errors
/// `Plan` naming the column, or an option that has no such value.
pub fn check_schema(format: WriteFormat, options: &TableOptions, schema: &SchemaRef) -> Result<()> {
    if schema.fields().is_empty() {
        return plan_err!("a file needs a column, and these rows have none");
    }
    for field in schema.fields() {
        let (name, of) = (field.name(), field.data_type());
        let refused = match format {
            WriteFormat::Csv => of.is_nested() || is_binary(of) || is_interval(of),
            WriteFormat::Json => {
                has(of, &is_binary) || has(of, &is_interval) || has(of, &is_map_of_no_texts)
            }
            WriteFormat::Parquet => has(of, &is_interval),
        };
        if refused {
            return plan_err!(
                "{format} has no column of type {of}: leave out `{name}`, or cast it to a type that {format} has"
            );
        }
    }
    let one = |field: &datafusion::arrow::datatypes::FieldRef| {
        encoder_of(format, options, &Schema::new(vec![field.clone()]).into()).map(drop)
    };
    schema.fields().iter().try_for_each(one)
}

fn is_binary(of: &DataType) -> bool {
    of.is_binary()
}

/// Intervals of months, days and nanoseconds have no form in files that others read.
fn is_interval(of: &DataType) -> bool {
    matches!(of, DataType::Interval(_))
}

/// Keys of a JSON object are texts.
fn is_map_of_no_texts(of: &DataType) -> bool {
    let DataType::Map(entries, _) = of else { return false };
    let DataType::Struct(fields) = entries.data_type() else { return false };
    fields.first().is_some_and(|key| !key.data_type().is_string())
}

/// True for a type, or one inside of it, that `is` says true of.
fn has(of: &DataType, is: &dyn Fn(&DataType) -> bool) -> bool {
    is(of)
        || match of {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => has(item.data_type(), is),
            DataType::Struct(fields) => fields.iter().any(|field| has(field.data_type(), is)),
            DataType::Dictionary(_, value) => has(value, is),
            _ => false,
        }
}
