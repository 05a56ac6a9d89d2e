//! Tables: columns, rows, and how they are stored.

use std::fmt;

use crate::types::Type;
use crate::value::Row;

/// A column of a table. Columns are named `c0`, `c1`, ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The type.
    pub of: Type,
    /// True if it holds nulls.
    pub nullable: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The name.
    pub name: String,
    /// The columns; the first is unique and never null.
    pub columns: Vec<Column>,
    /// The rows, in the order in which they are stored.
    pub rows: Vec<Row>,
    /// The storage of the rows.
    pub storage: Storage,
    /// The columns by each of which the rows of every partition or file are declared to be sorted:
    /// ascending, nulls last. All rows of the table are in the order of the first one.
    pub sorted_by: Vec<usize>,
    /// True if it holds edge values, with which arithmetic overflows.
    pub is_edge: bool,
}

/// The storage of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Memory: the number of rows of every batch of every partition.
    Memory(Vec<Vec<usize>>),
    /// CSV files.
    Csv {
        /// Rows of each file.
        files: Vec<usize>,
        /// The compression of the files.
        compression: Compression,
        /// The character between fields.
        delimiter: char,
        /// The character between records; a line feed if absent.
        terminator: Option<char>,
        /// The character around texts.
        quote: char,
        /// True if a first line names the columns.
        header: bool,
        /// True if texts hold line feeds.
        newlines: bool,
    },
    /// JSON files.
    Json {
        /// Rows of each file.
        files: Vec<usize>,
        /// The compression of the files.
        compression: Compression,
        /// True if a file is one array instead of an object per line.
        array: bool,
    },
    /// Parquet files.
    Parquet {
        /// Rows of each file.
        files: Vec<usize>,
        /// Rows of a row group.
        group_rows: usize,
        /// True if the footer says how the rows are sorted.
        sorting_columns: bool,
    },
}

/// The compression of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip
    Gzip,
    /// bzip2
    Bzip2,
    /// xz
    Xz,
    /// zstd
    Zstd,
}

impl Compression {
    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// The tables that statements read.
#[derive(Clone, Debug)]
pub struct TableSet {
    /// The tables. Columns at the same place have the same type, where the format has it.
    pub tables: Vec<Table>,
    /// Minutes by which the session's time zone is ahead of UTC.
    pub zone_minutes: i32,
}

impl TableSet {
    /// The session's time zone, as in `+02:00`.
    pub fn zone(&self) -> String {
        zone_text(self.zone_minutes)
    }
}

pub(crate) fn zone_text(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

impl Table {
    /// Rows of each file; none for a table in memory.
    pub fn files(&self) -> &[usize] {
        match &self.storage {
            Storage::Memory(_) => &[],
            Storage::Csv { files, .. }
            | Storage::Json { files, .. }
            | Storage::Parquet { files, .. } => files,
        }
    }
}
