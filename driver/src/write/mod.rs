//! Statements that write files: `COPY`, `INSERT INTO` and `INSERT OVERWRITE` of external tables.
//!
//! ```text
//! statement ──▶ Write: query, target, mode, form
//!   1. look at the target: what is there, and may it be written to?          target.rs
//!   2. run the query's plan with a WriteExec on top: files staged, receipts  run.rs
//!   3. commit the receipts, or give the staged files up                      target.rs
//! ```
//!
//! - [`frame`]: the builder of a frame that is written
//! - [`options`]: the options of a statement: ours, and those of the format
//! - [`statement`]: a logical plan as a [`Write`]
//!
//! The commit is the driver's alone: see [`gnist_storage::commit`].

mod frame;
mod options;
mod run;
mod statement;
mod target;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use frame::{FrameWriter, WriteFrame};
pub(crate) use options::Options;
pub(crate) use run::write;
pub(crate) use statement::Write;

static COUNT: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)])));

/// The column of a write's answer, as DataFusion has it.
pub(crate) fn count_schema() -> SchemaRef {
    Arc::clone(&COUNT)
}

/// The answer of a write: one row with the number of rows that were written.
pub(crate) fn count_row(rows: u64) -> RecordBatch {
    let count = Arc::new(UInt64Array::from_value(rows, 1));
    RecordBatch::try_new(count_schema(), vec![count]).expect("one column of this type")
}
