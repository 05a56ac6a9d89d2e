//! Small tables with nulls, duplicates and several partitions.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;

use super::dice::Dice;

/// Every table has these columns. Only `id` is unique and never null.
pub const COLUMNS: [(&str, Type); 8] = [
    ("id", Type::Int),
    ("k", Type::Int),
    ("g", Type::Int),
    ("s", Type::Text),
    ("d", Type::Date),
    ("m", Type::Decimal),
    ("f", Type::Float),
    ("b", Type::Bool),
];

/// Tables by name, with the most rows each has.
pub const TABLES: [(&str, usize); 4] = [("big", 150), ("mid", 60), ("few", 20), ("one", 3)];

/// What an expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int,
    Text,
    Date,
    Decimal,
    Float,
    Bool,
}

const WORDS: [&str; 9] = ["", "a", "ab", "abc", "b", "Bc", "øl", "zz top", "x'y"];
const NULL_PERCENT: usize = 15;

pub fn tables(dice: &mut Dice) -> Vec<(&'static str, Arc<MemTable>)> {
    TABLES.into_iter().map(|(name, rows_max)| (name, table(dice, rows_max))).collect()
}

fn table(dice: &mut Dice, rows_max: usize) -> Arc<MemTable> {
    let schema = schema();
    let mut id = 0_i64;
    let mut rows_left = rows_max;
    let mut partitions = Vec::new();
    for _ in 0..1 + dice.below(4) {
        let mut batches = Vec::new();
        for _ in 0..dice.below(4) {
            let rows = dice.below(rows_left + 1);
            rows_left -= rows;
            batches.push(batch(dice, &schema, &mut id, rows));
        }
        partitions.push(batches);
    }
    Arc::new(MemTable::try_new(schema, partitions).expect("batches of the schema"))
}

fn schema() -> SchemaRef {
    let fields = COLUMNS.iter().map(|(name, _)| {
        let data_type = match *name {
            "id" | "k" => DataType::Int64,
            "g" => DataType::Int32,
            "s" => DataType::Utf8,
            "d" => DataType::Date32,
            "m" => DataType::Decimal128(12, 2),
            "f" => DataType::Float64,
            _ => DataType::Boolean,
        };
        Field::new(*name, data_type, *name != "id")
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn batch(dice: &mut Dice, schema: &SchemaRef, id: &mut i64, rows: usize) -> RecordBatch {
    let first = *id;
    *id += i64::try_from(rows).expect("few rows");
    let decimals = Decimal128Array::from(column(dice, rows, |dice| small(dice, 2000).into()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new((first..*id).collect::<Int64Array>()),
        Arc::new(Int64Array::from(column(dice, rows, |dice| small(dice, 12).into()))),
        Arc::new(Int32Array::from(column(dice, rows, |dice| small(dice, 3)))),
        Arc::new(StringArray::from(column(dice, rows, |dice| dice.pick(&WORDS)))),
        Arc::new(Date32Array::from(column(dice, rows, |dice| 18_300 + small(dice, 20)))),
        Arc::new(decimals.with_precision_and_scale(12, 2).expect("small decimals")),
        // Quarters add up exactly in any order.
        Arc::new(Float64Array::from(column(dice, rows, |dice| f64::from(small(dice, 16)) / 4.0))),
        Arc::new(BooleanArray::from(column(dice, rows, |dice| dice.percent(50)))),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns of the schema")
}

fn column<T>(
    dice: &mut Dice,
    rows: usize,
    mut value: impl FnMut(&mut Dice) -> T,
) -> Vec<Option<T>> {
    (0..rows).map(|_| (!dice.percent(NULL_PERCENT)).then(|| value(dice))).collect()
}

/// A number of at most `magnitude`, of either sign.
fn small(dice: &mut Dice, magnitude: usize) -> i32 {
    let shifted = i32::try_from(dice.below(2 * magnitude + 1)).expect("small");
    shifted - i32::try_from(magnitude).expect("small")
}
