//! Bindings: all that changes from run to run of a program. Values, files, rows, settings, the seed.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use gnist_storage::commit::WriteId;
use prost::Message;

use crate::block::{BlockCodec, decode_block, encode_block};
use crate::source::{Bound, BoundMessage};

/// The content of a program's holes in one job.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// Values of uncorrelated scalar subqueries, by binding ordinal.
    pub values: Vec<ScalarValue>,
    /// Settings that the user changed, as DataFusion names them.
    pub settings: Vec<(String, String)>,
    /// The seed of `random()` and `uuid()`.
    pub seed: u64,
    /// The files or rows that the program's leaves scan, by their ordinals.
    pub sources: Vec<Bound>,
    /// Instances measure every operator, for `EXPLAIN ANALYZE`.
    pub is_measured: bool,
    /// The write whose files the program makes, if it makes any.
    pub write: Option<WriteId>,
}

/// [`Bindings`] on the wire.
#[derive(Clone, PartialEq, Message)]
struct BindingsMessage {
    /// A block of one row, a column per value; empty without values.
    #[prost(bytes = "bytes", tag = "1")]
    values: Bytes,
    #[prost(message, repeated, tag = "2")]
    settings: Vec<SettingMessage>,
    #[prost(uint64, tag = "3")]
    seed: u64,
    #[prost(message, repeated, tag = "4")]
    sources: Vec<BoundMessage>,
    #[prost(bool, tag = "5")]
    is_measured: bool,
    /// The write's id, in 16 bytes; empty if there is none.
    #[prost(bytes = "bytes", tag = "6")]
    write: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct SettingMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Bindings {
    /// Encodes them; equal bindings have equal bytes.
    ///
    /// # Errors
    /// When Arrow can't hold a value.
    pub fn encode(&self) -> Result<Bytes> {
        let settings = self.settings.iter().cloned();
        let message = BindingsMessage {
            values: encode_values(&self.values)?,
            settings: settings.map(|(key, value)| SettingMessage { key, value }).collect(),
            seed: self.seed,
            sources: self.sources.iter().map(BoundMessage::from).collect(),
            is_measured: self.is_measured,
            write: self
                .write
                .map_or_else(Bytes::new, |write| write.0.to_be_bytes().to_vec().into()),
        };
        Ok(message.encode_to_vec().into())
    }

    /// Decodes what [`Bindings::encode`] made. Groups of files and inline rows stay encoded: a task
    /// decodes its own.
    ///
    /// # Errors
    /// Internal, when the bytes are no such bindings.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let message = BindingsMessage::decode(bytes)
            .map_err(|error| internal_datafusion_err!("bindings do not decode: {error}"))?;
        let settings = message.settings.into_iter();
        Ok(Self {
            values: decode_values(&message.values)?,
            settings: settings.map(|setting| (setting.key, setting.value)).collect(),
            seed: message.seed,
            sources: message.sources.into_iter().map(Bound::try_from).collect::<Result<_>>()?,
            is_measured: message.is_measured,
            write: <[u8; 16]>::try_from(&*message.write)
                .ok()
                .map(|id| WriteId(u128::from_be_bytes(id))),
        })
    }
}

fn block_error(error: crate::block::BlockError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn encode_values(values: &[ScalarValue]) -> Result<Bytes> {
    if values.is_empty() {
        return Ok(Bytes::new());
    }
    let fields = values.iter().enumerate();
    let fields: Vec<Field> = fields
        .map(|(at, value)| Field::new(format!("value_{at}"), value.data_type(), true))
        .collect();
    let columns = values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new_with_options(schema, columns, &one_row)?;
    encode_block(batch.schema_ref(), std::slice::from_ref(&batch), BlockCodec::Plain)
        .map_err(block_error)
}

fn decode_values(block: &Bytes) -> Result<Vec<ScalarValue>> {
    if block.is_empty() {
        return Ok(Vec::new());
    }
    let batches = decode_block(block).map_err(block_error)?;
    let columns = batches.iter().flat_map(RecordBatch::columns);
    columns.map(|column| ScalarValue::try_from_array(column, 0)).collect()
}

#[cfg(test)]
mod tests {
    use gnist_common::graph::ContentHash;

    use super::*;
    use crate::source::Piece;

    #[test]
    fn bindings_round_trip() {
        let rows = vec![
            vec![Piece::Inline(Bytes::from_static(b"block"))],
            vec![Piece::Content { hash: ContentHash([7; 32]), bytes: 9 }],
            vec![],
        ];
        let files = vec![Bytes::from_static(b"group"), Bytes::new()];
        let bindings = Bindings {
            values: vec![ScalarValue::Int64(Some(7)), ScalarValue::Null, ScalarValue::from("x")],
            settings: vec![("a.b".to_owned(), "c".to_owned())],
            seed: 11,
            sources: vec![Bound::Rows(rows), Bound::Files(files), Bound::Rows(vec![])],
            is_measured: true,
            write: Some(WriteId(1 << 100)),
        };
        let decoded = Bindings::decode(bindings.encode().unwrap()).unwrap();
        assert_eq!(decoded.values, bindings.values);
        assert_eq!(decoded.settings, bindings.settings);
        assert_eq!(decoded.seed, bindings.seed);
        assert_eq!(decoded.sources, bindings.sources);
        assert!(decoded.is_measured);
        assert_eq!(decoded.write, bindings.write);
        assert!(Bindings::decode(Bytes::from_static(b"x")).is_err());
    }
}
