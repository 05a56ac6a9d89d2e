//! Rows by the values of the columns that a write is partitioned by, and the folders they go to.
//!
//! A folder is called `column=value`, as Hive and Spark call it: what can't be in a name is written `%XX`, and null is
//! [`NULL_PARTITION`].

use std::collections::HashMap;
use std::fmt::Write as _;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{cast, take_record_batch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_err};
use gnist_storage::NULL_PARTITION;

/// Bytes of a name, on most disks.
const NAME_BYTES_MAX: usize = 255;

/// A value of the partition columns, encoded so that equal values have equal bytes.
pub(super) type Key = Box<[u8]>;

/// The partition columns of a write.
pub(super) struct Folders {
    /// Their indices and names, outermost first.
    columns: Vec<(usize, String)>,
    /// The indices of the other columns, which are in the files.
    others: Vec<usize>,
    converter: RowConverter,
}

impl Folders {
    pub(super) fn new(schema: &SchemaRef, partition_by: &[usize]) -> Result<Self> {
        let field = |at: &usize| schema.field(*at);
        let keys = partition_by.iter().map(|at| SortField::new(field(at).data_type().clone()));
        Ok(Self {
            converter: RowConverter::new(keys.collect())?,
            columns: partition_by.iter().map(|at| (*at, field(at).name().clone())).collect(),
            others: others(schema, partition_by),
        })
    }

    /// The rows of each value that occurs, in their order; values in the order in which they occur.
    pub(super) fn split(&self, rows: &RecordBatch) -> Result<Vec<(Key, RecordBatch)>> {
        let columns: Vec<_> = self.columns.iter().map(|(at, _)| rows.column(*at).clone()).collect();
        let keys = self.converter.convert_columns(&columns)?;
        let mut groups: Vec<(Key, Vec<u32>)> = Vec::new();
        let mut group_of: HashMap<Key, usize> = HashMap::new();
        let mut last: Option<usize> = None;
        for (row, key) in (0_u32..).zip(&keys) {
            let key = key.as_ref();
            let group = match last {
                Some(group) if *groups[group].0 == *key => group,
                _ => match group_of.get(key) {
                    Some(group) => *group,
                    None => {
                        group_of.insert(key.into(), groups.len());
                        groups.push((key.into(), Vec::new()));
                        groups.len() - 1
                    }
                },
            };
            groups[group].1.push(row);
            last = Some(group);
        }
        if groups.len() == 1 {
            let (key, _) = groups.swap_remove(0);
            return Ok(vec![(key, rows.clone())]);
        }
        let order: Vec<u32> = groups.iter().flat_map(|(_, rows)| rows).copied().collect();
        let sorted = take_record_batch(rows, &UInt32Array::from(order))?;
        let mut first = 0;
        let split = groups.into_iter().map(|(key, rows)| {
            let of_group = sorted.slice(first, rows.len());
            first += rows.len();
            (key, of_group)
        });
        Ok(split.collect())
    }

    /// The folder of rows that have one value, relative to that of the table.
    ///
    /// # Errors
    /// A text is empty: a folder's name can't say so.
    pub(super) fn folder_of(&self, rows: &RecordBatch) -> Result<String> {
        let mut path = String::new();
        for (at, name) in &self.columns {
            let value = cast(&rows.column(*at).slice(0, 1), &DataType::Utf8)?;
            let value = value.as_string::<i32>();
            if !path.is_empty() {
                path.push('/');
            }
            if value.is_null(0) {
                let _ = write!(path, "{name}={NULL_PARTITION}");
                continue;
            }
            let value = value.value(0);
            if value.is_empty() {
                return exec_err!(
                    "an empty text in `{name}`, by which the write is partitioned, can't be the name of a \
                     folder: write `nullif({name}, '')`"
                );
            }
            if value == NULL_PARTITION {
                return exec_err!(
                    "the text `{NULL_PARTITION}` in `{name}`, by which the write is partitioned, is the name of the \
                     folder of null: write `nullif({name}, '{NULL_PARTITION}')`"
                );
            }
            let of_time = matches!(rows.column(*at).data_type(), DataType::Timestamp(..));
            let value =
                escaped(&if of_time { value.replacen('T', " ", 1) } else { value.to_owned() });
            if name.len() + 1 + value.len() > NAME_BYTES_MAX {
                let shown: String = value.chars().take(40).collect();
                return exec_err!(
                    "`{shown}...` in `{name}`, by which the write is partitioned, is too long for the name of a \
                     folder: write `left({name}, 60)`, or partition by another column"
                );
            }
            let _ = write!(path, "{name}={value}");
        }
        Ok(path)
    }

    /// The columns that are in the files.
    pub(super) fn without_keys(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(rows.project(&self.others)?)
    }
}

/// The columns of files: those that no folder's name says.
pub(super) fn file_schema(schema: &SchemaRef, partition_by: &[usize]) -> Result<SchemaRef> {
    Ok(schema.project(&others(schema, partition_by))?.into())
}

fn others(schema: &SchemaRef, partition_by: &[usize]) -> Vec<usize> {
    (0..schema.fields().len()).filter(|at| !partition_by.contains(at)).collect()
}

/// Returns true if a column's name can be in the name of a folder, as it is.
pub fn is_folder_name(column: &str) -> bool {
    // Readers take a folder whose name begins with a point for a hidden one.
    !column.is_empty() && !column.starts_with('.') && escaped(column) == column
}

/// A text as a name of a folder, escaped as Spark does.
fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' => {
                let _ = write!(name, "%{:02X}", u32::from(character));
            }
            control if control.is_ascii_control() => {
                let _ = write!(name, "%{:02X}", u32::from(control));
            }
            other => name.push(other),
        }
    }
    // Names of their own meaning.
    if name.chars().all(|character| character == '.') {
        name = name.replace('.', "%2E");
    }
    name
}
