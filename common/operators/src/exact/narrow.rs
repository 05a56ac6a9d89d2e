//! Rows that were read wider than declared, made narrow.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, FixedSizeListArray, LargeListArray,
    ListArray, MapArray, PrimitiveArray, PrimitiveBuilder, RecordBatch, StructArray,
    downcast_integer,
};
use datafusion::arrow::compute::kernels::cast_utils::Parser as _;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Schema, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use gnist_common::error::{ErrorKind, Failure};

use super::opener::HELP;
use crate::failure::external;
use crate::functions::sql_name;

/// Places of the decimals that integers are read as.
pub(super) const PLACES: i8 = 18;

/// The unit of the decimals that integers are read as.
const ONE: i128 = 10_i128.pow(PLACES as u32);

/// The rows of a file with the columns of a schema.
pub(super) fn narrowed(
    batch: &RecordBatch,
    schema: &Arc<Schema>,
    path: &str,
) -> Result<RecordBatch> {
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| {
        narrow(column, field).map_err(|value| {
            let (name, data_type) = (field.name(), sql_name(field.data_type()));
            let message =
                format!("the column `{name}` is {data_type}, and `{path}` holds {value} in it");
            external(Failure::new(ErrorKind::User, message).with_help(HELP))
        })
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}

/// A column of its declared type, or the value that does not fit it.
fn narrow(column: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
    let declared = field.data_type();
    if column.data_type() == declared {
        return Ok(Arc::clone(column));
    }
    let nulls = column.nulls().cloned();
    Ok(match declared {
        DataType::Struct(fields) => Arc::new(narrow_struct(column.as_struct(), fields)?),
        DataType::List(inner) => {
            let list = column.as_list::<i32>();
            let values = narrow(list.values(), inner)?;
            Arc::new(ListArray::new(Arc::clone(inner), list.offsets().clone(), values, nulls))
        }
        DataType::LargeList(inner) => {
            let list = column.as_list::<i64>();
            let values = narrow(list.values(), inner)?;
            Arc::new(LargeListArray::new(Arc::clone(inner), list.offsets().clone(), values, nulls))
        }
        DataType::FixedSizeList(inner, size) => {
            let values = narrow(column.as_fixed_size_list().values(), inner)?;
            Arc::new(FixedSizeListArray::new(Arc::clone(inner), *size, values, nulls))
        }
        DataType::Map(entries, is_sorted) => {
            let map = column.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                unreachable!("the entries of a map are structs")
            };
            let values = narrow_struct(map.entries(), fields)?;
            let (entries, offsets) = (Arc::clone(entries), map.offsets().clone());
            Arc::new(MapArray::new(entries, offsets, values, nulls, *is_sorted))
        }
        declared => number(column, declared)?,
    })
}

fn narrow_struct(column: &StructArray, fields: &Fields) -> Result<StructArray, String> {
    let columns = column.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| narrow(column, field));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(StructArray::new(fields.clone(), columns, column.nulls().cloned()))
}

fn number(column: &ArrayRef, declared: &DataType) -> Result<ArrayRef, String> {
    macro_rules! as_integers {
        ($type:ty, $column:expr) => {
            integers::<$type>($column).map(|column| Arc::new(column) as ArrayRef)
        };
    }
    if *declared == DataType::Date32 {
        return dates(column);
    }
    if let Some(micros) = unit(declared).filter(|_| column.data_type().is_temporal()) {
        return times(column, declared, micros);
    }
    downcast_integer! {
        declared => (as_integers, column),
        _ => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(column, declared, &options).map_err(|error| error.to_string())
        }
    }
}

/// Microseconds of the unit of a type of times that are read finer.
fn unit(declared: &DataType) -> Option<i64> {
    match declared {
        DataType::Timestamp(TimeUnit::Second, _) => Some(1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(1_000),
        _ => None,
    }
}

/// Texts as the days that they are, in every form that Arrow reads.
fn dates(column: &ArrayRef) -> Result<ArrayRef, String> {
    let texts = column.as_string::<i32>();
    let mut days = PrimitiveBuilder::<Date32Type>::with_capacity(texts.len());
    for text in texts {
        match text {
            Some(text) => days.append_value(date(text).ok_or_else(|| text.to_owned())?),
            None => days.append_null(),
        }
    }
    Ok(Arc::new(days.finish()))
}

/// The days from 1970 to a date; none if the text is no date, or has a time of day. Arrow drops that.
fn date(text: &str) -> Option<i32> {
    const LENGTH: usize = "2024-01-31".len();
    const DAY_MICROS: i64 = 86_400_000_000;
    let has_more = text.len() > LENGTH && !text.starts_with(['+', '-']);
    if has_more && TimestampMicrosecondType::parse(text)? % DAY_MICROS != 0 {
        return None;
    }
    Date32Type::parse(text)
}

fn times(column: &ArrayRef, declared: &DataType, micros: i64) -> Result<ArrayRef, String> {
    let values = column.as_primitive::<TimestampMicrosecondType>();
    if let Some(odd) = values.iter().flatten().find(|value| value % micros != 0) {
        let odd: ArrayRef = Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(vec![odd]));
        let text = ArrayFormatter::try_new(odd.as_ref(), &FormatOptions::default());
        return Err(text.map_or_else(|error| error.to_string(), |text| text.value(0).to_string()));
    }
    cast_with_options(column, declared, &CastOptions { safe: false, ..CastOptions::default() })
        .map_err(|error| error.to_string())
}

fn integers<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<PrimitiveArray<T>, String>
where
    T::Native: TryFrom<i128>,
{
    column.as_primitive::<Decimal128Type>().try_unary(|value| {
        let whole = value / ONE;
        let whole = (whole * ONE == value).then(|| T::Native::try_from(whole).ok());
        whole.flatten().ok_or_else(|| written(value))
    })
}

/// A decimal of 18 places as it may have been written.
fn written(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) =
        (value.unsigned_abs() / ONE.unsigned_abs(), value.unsigned_abs() % ONE.unsigned_abs());
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:018}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_come_in_many_forms_and_without_a_time_of_day() {
        let day = date("2024-01-05");
        assert!(day.is_some());
        for text in ["2024-1-5", "20240105", "2024-01-05T00:00:00", "2024-01-05 00:00:00Z"] {
            assert_eq!(date(text), day, "{text}");
        }
        assert!(date("+12024-01-01").is_some());
        for text in ["2024-01-05T00:00:01", "2024-01-05 12:00", "05.01.2024", "", "x"] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
