//! CSV and JSON: rows become text at once, which may be compressed.

use std::io::Write;

use bzip2::write::BzEncoder;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::{CsvOptions, JsonOptions};
use datafusion::common::file_options::csv_writer::CsvWriterOptions;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{Result, plan_err};
use flate2::write::GzEncoder;
use liblzma::write::XzEncoder;

use super::Encoder;
use crate::{json_text, shown};

/// Text that may be compressed.
struct Compressed {
    to: Compressor,
    /// Bytes of memory that the compressor takes.
    own_bytes: usize,
}

enum Compressor {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Bzip2(BzEncoder<Vec<u8>>),
    Xz(XzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    /// All bytes of a file that has ended.
    Ended(Vec<u8>),
}

impl Compressed {
    fn new(variant: CompressionTypeVariant, level: Option<u32>) -> Result<Self> {
        let bounded = |range: std::ops::RangeInclusive<u32>, default: u32| match level {
            Some(level) if !range.contains(&level) => plan_err!(
                "`compression_level` {level}: {variant} has levels {} to {}",
                range.start(),
                range.end()
            ),
            level => Ok(level.unwrap_or(default)),
        };
        let (to, own_bytes) = match variant {
            CompressionTypeVariant::UNCOMPRESSED => (Compressor::Plain(Vec::new()), 0),
            CompressionTypeVariant::GZIP => {
                let level = flate2::Compression::new(bounded(0..=9, 6)?);
                (Compressor::Gzip(GzEncoder::new(Vec::new(), level)), 300 << 10)
            }
            CompressionTypeVariant::BZIP2 => {
                let level = bounded(1..=9, 6)?;
                let encoder = BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
                (Compressor::Bzip2(encoder), (400 + 800 * level as usize) << 10)
            }
            CompressionTypeVariant::XZ => {
                let level = bounded(0..=9, 6)?;
                let encoder = XzEncoder::new(Vec::new(), level);
                (Compressor::Xz(encoder), XZ_MIB[level as usize] << 20)
            }
            CompressionTypeVariant::ZSTD => {
                let level = bounded(1..=22, 3)?;
                let encoder = zstd::Encoder::new(Vec::new(), level.try_into().unwrap_or(3))?;
                (Compressor::Zstd(encoder), zstd_mib(level) << 20)
            }
        };
        Ok(Self { to, own_bytes })
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match &mut self.to {
            Compressor::Plain(bytes) | Compressor::Ended(bytes) => bytes,
            Compressor::Gzip(encoder) => encoder.get_mut(),
            Compressor::Bzip2(encoder) => encoder.get_mut(),
            Compressor::Xz(encoder) => encoder.get_mut(),
            Compressor::Zstd(encoder) => encoder.get_mut(),
        })
    }

    fn finish(&mut self) -> Result<()> {
        let ended = match std::mem::replace(&mut self.to, Compressor::Ended(Vec::new())) {
            Compressor::Plain(bytes) | Compressor::Ended(bytes) => bytes,
            Compressor::Gzip(encoder) => encoder.finish()?,
            Compressor::Bzip2(encoder) => encoder.finish()?,
            Compressor::Xz(encoder) => encoder.finish()?,
            Compressor::Zstd(encoder) => encoder.finish()?,
        };
        *self = Self { to: Compressor::Ended(ended), own_bytes: 0 };
        Ok(())
    }
}

/// MiB that an encoder of xz takes, by level, as its manual says.
const XZ_MIB: [usize; 10] = [3, 9, 17, 32, 48, 94, 94, 186, 370, 674];

/// MiB that an encoder of zstd takes for a text of unknown length, as the library estimates them.
fn zstd_mib(level: u32) -> usize {
    match level {
        ..=6 => 6,
        7..=8 => 8,
        9 => 15,
        10..=15 => 69,
        16..=18 => 58,
        19 => 90,
        20 => 194,
        21 => 386,
        22.. => 770,
    }
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.to {
            Compressor::Plain(out) | Compressor::Ended(out) => out.write(bytes),
            Compressor::Gzip(out) => out.write(bytes),
            Compressor::Bzip2(out) => out.write(bytes),
            Compressor::Xz(out) => out.write(bytes),
            Compressor::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        // The bytes stay in memory, and a flush of the encoder would compress worse.
        Ok(())
    }
}

/// JSON: an object a line, or one array.
pub(super) struct JsonEncoder {
    out: Compressed,
    /// True for an object a line.
    is_lines: bool,
    /// True once the array has a row.
    has_rows: bool,
}

impl JsonEncoder {
    pub(super) fn new(options: &JsonOptions) -> Result<Self> {
        let mut out = Compressed::new(options.compression, options.compression_level)?;
        if !options.newline_delimited {
            out.write_all(b"[")?;
        }
        Ok(Self { out, is_lines: options.newline_delimited, has_rows: false })
    }
}

impl Encoder for JsonEncoder {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.is_lines {
            return Ok(json_text::write_lines(rows, &mut self.out)?);
        }
        let mut text = Vec::new();
        json_text::write_lines(rows, &mut text)?;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let before: &[u8] = if self.has_rows { b",\n" } else { b"\n" };
            self.out.write_all(before)?;
            self.out.write_all(line.strip_suffix(b"\n").unwrap_or(line))?;
            self.has_rows = true;
        }
        Ok(())
    }

    fn own_bytes(&self) -> usize {
        self.out.own_bytes
    }

    fn take(&mut self) -> Vec<u8> {
        self.out.take()
    }

    fn finish(&mut self) -> Result<()> {
        if !self.is_lines {
            self.out.write_all(b"\n]\n")?;
        }
        self.out.finish()
    }
}

/// CSV.
pub(super) struct CsvEncoder {
    writer: csv::WriterBuilder,
    out: Compressed,
    schema: SchemaRef,
    has_header: bool,
}

impl CsvEncoder {
    pub(super) fn new(schema: &SchemaRef, options: &CsvOptions) -> Result<Self> {
        let out = Compressed::new(options.compression, options.compression_level)?;
        let has_header = options.has_header.unwrap_or(true);
        let writer = CsvWriterOptions::try_from(options)?.writer_options;
        Ok(Self { writer, out, schema: schema.clone(), has_header })
    }

    fn write_with_header(&mut self, rows: &RecordBatch) -> Result<()> {
        shown::check(rows)?;
        let writer = self.writer.clone().with_header(std::mem::take(&mut self.has_header));
        writer.build(&mut self.out).write(rows)?;
        Ok(())
    }
}

impl Encoder for CsvEncoder {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.write_with_header(rows)
    }

    fn own_bytes(&self) -> usize {
        self.out.own_bytes
    }

    fn take(&mut self) -> Vec<u8> {
        self.out.take()
    }

    fn finish(&mut self) -> Result<()> {
        if self.has_header {
            self.write_with_header(&RecordBatch::new_empty(self.schema.clone()))?;
        }
        self.out.finish()
    }
}
