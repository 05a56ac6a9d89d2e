//! The builder of a frame that is written, with Spark's names.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::common::Result;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::csv::CsvFormatFactory;
use datafusion::datasource::file_format::json::JsonFormatFactory;
use datafusion::datasource::file_format::parquet::ParquetFormatFactory;
use datafusion::datasource::file_format::{FileFormatFactory, format_as_file_type};
use datafusion::logical_expr::LogicalPlanBuilder;

use crate::error::SessionError;

/// Frames that can be written.
pub trait WriteFrame {
    /// The builder of a write of this frame's rows.
    fn write(self) -> FrameWriter;
}

impl WriteFrame for DataFrame {
    fn write(self) -> FrameWriter {
        FrameWriter { frame: self, partition_by: Vec::new(), options: HashMap::new() }
    }
}

/// A write that is being described. The last call writes, as `COPY` does: all files or none.
///
/// ```text
/// frame.write().mode("overwrite").partition_by(["country"]).parquet("out/").await?;
/// ```
#[derive(Clone, Debug)]
pub struct FrameWriter {
    frame: DataFrame,
    partition_by: Vec<String>,
    options: HashMap<String, String>,
}

impl FrameWriter {
    /// The answer to data that is there: `error`, which is the default, `append`, `overwrite`,
    /// `overwrite_partitions` or `ignore`.
    #[must_use]
    pub fn mode(self, mode: &str) -> Self {
        self.option("mode", mode)
    }

    /// The columns whose values are names of folders, outermost first.
    #[must_use]
    pub fn partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The order of the rows of each task, and so of each file: columns, such as `a` or `b desc`.
    #[must_use]
    pub fn sort_by<S: AsRef<str>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        let columns: Vec<String> =
            columns.into_iter().map(|column| column.as_ref().to_owned()).collect();
        self.option("sort_by", &columns.join(", "))
    }

    /// An option of `COPY`, or of the format.
    #[must_use]
    pub fn option(mut self, key: &str, value: &str) -> Self {
        let key = if key.contains('.') { key.to_owned() } else { format!("format.{key}") };
        self.options.insert(key, value.to_owned());
        self
    }

    /// Writes Parquet files. Returns the number of rows.
    ///
    /// # Errors
    /// An option or column is not known, the query's failure, or that of the commit; nothing is visible then.
    pub async fn parquet(self, path: &str) -> Result<u64, SessionError> {
        self.save(path, Arc::new(ParquetFormatFactory::new())).await
    }

    /// Writes files of a JSON object per line. Returns the number of rows.
    ///
    /// # Errors
    /// As [`FrameWriter::parquet`].
    pub async fn json(self, path: &str) -> Result<u64, SessionError> {
        self.save(path, Arc::new(JsonFormatFactory::new())).await
    }

    /// Writes CSV files with a header. Returns the number of rows.
    ///
    /// # Errors
    /// As [`FrameWriter::parquet`].
    pub async fn csv(self, path: &str) -> Result<u64, SessionError> {
        self.save(path, Arc::new(CsvFormatFactory::new())).await
    }

    async fn save(
        self,
        path: &str,
        format: Arc<dyn FileFormatFactory>,
    ) -> Result<u64, SessionError> {
        let (state, query) = self.frame.into_parts();
        let copy = LogicalPlanBuilder::copy_to(
            query,
            path.to_owned(),
            format_as_file_type(format),
            self.options,
            self.partition_by,
        )?;
        let answer = DataFrame::new(state, copy.build()?).collect().await?;
        let counts = answer.iter().flat_map(|rows| rows.column(0).as_primitive::<UInt64Type>());
        Ok(counts.flatten().sum())
    }
}
