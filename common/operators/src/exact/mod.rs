//! Scans of files that lose no digit, and name the file that can't be read.
//!
//! Arrow reads a number of JSON into a column of integers through a float and drops the fraction: a
//! column whose first 1,000 rows are integers has 1 where a later row says `1.5`. In JSON and CSV it
//! drops the digits beyond the scale of a decimal, where a cast rounds. So an executor reads these
//! columns wider than they are, and makes them narrow:
//!
//! ```text
//! declared          read as                narrow
//! integer, JSON     DECIMAL(38, 18)        an error if there is a fraction, or it does not fit
//! DECIMAL(p, s)     DECIMAL(p + 1, s + 1)  rounded, as by a cast
//! s and ms, CSV     microseconds           an error if there are digits beyond the unit
//! DATE              text                   an error if there is a time of day
//! ```
//!
//! Columns inside structs, lists and maps too. Columns of CSV are told by the header of each file (`header`). Columns
//! of Parquet files have types of their own, which must fit into the declared ones (`declared`). Rejected: to read
//! integers as texts. Arrow does so only if it is told to take every number for a text, and DataFusion's reader of JSON
//! doesn't tell it.

mod declared;
mod header;
mod narrow;
mod opener;
mod source;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{
    CsvSource, FileScanConfig, FileScanConfigBuilder, JsonSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::wire::is_json_array;
use declared::DeclaredTypes;
use source::ExactFiles;

/// The formats whose scans are made exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Files of an object per line, or of one array each.
    Json {
        is_array: bool,
    },
    Csv,
}

impl Format {
    fn of(scan: &FileScanConfig) -> Result<Option<Self>> {
        Ok(if scan.file_source.is::<JsonSource>() {
            Some(Self::Json { is_array: is_json_array(scan)? })
        } else {
            scan.file_source.is::<CsvSource>().then_some(Self::Csv)
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json { .. } => "JSON",
            Self::Csv => "CSV",
        }
    }
}

/// A plan with every scan of files made exact.
///
/// # Errors
/// A scan can't be opened at all.
pub fn exact_plan(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let exact = exact(&node)?;
        Ok(exact.map_or_else(|| Transformed::no(node), Transformed::yes))
    })
    .data()
}

/// The exact scan in place of one of files; none for any other operator.
///
/// # Errors
/// The scan can't be opened at all.
pub(crate) fn exact(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let scan = source.and_then(|source| source.downcast_ref::<FileScanConfig>());
    let Some(scan) = scan else { return Ok(None) };
    if scan.file_source.is::<ParquetSource>() {
        let builder = FileScanConfigBuilder::from(scan.clone());
        let scan = builder.with_expr_adapter(Some(Arc::new(DeclaredTypes))).build();
        return Ok(Some(DataSourceExec::from_data_source(scan)));
    }
    let Some(format) = Format::of(scan)? else { return Ok(None) };
    let source = ExactFiles::new(Arc::clone(&scan.file_source), format);
    let scan = FileScanConfigBuilder::from(scan.clone()).with_source(Arc::new(source)).build();
    Ok(Some(DataSourceExec::from_data_source(scan)))
}

/// The schema that files are read with; none if all columns are read as they are.
fn wide_schema(schema: &Schema, format: Format) -> Option<SchemaRef> {
    let fields = wide_fields(schema.fields(), format)?;
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn wide_fields(fields: &Fields, format: Format) -> Option<Fields> {
    let wide: Vec<_> = fields.iter().map(|field| wide_field(field, format)).collect();
    if wide.iter().all(Option::is_none) {
        return None;
    }
    let fields = fields.iter().zip(wide);
    Some(fields.map(|(field, wide)| wide.unwrap_or_else(|| Arc::clone(field))).collect())
}

fn wide_field(field: &Field, format: Format) -> Option<Arc<Field>> {
    let wide = wide_type(field.data_type(), format)?;
    Some(Arc::new(field.clone().with_data_type(wide)))
}

/// The type that a column is read as, if that is not its own.
fn wide_type(data_type: &DataType, format: Format) -> Option<DataType> {
    match data_type {
        integer if integer.is_integer() && format != Format::Csv => {
            Some(DataType::Decimal128(38, narrow::PLACES))
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *precision < 38 =>
        {
            Some(DataType::Decimal128(precision + 1, scale + 1))
        }
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)
            if *precision < 76 =>
        {
            Some(DataType::Decimal256(precision + 1, scale + 1))
        }
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone)
            if format == Format::Csv =>
        {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Date32 => Some(DataType::Utf8),
        DataType::Struct(fields) => wide_fields(fields, format).map(DataType::Struct),
        DataType::List(field) => wide_field(field, format).map(DataType::List),
        DataType::LargeList(field) => wide_field(field, format).map(DataType::LargeList),
        DataType::FixedSizeList(field, size) => {
            wide_field(field, format).map(|field| DataType::FixedSizeList(field, *size))
        }
        DataType::Map(field, is_sorted) => {
            wide_field(field, format).map(|field| DataType::Map(field, *is_sorted))
        }
        _ => None,
    }
}
