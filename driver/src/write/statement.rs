//! Logical plans that write, as what is written where.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider as _;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::file_options::file_type::FileType;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::DefaultFileType;
use datafusion::datasource::file_format::csv::CsvFormatFactory;
use datafusion::datasource::file_format::json::JsonFormatFactory;
use datafusion::datasource::file_format::parquet::ParquetFormatFactory;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::dml::{CopyTo, InsertOp};
use datafusion::logical_expr::{
    DmlStatement, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp, cast, col,
};
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::failure_of;
use gnist_operators::write::{FileLimits, WriteFormat};
use gnist_storage::{ExternalTable, WriteTarget};

use super::options::{Options, SaveMode};
use crate::error::not_yet;

/// A query whose rows are written to files.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// The query.
    pub(crate) query: Arc<LogicalPlan>,
    /// The place of the files.
    pub(crate) target: WriteTarget,
    /// The format.
    pub(crate) format: WriteFormat,
    /// The answer to data that is there.
    pub(crate) mode: SaveMode,
    /// The columns whose values are names of folders, outermost first.
    pub(crate) partition_by: Vec<String>,
    /// The options.
    pub(crate) options: Options,
    /// The columns that are declared never to be null.
    pub(crate) not_null: Vec<String>,
    /// True for a table, which says what its files are, whatever they are called.
    pub(crate) is_of_table: bool,
}

impl Write {
    /// `COPY`.
    ///
    /// # Errors
    /// The target, the format or an option is none.
    pub(crate) fn of_copy(copy: CopyTo) -> Result<Self, Failure> {
        let target = WriteTarget::of(&copy.output_url)?;
        let format = format_of(copy.file_type.as_ref())?;
        let options = Options::of(copy.options)?;
        let mode = options.mode.unwrap_or(SaveMode::Error);
        let (query, partition_by) = (copy.input, copy.partition_by);
        Self {
            query,
            target,
            format,
            mode,
            partition_by,
            options,
            not_null: Vec::new(),
            is_of_table: false,
        }
        .checked()
    }

    /// `INSERT INTO` and `INSERT OVERWRITE`.
    ///
    /// # Errors
    /// The table is none of files, or the statement is another one.
    pub(crate) fn of_dml(dml: DmlStatement) -> Result<Self, Failure> {
        let name = dml.table_name;
        let mode = match dml.op {
            WriteOp::Insert(InsertOp::Append) => SaveMode::Append,
            WriteOp::Insert(InsertOp::Overwrite) => SaveMode::Overwrite,
            other => return Err(not_yet(&format!("writing (`{}`)", other.name()))),
        };
        let provider = source_as_provider(&dml.target).map_err(|error| failure_of(&error))?;
        let Some(table) = provider.downcast_ref::<ExternalTable>() else {
            return Err(not_yet(&format!("`INSERT` into `{name}`, which is no external table"))
                .with_help("make it with `CREATE EXTERNAL TABLE`, or write with `COPY`"));
        };
        let target = table.target()?;
        let mut options = Options::of(table.options())?;
        let format = format_named(table.file_type())?;
        check_both_ways(format, &options.of_format)?;
        // Readers have options of their own.
        options.of_format.retain(|(key, _)| !READING.contains(&key.as_str()));
        let partition_by = table.partition_columns().to_vec();
        let query = as_declared(dml.input, &table.schema()).map_err(|error| failure_of(&error))?;
        let not_null = table.not_null_columns();
        Self { query, target, format, mode, partition_by, options, not_null, is_of_table: true }
            .checked()
    }

    /// Fails if the parts don't go together.
    fn checked(self) -> Result<Self, Failure> {
        let user = |message: String| Failure::new(ErrorKind::User, message);
        let given = &self.target.given;
        if self.target.single_file.is_some() {
            let help = format!("write to a folder: `{given}/`");
            if !self.partition_by.is_empty() {
                let message = format!("`{given}` is one file, and partitions are folders");
                return Err(user(message).with_help(help));
            }
            if matches!(self.mode, SaveMode::Append | SaveMode::OverwritePartitions) {
                let message = format!("`{given}` is one file, which `{}` can't change", self.mode);
                return Err(user(message).with_help(help));
            }
            if self.options.limits != FileLimits::default() {
                let message = format!("`{given}` is one file, however large it gets");
                return Err(user(message).with_help(help));
            }
        }
        if let Some((format, compression)) =
            self.target.single_file.as_deref().and_then(WriteTarget::form_of)
        {
            let options = self.format.options(&self.options.of_format);
            let chosen = options.map_or(compression, |options| match self.format {
                WriteFormat::Parquet => CompressionTypeVariant::UNCOMPRESSED,
                WriteFormat::Json => options.json.compression,
                WriteFormat::Csv => options.csv.compression,
            });
            if WriteFormat::from(format) != self.format || compression != chosen {
                let message = format!("the name `{given}` says another format or compression");
                return Err(user(message).with_help("give it the name of what is written"));
            }
        }
        if self.mode == SaveMode::OverwritePartitions && self.partition_by.is_empty() {
            let message = "`overwrite_partitions` needs columns to partition by".to_owned();
            return Err(user(message).with_help("add `PARTITIONED BY (column)`"));
        }
        Ok(self)
    }
}

