//! Arrow batches as blocks: a checksummed frame around an Arrow IPC stream.
//!
//! ```text
//! "GNB1"  crc32 of the body (4, LE)  length of the body (8, LE)  body: Arrow IPC stream
//! ```
//!
//! Inside a process blocks stay Arrow batches; they are encoded only when they leave: to disk
//! under pressure, to a peer, to the driver. lz4 is worth its price on disks and networks and not
//! on loopback, so the caller says which.

use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::{Bytes, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;

use crate::size::rows_bytes;

const MAGIC: &[u8; 4] = b"GNB1";
const HEADER_BYTES: usize = 16;

/// The compression of a block's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockCodec {
    /// No compression.
    Plain,
    /// lz4, per Arrow buffer.
    Lz4,
}

/// Bytes that are not a block, or no longer the block they were.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The frame or the checksum does not hold.
    #[error("the block is damaged: {reason}")]
    Damaged {
        /// The check that failed, in words.
        reason: &'static str,
    },
    /// Arrow could not write or read the body.
    #[error("encoding or decoding a block")]
    Arrow(#[from] ArrowError),
}

/// Encodes batches of one schema as one block.
///
/// # Errors
/// When Arrow refuses a batch, which a schema mismatch does.
pub fn encode_block(
    schema: &Schema,
    batches: &[RecordBatch],
    codec: BlockCodec,
) -> Result<Bytes, BlockError> {
    let compression = match codec {
        BlockCodec::Plain => None,
        BlockCodec::Lz4 => Some(CompressionType::LZ4_FRAME),
    };
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut out = Vec::with_capacity(capacity(schema, batches, codec));
    out.resize(HEADER_BYTES, 0);
    let mut writer = StreamWriter::try_new_with_options(&mut out, schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    let crc = crc32fast::hash(&out[HEADER_BYTES..]);
    let length = (out.len() - HEADER_BYTES) as u64;
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out[8..16].copy_from_slice(&length.to_le_bytes());
    Ok(out.into())
}

/// Bytes that a block will have about: enough for plain ones, which then are written once.
fn capacity(schema: &Schema, batches: &[RecordBatch], codec: BlockCodec) -> usize {
    const BYTES_OF_FIELD: usize = 384;
    let rows: usize = batches.iter().map(rows_bytes).sum();
    let rows = match codec {
        BlockCodec::Plain => rows,
        BlockCodec::Lz4 => rows / 2,
    };
    HEADER_BYTES + 512 + rows + schema.fields().len() * BYTES_OF_FIELD * (1 + batches.len())
}

/// Checks that bytes are one whole, undamaged block.
///
/// # Errors
/// `Damaged`, saying what does not hold.
pub fn verify_block(bytes: &[u8]) -> Result<(), BlockError> {
    let damaged = |reason| Err(BlockError::Damaged { reason });
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return damaged("it is shorter than its header");
    };
    if &header[..4] != MAGIC {
        return damaged("it does not begin as a block does");
    }
    let crc = u32::from_le_bytes(header[4..8].try_into().expect("four bytes"));
    let length = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    if length != body.len() as u64 {
        return damaged("its length is not what its header says");
    }
    if crc != crc32fast::hash(body) {
        return damaged("its checksum does not match");
    }
    Ok(())
}

/// Checks and decodes a block, or several one after another: a stored block leaves its worker as a
/// sequence of blocks of one batch each. Uncompressed buffers are not copied.
///
/// # Errors
/// `Damaged` when a checksum does not hold, `Arrow` when a body is not an IPC stream.
pub fn decode_block(bytes: &Bytes) -> Result<Vec<RecordBatch>, BlockError> {
    let mut rest = bytes.clone();
    let mut batches = Vec::new();
    loop {
        let first = rest.split_to(whole_length(&rest).min(rest.len()));
        verify_block(&first)?;
        batches.extend(decode_body(&first)?);
        if rest.is_empty() {
            return Ok(batches);
        }
    }
}

/// The length that the header claims for the block it begins, all there is without a header.
fn whole_length(bytes: &[u8]) -> usize {
    let Some(header) = bytes.get(..HEADER_BYTES) else { return bytes.len() };
    let body = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    usize::try_from(body).unwrap_or(usize::MAX).saturating_add(HEADER_BYTES)
}

/// Splits the first whole block off a stream of blocks, nothing while it is incomplete.
///
/// # Errors
/// `Damaged` when what comes first is not the beginning of a block.
pub fn split_first_block(stream: &mut BytesMut) -> Result<Option<Bytes>, BlockError> {
    let Some(header) = stream.get(..HEADER_BYTES) else { return Ok(None) };
    if &header[..4] != MAGIC {
        return Err(BlockError::Damaged { reason: "it does not begin as a block does" });
    }
    let whole = whole_length(header);
    Ok((stream.len() >= whole).then(|| stream.split_to(whole).freeze()))
}

