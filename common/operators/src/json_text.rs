//! Rows as JSON, one object a line: every column present, null where there is no value, numbers
//! with all their digits. JSON has no number for NaN and infinity: they are texts, as Spark writes them.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, make_encoder,
};

use crate::shown;

/// Writes rows, an object a line.
///
/// # Errors
/// A column is of a type that JSON has no form for, a value has no text, or `out` refuses.
pub fn write_lines(rows: &RecordBatch, out: impl Write) -> Result<(), ArrowError> {
    // Arrow's encoders write an error as if it were the value.
    shown::check(rows).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let floats = Arc::new(FloatEncoders);
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(floats);
    let mut writer = builder.build::<_, LineDelimited>(out);
    writer.write(rows)?;
    writer.finish()
}

/// Encoders of floats.
#[derive(Debug)]
struct FloatEncoders;

impl EncoderFactory for FloatEncoders {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        static OF_NUMBERS: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
        if !array.data_type().is_floating() {
            return Ok(None);
        }
        let nulls = array.nulls().cloned();
        let numbers = make_encoder(field, array, &OF_NUMBERS)?;
        Ok(Some(NullableEncoder::new(Box::new(Floats { array, numbers }), nulls)))
    }
}

struct Floats<'a> {
    array: &'a dyn Array,
    numbers: NullableEncoder<'a>,
}

impl Encoder for Floats<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = match self.array.data_type() {
            DataType::Float16 => self.array.as_primitive::<Float16Type>().value(row).to_f64(),
            DataType::Float32 => self.array.as_primitive::<Float32Type>().value(row).into(),
            _ => self.array.as_primitive::<Float64Type>().value(row),
        };
        match value {
            value if value.is_finite() => self.numbers.encode(row, out),
            value if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
            value if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
            _ => out.extend_from_slice(b"\"-Infinity\""),
        }
    }
}
