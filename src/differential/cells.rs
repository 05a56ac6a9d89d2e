//! Conversions between the generator's values and Arrow's arrays.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use gnist_differential::{Row, Table, Type, Value};

/// The Arrow type of a column.
fn data_type(of: &Type) -> DataType {
    match of {
        Type::Bool => DataType::Boolean,
        Type::Int { bits: 8, signed: true } => DataType::Int8,
        Type::Int { bits: 16, signed: true } => DataType::Int16,
        Type::Int { bits: 32, signed: true } => DataType::Int32,
        Type::Int { signed: true, .. } => DataType::Int64,
        Type::Int { bits: 8, .. } => DataType::UInt8,
        Type::Int { bits: 16, .. } => DataType::UInt16,
        Type::Int { bits: 32, .. } => DataType::UInt32,
        Type::Int { .. } => DataType::UInt64,
        Type::F32 => DataType::Float32,
        Type::F64 => DataType::Float64,
        Type::Decimal(precision, scale) => {
            DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(0))
        }
        Type::Text => DataType::Utf8,
        Type::Bytes => DataType::Binary,
        Type::Date => DataType::Date32,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Type::Instant => DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
        Type::List(of) => DataType::List(Arc::new(Field::new_list_field(data_type(of), true))),
    }
}

/// The schema of a table.
pub(super) fn schema(table: &Table) -> SchemaRef {
    let field = |(at, column): (usize, &gnist_differential::Column)| {
        Field::new(format!("c{at}"), data_type(&column.of), column.nullable)
    };
    Arc::new(Schema::new(table.columns.iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// Rows of a table as a batch.
pub(super) fn batch(table: &Table, schema: &SchemaRef, rows: &[Row]) -> Result<RecordBatch> {
    let column = |(at, column): (usize, &gnist_differential::Column)| -> Result<ArrayRef> {
        if rows.is_empty() {
            return Ok(new_empty_array(&data_type(&column.of)));
        }
        let scalars: Result<Vec<ScalarValue>> =
            rows.iter().map(|row| scalar(&row[at], &column.of)).collect();
        ScalarValue::iter_to_array(scalars?)
    };
    let columns: Result<Vec<ArrayRef>> = table.columns.iter().enumerate().map(column).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}

#[expect(clippy::cast_possible_truncation, reason = "values fit their types")]
fn scalar(value: &Value, of: &Type) -> Result<ScalarValue> {
    let wanted = data_type(of);
    Ok(match value {
        Value::Null => ScalarValue::try_from(&wanted)?,
        Value::Bool(value) => ScalarValue::from(*value),
        Value::Int(number) => ScalarValue::Decimal128(Some(*number), 38, 0).cast_to(&wanted)?,
        Value::Float(number) if *of == Type::F32 => ScalarValue::from(*number as f32),
        Value::Float(number) => ScalarValue::from(*number),
        Value::Decimal(units, _) => match wanted {
            DataType::Decimal128(precision, scale) => {
                ScalarValue::Decimal128(Some(*units), precision, scale)
            }
            _ => return Err(mismatch()),
        },
        Value::Text(text) => ScalarValue::from(&**text),
        Value::Bytes(bytes) => ScalarValue::Binary(Some(bytes.to_vec())),
        Value::Date(days) => ScalarValue::Date32(Some(*days as i32)),
        Value::Timestamp(ns) => match wanted {
            DataType::Timestamp(_, zone) => ScalarValue::TimestampNanosecond(Some(*ns), zone),
            _ => return Err(mismatch()),
        },
        Value::List(values) => {
            let Type::List(of) = of else { return Err(mismatch()) };
            let scalars: Result<Vec<_>> = values.iter().map(|value| scalar(value, of)).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&scalars?, &data_type(of)))
        }
    })
}

fn mismatch() -> DataFusionError {
    DataFusionError::Internal("a value of another type".to_owned())
}

/// The rows of batches.
pub(super) fn rows(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in batches {
        for at in 0..batch.num_rows() {
            let row: Result<Row> =
                batch.columns().iter().map(|column| cell(column.as_ref(), at)).collect();
            rows.push(row?);
        }
    }
    Ok(rows)
}

fn cell(column: &dyn Array, at: usize) -> Result<Value> {
    value(&ScalarValue::try_from_array(column, at)?)
}

fn value(scalar: &ScalarValue) -> Result<Value> {
    if scalar.is_null() {
        return Ok(Value::Null);
    }
    Ok(match scalar {
        ScalarValue::Boolean(Some(value)) => Value::Bool(*value),
        ScalarValue::Int8(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Int16(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Int32(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Int64(Some(number)) => Value::Int((*number).into()),
        ScalarValue::UInt8(Some(number)) => Value::Int((*number).into()),
        ScalarValue::UInt16(Some(number)) => Value::Int((*number).into()),
        ScalarValue::UInt32(Some(number)) => Value::Int((*number).into()),
        ScalarValue::UInt64(Some(number)) => Value::Int((*number).into()),
        ScalarValue::Float32(Some(number)) => Value::Float((*number).into()),
        ScalarValue::Float64(Some(number)) => Value::Float(*number),
        ScalarValue::Decimal32(Some(units), _, scale) => decimal((*units).into(), *scale),
        ScalarValue::Decimal64(Some(units), _, scale) => decimal((*units).into(), *scale),
        ScalarValue::Decimal128(Some(units), _, scale) => decimal(*units, *scale),
        ScalarValue::Decimal256(Some(units), _, scale) => match units.to_i128() {
            Some(units) => decimal(units, *scale),
            None => Value::text(&scalar.to_string()),
        },
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Value::text(text),
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes)) => Value::Bytes(bytes.as_slice().into()),
        ScalarValue::Date32(Some(days)) => Value::Date((*days).into()),
        ScalarValue::Date64(Some(ms)) => Value::Date(ms.div_euclid(86_400_000)),
        ScalarValue::TimestampSecond(Some(at), _) => Value::Timestamp(*at * 1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(at), _) => Value::Timestamp(*at * 1_000_000),
        ScalarValue::TimestampMicrosecond(Some(at), _) => Value::Timestamp(*at * 1000),
        ScalarValue::TimestampNanosecond(Some(at), _) => Value::Timestamp(*at),
        ScalarValue::Dictionary(_, inner) => value(inner)?,
        ScalarValue::List(list) => elements(&list.value(0))?,
        ScalarValue::LargeList(list) => elements(&list.value(0))?,
        other => Value::text(&other.to_string()),
    })
}

fn decimal(units: i128, scale: i8) -> Value {
    match u8::try_from(scale) {
        Ok(scale) => Value::Decimal(units, scale),
        Err(_) => Value::Int(units * 10_i128.pow(scale.unsigned_abs().into())),
    }
}

fn elements(array: &ArrayRef) -> Result<Value> {
    let values: Result<Vec<Value>> = (0..array.len()).map(|at| cell(array, at)).collect();
    Ok(Value::List(values?.into()))
}
