//! The error of a number that does not fit its type.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use gnist_common::error::{ErrorKind, Failure};

use crate::failure::external;

/// A result that does not fit its type; `instead` is the function that gives null.
pub(super) fn does_not_fit(
    value: &str,
    data_type: &DataType,
    expression: &str,
    instead: &str,
) -> DataFusionError {
    let name = sql_name(data_type);
    let message = format!("overflow{}: `{value}` does not fit {name}", place(expression, value));
    external(Failure::new(ErrorKind::User, message).with_help(advice(instead)))
}

/// A division by zero.
pub(super) fn by_zero(value: &str, expression: &str, instead: &str) -> DataFusionError {
    let message = format!("division by zero{}: `{value}`", place(expression, value));
    external(Failure::new(ErrorKind::User, message).with_help(advice(instead)))
}

/// The place of the overflow, unless the values are the whole expression.
fn place(expression: &str, value: &str) -> String {
    if expression == value { String::new() } else { format!(" in `{expression}`") }
}

fn advice(instead: &str) -> String {
    format!("`{instead}` gives null instead, and `set sql.ansi = false` allows it everywhere")
}

/// The name of a numeric type in SQL; Arrow's for any other.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            return format!("DECIMAL({precision}, {scale})");
        }
        other => return other.to_string(),
    };
    name.to_owned()
}
