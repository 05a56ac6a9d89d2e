//! Receipts: a row per file that a task has staged, for the driver.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{AsArray, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use gnist_storage::commit::AddedFile;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("staged", DataType::Utf8, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("rows", DataType::UInt64, false),
    ]))
});

/// The columns of receipts.
pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

pub(super) fn batch_of(files: &[AddedFile]) -> Result<RecordBatch> {
    let text = |of: fn(&AddedFile) -> &String| StringArray::from_iter_values(files.iter().map(of));
    let number = |of: fn(&AddedFile) -> u64| UInt64Array::from_iter_values(files.iter().map(of));
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(text(|file| &file.path)),
            Arc::new(StringArray::from_iter_values(
                files
                    .iter()
                    .map(|file| serde_json::to_string(&file.staged).expect("texts are JSON")),
            )),
            Arc::new(number(|file| file.bytes)),
            Arc::new(number(|file| file.rows)),
        ],
    );
    Ok(batch?)
}

/// The files that rows of a [`super::WriteExec`] are receipts for.
///
/// # Errors
/// Internal, when they are other rows.
pub fn receipts_of(rows: &RecordBatch) -> Result<Vec<AddedFile>> {
    if rows.schema().fields() != SCHEMA.fields() {
        return internal_err!("rows of {} are no receipts", rows.schema());
    }
    let text = |at: usize, row: usize| rows.column(at).as_string::<i32>().value(row).to_owned();
    let number = |at: usize, row: usize| rows.column(at).as_primitive::<UInt64Type>().value(row);
    let files = (0..rows.num_rows()).map(|row| {
        let staged = serde_json::from_str(&text(1, row));
        Ok(AddedFile {
            path: text(0, row),
            staged: staged.map_err(|error| internal_datafusion_err!("a receipt: {error}"))?,
            bytes: number(2, row),
            rows: number(3, row),
        })
    });
    files.collect()
}
