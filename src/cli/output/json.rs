//! Results as one JSON object a line: every column present, null where there is no value, numbers
//! with all their digits. JSON has no number for NaN and infinity: they are texts, as Spark writes them.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, FieldRef, Float16Type, Float32Type, Float64Type, SchemaRef,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, make_encoder,
};

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
        let floats = Arc::new(FloatEncoders);
        let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(floats);
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