fn decode_body(bytes: &Bytes) -> Result<Vec<RecordBatch>, BlockError> {
    let mut body = Buffer::from(bytes.slice(HEADER_BYTES..));
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !body.is_empty() {
        batches.extend(decoder.decode(&mut body)?);
    }
    decoder.finish()?;
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, StringArray, StringViewArray};
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Int64, false),
            Field::new("s", DataType::Utf8, true),
            Field::new("v", DataType::Utf8View, true),
        ]);
        let text = |i: i64| (i % 3 != 0).then(|| format!("a somewhat longer value {i}"));
        let columns: Vec<Arc<dyn datafusion::arrow::array::Array>> = vec![
            Arc::new(Int64Array::from_iter_values(0..rows)),
            Arc::new((0..rows).map(text).collect::<StringArray>()),
            Arc::new((0..rows).map(text).collect::<StringViewArray>()),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit the schema")
    }

    #[test]
    fn blocks_round_trip_with_and_without_compression() {
        for codec in [BlockCodec::Plain, BlockCodec::Lz4] {
            let batches = [batch(1000), batch(0), batch(7)];
            let bytes = encode_block(&batches[0].schema(), &batches, codec).expect("encodes");
            assert_eq!(decode_block(&bytes).expect("decodes"), batches);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen() {
        let good =
            encode_block(&batch(3).schema(), &[batch(3)], BlockCodec::Plain).expect("encodes");
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.to_vec();
            bad[at] ^= 0x10;
            let error = decode_block(&bad.into()).expect_err("damage is seen");
            assert!(matches!(error, BlockError::Damaged { .. }), "at {at}: {error}");
        }
        assert!(decode_block(&good.slice(..good.len() - 1)).is_err());
    }

    #[test]
    fn a_stream_of_blocks_splits_at_their_ends_wherever_it_is_cut() {
        let blocks: Vec<Bytes> = (1..4)
            .map(|n| {
                encode_block(&batch(n).schema(), &[batch(n)], BlockCodec::Plain).expect("encodes")
            })
            .collect();
        let (mut stream, mut split) = (BytesMut::new(), Vec::new());
        for chunk in blocks.concat().chunks(100) {
            stream.extend_from_slice(chunk);
            while let Some(block) = split_first_block(&mut stream).expect("undamaged") {
                split.push(block);
            }
        }
        assert_eq!(split, blocks);
        let whole = decode_block(&blocks.concat().into()).expect("decodes");
        assert_eq!(whole, [batch(1), batch(2), batch(3)]);
        assert!(stream.is_empty());
        assert!(split_first_block(&mut BytesMut::from(&[0_u8; 20][..])).is_err());
    }

    #[test]
    fn a_block_in_an_allocation_of_its_own_is_not_copied() {
        let block = encode_block(&batch(100).schema(), &[batch(100)], BlockCodec::Plain);
        let bytes = Bytes::from(block.expect("encodes").to_vec());
        let decoded = decode_block(&bytes).expect("decodes");
        let within = bytes.as_ptr_range();
        for column in decoded[0].columns() {
            for buffer in column.to_data().buffers() {
                assert!(within.contains(&buffer.as_ptr()), "{}", column.data_type());
            }
        }
    }

    /// A frame stands alone: it repeats the schema.
    #[test]
    fn the_schema_is_a_small_part_of_a_full_frame() {
        for (columns, frame_bytes, percent_max) in
            [(2, 1 << 20, 1), (16, 1 << 20, 1), (100, 1 << 20, 4), (16, 64 << 10, 9)]
        {
            let field = |at| Field::new(format!("column_{at}"), DataType::Int64, true);
            let schema = Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>()));
            let rows = frame_bytes / 8 / i64::from(columns);
            let column: Arc<dyn datafusion::arrow::array::Array> =
                Arc::new(Int64Array::from_iter_values(0..rows));
            let columns = vec![column; usize::try_from(columns).unwrap()];
            let rows_bytes = columns.len() * columns[0].len() * 8;
            let batch = RecordBatch::try_new(schema, columns).unwrap();
            let block = encode_block(&batch.schema(), &[batch], BlockCodec::Plain).unwrap();
            let percent = (block.len() - rows_bytes) * 100 / block.len();
            assert!(percent <= percent_max, "{percent} % of {frame_bytes} bytes");
        }
    }
}
