//! The format and compression of a file, told from its name.

use std::fmt;
use std::path::Path;

use datafusion::common::parsers::CompressionTypeVariant;

/// The format of a file's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Json => "JSON",
            Self::Csv => "CSV",
        })
    }
}

const FORMATS: [(&str, FileFormat); 5] = [
    (".parquet", FileFormat::Parquet),
    (".json", FileFormat::Json),
    (".ndjson", FileFormat::Json),
    (".jsonl", FileFormat::Json),
    (".csv", FileFormat::Csv),
];

const COMPRESSIONS: [(&str, CompressionTypeVariant); 4] = [
    (".gz", CompressionTypeVariant::GZIP),
    (".bz2", CompressionTypeVariant::BZIP2),
    (".xz", CompressionTypeVariant::XZ),
    (".zst", CompressionTypeVariant::ZSTD),
];

/// The end of a file's name, and what it says of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    /// The format of its rows.
    pub(crate) format: FileFormat,
    /// The compression of the whole file. Parquet compresses inside.
    pub(crate) compression: CompressionTypeVariant,
    /// The end itself, as written, such as `.csv.gz`.
    pub(crate) text: String,
}

/// Returns what the name of a file says of it; none when it ends in nothing known.
pub(crate) fn extension_of(path: &Path) -> Option<Extension> {
    let name = path.file_name()?.to_str()?;
    let lower = name.to_ascii_lowercase();
    let compressed = COMPRESSIONS.iter().find(|(end, _)| lower.ends_with(end));
    let (inner, compression) = match compressed {
        Some((end, compression)) => (&lower[..lower.len() - end.len()], *compression),
        None => (lower.as_str(), CompressionTypeVariant::UNCOMPRESSED),
    };
    let (end, format) = FORMATS.iter().find(|(end, _)| inner.ends_with(end))?;
    if *format == FileFormat::Parquet && compressed.is_some() {
        return None;
    }
    let text = name[inner.len() - end.len()..].to_owned();
    Some(Extension { format: *format, compression, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_format_and_compression() {
        for (name, format, compression, text) in [
            ("a/b.parquet", FileFormat::Parquet, CompressionTypeVariant::UNCOMPRESSED, ".parquet"),
            ("b.JSON", FileFormat::Json, CompressionTypeVariant::UNCOMPRESSED, ".JSON"),
            ("x.y.csv.gz", FileFormat::Csv, CompressionTypeVariant::GZIP, ".csv.gz"),
            ("l.ndjson.zst", FileFormat::Json, CompressionTypeVariant::ZSTD, ".ndjson.zst"),
        ] {
            let text = text.to_owned();
            let expected = Some(Extension { format, compression, text });
            assert_eq!(extension_of(Path::new(name)), expected, "{name}");
        }
        for name in ["a", "a.txt", "a.parquet.gz", "a.gz", ""] {
            assert_eq!(extension_of(Path::new(name)), None, "{name}");
        }
    }
}
