//! Columns that the names of folders say: `year=2024/month=5/`, as Hive and Spark write them.
//!
//! A folder that is read by its path has such columns if all of its files lie below folders of the same names, from the
//! first level on. Their types follow from their values: whole numbers, dates, numbers that a float has with all their
//! digits, else texts.

use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array as _, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;

use crate::refusal::ListingError;

/// The folder that Hive and Spark write rows to whose partition column is null.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Types that texts are tried to be, in this order.
const TYPES: [DataType; 3] = [DataType::Int64, DataType::Date32, DataType::Float64];

/// The columns that the folders between `root` and its files say, outermost first; none if they are no partitions.
///
/// # Errors
/// Some files lie below other partitions than others.
pub(crate) fn partition_columns(
    root: &Path,
    files: &[PathBuf],
) -> Result<Vec<(String, DataType)>, ListingError> {
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let found = partitions_of(root, file);
        if at == 0 {
            columns = found.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        }
        let is_same = found.len() == columns.len()
            && found.iter().zip(&columns).all(|((name, _), (known, _))| name == known);
        if !is_same {
            return Err(ListingError::MixedPartitions {
                first: files[0].clone(),
                other: file.clone(),
            });
        }
        for ((_, value), (_, values)) in found.into_iter().zip(&mut columns) {
            if values.last() != Some(&value) {
                values.push(value);
            }
        }
    }
    Ok(columns.into_iter().map(|(name, values)| (name, type_of(values))).collect())
}

/// The partitions that a file is in, from the folder `root` on.
fn partitions_of(root: &Path, file: &Path) -> Vec<(String, String)> {
    let Ok(below) = file.strip_prefix(root) else { return Vec::new() };
    let folders = below.parent().into_iter().flat_map(Path::iter);
    let partition = |name: &std::ffi::OsStr| {
        let (name, value) = name.to_str()?.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), decoded(value)))
    };
    folders.map_while(partition).collect()
}

/// A value as it was before it became the name of a folder.
fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| name.get(at + 1..at + 3))
            .flatten()
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        text.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(text).unwrap_or_else(|_| name.to_owned())
}

/// The type that all values have.
fn type_of(values: Vec<String>) -> DataType {
    let values = values.into_iter().filter(|value| value != NULL_PARTITION);
    let values: StringArray = values.map(Some).collect();
    if values.is_empty() {
        return DataType::Utf8;
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let fits = |of: &DataType| {
        cast_with_options(&values, of, &strict).is_ok()
            // Arrow reads more as a date than a date.
            && (*of != DataType::Date32 || values.iter().flatten().all(is_date))
            && (*of != DataType::Float64 || values.iter().flatten().all(is_number))
    };
    TYPES.into_iter().find(fits).unwrap_or(DataType::Utf8)
}

fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let dashes = text.as_bytes();
    text.len() == 10
        && digits(0..4)
        && dashes[4] == b'-'
        && digits(5..7)
        && dashes[7] == b'-'
        && digits(8..10)
}

/// The digits that every number of them has as a float, whichever they are.
const FLOAT_DIGITS: usize = 15;

/// Not `NaN`, `inf` and the like, which are names, nor a number that a float would round.
fn is_number(text: &str) -> bool {
    let is_of_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+');
    let digits = text.trim_start_matches(['-', '+', '0', '.']).bytes();
    text.bytes().all(is_of_number) && digits.filter(u8::is_ascii_digit).count() <= FLOAT_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(files: &[&str]) -> Result<Vec<(String, DataType)>, ListingError> {
        let root = Path::new("/lake/k=0/t");
        let files: Vec<PathBuf> = files.iter().map(|file| root.join(file)).collect();
        partition_columns(root, &files)
    }

    #[test]
    fn folders_say_names_and_types() {
        for (files, expected) in [
            (vec!["a.csv", "b/c.csv"], vec![]),
            (
                vec!["y=2024/m=01/a.csv", "y=2025/m=12/b.csv"],
                vec![("y", DataType::Int64), ("m", DataType::Int64)],
            ),
            (vec!["_d=2024-01-31/a.csv", "_d=2024-02-01/a.csv"], vec![("_d", DataType::Date32)]),
            (vec!["k=1/a.csv", "k=1.5/a.csv"], vec![("k", DataType::Float64)]),
            (vec!["k=1/a.csv", "k=NaN/a.csv"], vec![("k", DataType::Utf8)]),
            (
                vec!["k=18446744073709551614/a.csv", "k=18446744073709551615/a.csv"],
                vec![("k", DataType::Utf8)],
            ),
            (vec!["k=0.1234567890123456/a.csv"], vec![("k", DataType::Utf8)]),
            (vec!["k=2024-01-31T00:00:00/a.csv"], vec![("k", DataType::Utf8)]),
            (vec!["k=1/a.csv", "k=__HIVE_DEFAULT_PARTITION__/a.csv"], vec![("k", DataType::Int64)]),
            (vec!["k=%31%32/a.csv"], vec![("k", DataType::Int64)]),
            (vec!["k=12%3A30/x/a.csv"], vec![("k", DataType::Utf8)]),
            (vec!["x/k=1/a.csv"], vec![]),
        ] {
            let found = columns(&files).expect("the same everywhere");
            let expected: Vec<_> =
                expected.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
            assert_eq!(found, expected, "{files:?}");
        }
    }

    #[test]
    fn folders_that_say_different_names_are_named() {
        for files in
            [["a.csv", "k=1/b.csv"], ["k=1/a.csv", "j=1/b.csv"], ["k=1/a.csv", "k=1/j=2/b.csv"]]
        {
            let error = columns(&files).expect_err("different").to_string();
            assert!(error.contains("a.csv") && error.contains("b.csv"), "{error}");
        }
    }
}
