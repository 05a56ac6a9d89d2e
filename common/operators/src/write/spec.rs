//! The target of a write, and the form of its files.

use std::fmt;

use datafusion::common::config::{ConfigFileType, ConfigOptions, TableOptions};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{Result, internal_err};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::path::Path;
use gnist_storage::FileFormat;
use prost::Message;

/// The format of files that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum WriteFormat {
    /// Apache Parquet.
    Parquet = 0,
    /// A JSON object a line.
    Json = 1,
    /// Comma-separated values.
    Csv = 2,
}

impl From<FileFormat> for WriteFormat {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Parquet => Self::Parquet,
            FileFormat::Json => Self::Json,
            FileFormat::Csv => Self::Csv,
        }
    }
}

impl fmt::Display for WriteFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Json => "JSON",
            Self::Csv => "CSV",
        })
    }
}

impl WriteFormat {
    /// The format that is called so in a statement.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "json" | "ndjson" | "jsonl" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The options of a format, changed by options as DataFusion names them, such as `format.compression`.
    ///
    /// # Errors
    /// When an option is not known, or has a value that is none of its.
    pub fn options(self, options: &[(String, String)]) -> Result<TableOptions> {
        let mut of_format = TableOptions::default();
        of_format.set_config_format(self.config());
        for (key, value) in options {
            of_format.set(key, value)?;
        }
        Ok(of_format)
    }

    /// The options that say what the settings of a session say beside DataFusion's own: tasks don't look at
    /// settings.
    pub fn of_settings(self, settings: &ConfigOptions) -> Vec<(String, String)> {
        let mut of_session = TableOptions::default_from_session_config(settings);
        let mut plain = TableOptions::default();
        of_session.set_config_format(self.config());
        plain.set_config_format(self.config());
        let entries = of_session.entries().into_iter().zip(plain.entries());
        let changed = entries.filter(|(ours, plain)| ours.value != plain.value);
        let mut options: Vec<_> =
            changed.filter_map(|(ours, _)| Some((ours.key, ours.value?))).collect();
        if self == Self::Csv && !settings.catalog.has_header {
            options.push(("format.has_header".to_owned(), "false".to_owned()));
        }
        options
    }

    fn config(self) -> ConfigFileType {
        match self {
            Self::Parquet => ConfigFileType::PARQUET,
            Self::Json => ConfigFileType::JSON,
            Self::Csv => ConfigFileType::CSV,
        }
    }

    /// The end of a file's name, such as `csv.gz`.
    pub fn extension(self, options: &TableOptions) -> String {
        let (end, compression) = match self {
            Self::Parquet => return "parquet".to_owned(),
            Self::Json => ("json", options.json.compression),
            Self::Csv => ("csv", options.csv.compression),
        };
        let of_compression = match compression {
            CompressionTypeVariant::GZIP => ".gz",
            CompressionTypeVariant::BZIP2 => ".bz2",
            CompressionTypeVariant::XZ => ".xz",
            CompressionTypeVariant::ZSTD => ".zst",
            CompressionTypeVariant::UNCOMPRESSED => "",
        };
        format!("{end}{of_compression}")
    }
}

/// Sizes above which a task begins another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of a file; the last rows of a batch may come on top.
    pub bytes: u64,
    /// Rows of a file.
    pub rows: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { bytes: u64::MAX, rows: u64::MAX }
    }
}

/// The target of a write, and the form of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteSpec {
    /// The store.
    pub store: ObjectStoreUrl,
    /// The folder of the table in the store.
    pub folder: Path,
    /// The name of the only file; a write of many files if absent.
    pub single_file: Option<String>,
    /// The format.
    pub format: WriteFormat,
    /// The options of the format, as DataFusion names them, in the order in which they were given.
    pub options: Vec<(String, String)>,
    /// The columns whose values are names of folders, by index, outermost first.
    pub partition_by: Vec<usize>,
    /// The sizes of files.
    pub limits: FileLimits,
    /// The columns that are never null, by index.
    pub not_null: Vec<usize>,
}

/// A [`WriteSpec`] on the wire.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteSpecMessage {
    #[prost(string, tag = "1")]
    store: String,
    #[prost(string, tag = "2")]
    folder: String,
    #[prost(string, optional, tag = "3")]
    single_file: Option<String>,
    #[prost(enumeration = "WriteFormat", tag = "4")]
    format: i32,
    #[prost(string, repeated, tag = "5")]
    option_keys: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    option_values: Vec<String>,
    #[prost(uint32, repeated, tag = "7")]
    partition_by: Vec<u32>,
    #[prost(uint64, tag = "8")]
    bytes_max: u64,
    #[prost(uint64, tag = "9")]
    rows_max: u64,
    #[prost(uint32, repeated, tag = "10")]
    not_null: Vec<u32>,
}

impl WriteSpec {
    pub(crate) fn encode(&self) -> WriteSpecMessage {
        let Self { store, folder, single_file, format, options, partition_by, limits, not_null } =
            self;
        let column = |at: &usize| u32::try_from(*at).expect("columns are few");
        WriteSpecMessage {
            store: store.as_str().to_owned(),
            folder: folder.as_ref().to_owned(),
            single_file: single_file.clone(),
            format: *format as i32,
            option_keys: options.iter().map(|(key, _)| key.clone()).collect(),
            option_values: options.iter().map(|(_, value)| value.clone()).collect(),
            partition_by: partition_by.iter().map(column).collect(),
            bytes_max: limits.bytes,
            rows_max: limits.rows,
            not_null: not_null.iter().map(column).collect(),
        }
    }

    pub(crate) fn decode(message: WriteSpecMessage) -> Result<Self> {
        let Ok(format) = WriteFormat::try_from(message.format) else {
            return internal_err!("there is no format {}", message.format);
        };
        if message.option_keys.len() != message.option_values.len() {
            return internal_err!("an option of a write has no value");
        }
        let options = message.option_keys.into_iter().zip(message.option_values);
        Ok(Self {
            store: ObjectStoreUrl::parse(message.store)?,
            folder: Path::parse(message.folder)?,
            single_file: message.single_file,
            format,
            options: options.collect(),
            partition_by: message.partition_by.into_iter().map(|at| at as usize).collect(),
            limits: FileLimits { bytes: message.bytes_max, rows: message.rows_max },
            not_null: message.not_null.into_iter().map(|at| at as usize).collect(),
        })
    }
}