/// Options of tables that only say how files are read.
const READING: [&str; 3] =
    ["format.schema_infer_max_rec", "format.newlines_in_values", "format.truncated_rows"];

/// Options of CSV that readers follow as writers do.
const BOTH_WAYS: [&str; 6] = [
    "format.has_header",
    "format.delimiter",
    "format.quote",
    "format.quote_style",
    "format.compression",
    "format.compression_level",
];

/// Fails if a table has options by which its files would be written in another way than they are read: only readers
/// follow `escape` and `comment`, and only writers the forms of dates.
fn check_both_ways(format: WriteFormat, options: &[(String, String)]) -> Result<(), Failure> {
    if format != WriteFormat::Csv {
        return Ok(());
    }
    let one_way = options.iter().find(|option| {
        let key = option.0.as_str();
        let says_something = || {
            let (with, plain) =
                (format.options(std::slice::from_ref(*option)), format.options(&[]));
            with.is_ok_and(|with| plain.is_ok_and(|plain| with.csv != plain.csv))
        };
        let is_default = [("format.null_value", ""), ("format.terminator", "\n")]
            .contains(&(key, option.1.as_str()));
        !READING.contains(&key) && !BOTH_WAYS.contains(&key) && !is_default && says_something()
    });
    let Some((key, _)) = one_way else { return Ok(()) };
    let name = key.strip_prefix("format.").unwrap_or(key);
    let message = format!("`INSERT` into a CSV table with the option `{name}`");
    let help = "its files would not be read as they are written; write with `COPY`";
    Err(not_yet(&message).with_help(help))
}

/// The rows with the types of a table's columns. DataFusion leaves out casts to types that values of the statement have
/// only until the rules of [`crate::sql`] have seen them.
fn as_declared(query: Arc<LogicalPlan>, table: &SchemaRef) -> DataFusionResult<Arc<LogicalPlan>> {
    let columns = query.schema().columns().into_iter().zip(table.fields());
    let columns: Vec<Expr> = columns
        .map(|(column, field)| cast(col(column), field.data_type().clone()).alias(field.name()))
        .collect();
    let query = LogicalPlanBuilder::from(Arc::unwrap_or_clone(query)).project(columns)?.build()?;
    Ok(Arc::new(query))
}

fn format_of(of: &dyn FileType) -> Result<WriteFormat, Failure> {
    let factory = of.as_any().downcast_ref::<DefaultFileType>();
    let Some(factory) = factory.map(DefaultFileType::as_format_factory) else {
        return format_named(&of.get_ext());
    };
    let given = if let Some(parquet) = factory.downcast_ref::<ParquetFormatFactory>() {
        (WriteFormat::Parquet, parquet.options.is_some())
    } else if let Some(csv) = factory.downcast_ref::<CsvFormatFactory>() {
        (WriteFormat::Csv, csv.options.is_some())
    } else if let Some(json) = factory.downcast_ref::<JsonFormatFactory>() {
        (WriteFormat::Json, json.options.is_some())
    } else {
        return format_named(&factory.get_ext());
    };
    match given {
        (format, false) => Ok(format),
        (format, true) => Err(not_yet(&format!("the {format} options of `DataFrame::write_*`"))
            .with_help("set them with `SET`, or write with `COPY ... OPTIONS (...)`")),
    }
}

fn format_named(name: &str) -> Result<WriteFormat, Failure> {
    WriteFormat::named(name).ok_or_else(|| {
        not_yet(&format!("writing `{name}`"))
            .with_help("formats that are written are Parquet, JSON and CSV")
    })
}
