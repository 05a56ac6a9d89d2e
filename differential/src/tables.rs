//! Random table sets: empty, tiny, skewed and sorted tables with nulls, duplicates and edge
//! values, in memory and in files of every format and option.

use std::collections::BTreeSet;

use crate::calendar::{DAY_NS, SECOND_NS};
use crate::dice::Dice;
use crate::features::storage_features;
use crate::table::{Column, Compression, Storage, Table, TableSet};
use crate::types::{Kind, Type};
use crate::value::{Row, Value};

/// Names of tables with the most rows each has.
const TABLES: [(&str, usize); 6] =
    [("big", 120), ("mid", 40), ("few", 15), ("one", 3), ("none", 0), ("edge", 12)];
const NULL_PERCENT: usize = 15;
const WORDS: [&str; 10] = ["", "a", "ab", "abc", "b", "Bc", "øl", "zz top", "x'y", "12"];
const FILE_WORDS: [&str; 9] = ["-", "a", "a,b", "say \"no\"", "øl", "zz top", "x'y", " lead", "12"];
const ZONES: [i32; 5] = [0, 120, -330, 0, 345];

/// A random set of tables, without the features in `without`.
pub fn table_set(dice: &mut Dice, without: &BTreeSet<String>) -> TableSet {
    let types = types(dice);
    let zone_minutes = if without.contains("zone") { 0 } else { dice.pick(&ZONES) };
    let make = |(name, rows_max): (&str, usize)| {
        let mut made = table(dice, name, rows_max, &types, without);
        while storage_features(&made).iter().any(|feature| without.contains(feature)) {
            made = table(dice, name, rows_max, &types, without);
        }
        made
    };
    TableSet { tables: TABLES.into_iter().map(make).collect(), zone_minutes }
}

/// Types of the columns: one of each common kind, then rarer ones.
fn types(dice: &mut Dice) -> Vec<Type> {
    let int = |bits, signed| Type::Int { bits, signed };
    let rare = [
        int(8, true),
        int(16, true),
        int(8, false),
        int(16, false),
        int(32, false),
        int(64, false),
        Type::F32,
        Type::Bytes,
        Type::Decimal(38, 0),
        Type::Decimal(20, 5),
        Type::Instant,
        Type::List(Box::new(Type::I64)),
        Type::List(Box::new(Type::Text)),
    ];
    vec![
        Type::I64,
        Type::I64,
        Type::I32,
        Type::Text,
        Type::Date,
        Type::Decimal(12, 2),
        Type::F64,
        Type::Bool,
        Type::Timestamp,
        dice.pick(&rare),
        dice.pick(&rare),
        Type::List(Box::new(Type::I64)),
    ]
}

fn table(
    dice: &mut Dice,
    name: &str,
    rows_max: usize,
    types: &[Type],
    without: &BTreeSet<String>,
) -> Table {
    let is_edge = name == "edge";
    let storage = storage(dice, is_edge);
    let values = Values {
        special_floats: dice.percent(40)
            && matches!(storage, Storage::Memory(_) | Storage::Parquet { .. }),
        negative_zero: !without.contains("value:-0.0"),
        edge: is_edge,
        in_text: matches!(storage, Storage::Csv { .. } | Storage::Json { .. }),
        newlines: matches!(storage, Storage::Csv { newlines: true, .. }),
        skew: dice.percent(30),
    };
    let rows = if dice.percent(5) { 0 } else { rows_max - dice.below(rows_max / 2 + 1) };
    let columns: Vec<Column> = types
        .iter()
        .enumerate()
        .map(|(at, of)| Column {
            of: if fits(&storage, of.kind()) { of.clone() } else { Type::I64 },
            nullable: at > 0 && dice.percent(85),
        })
        .collect();
    let mut made: Vec<Row> = (0..rows).map(|id| values.row(dice, id, &columns)).collect();
    let mut sorted_by = Vec::new();
    if !is_edge && dice.percent(50) {
        let column = dice.pick(&[0, 0, 1, 2, 3, 4]);
        made.sort_by(|left, right| left[column].compare(&right[column]));
        sorted_by.push(column);
    } else if dice.percent(50) {
        made.reverse();
    }
    let storage = cut(dice, storage, rows);
    let mut table =
        Table { name: name.to_owned(), columns, rows: made, storage, sorted_by, is_edge };
    if !table.sorted_by.is_empty() && dice.percent(30) {
        also_sort(&mut table, dice.pick(&[1, 2, 3, 4]));
    }
    table
}

/// Sorts the values of one more column in each partition or file, where they stand: the rows of two that are
/// merged by the first order are not in this one.
fn also_sort(table: &mut Table, column: usize) {
    if table.sorted_by.contains(&column) {
        return;
    }
    let counts = match &table.storage {
        Storage::Memory(partitions) => partitions.iter().map(|it| it.iter().sum()).collect(),
        _ => table.files().to_vec(),
    };
    let mut first = 0;
    for count in counts {
        let rows = &mut table.rows[first..first + count];
        let mut values: Vec<Value> = rows.iter().map(|row| row[column].clone()).collect();
        values.sort_by(Value::compare);
        for (row, value) in rows.iter_mut().zip(values) {
            row[column] = value;
        }
        first += count;
    }
    table.sorted_by.push(column);
}

/// The choices by which the values of a table are drawn.
struct Values {
    special_floats: bool,
    negative_zero: bool,
    edge: bool,
    in_text: bool,
    newlines: bool,
    skew: bool,
}

impl Values {
    fn row(&self, dice: &mut Dice, id: usize, columns: &[Column]) -> Row {
        let mut row = vec![Value::Int(id as i128)];
        for column in &columns[1..] {
            let is_null = column.nullable && dice.percent(NULL_PERCENT);
            row.push(if is_null { Value::Null } else { self.value(dice, &column.of) });
        }
        row
    }

    fn value(&self, dice: &mut Dice, of: &Type) -> Value {
        if self.edge && dice.percent(50) {
            return self.edge_value(dice, of);
        }
        match of {
            Type::Bool => Value::Bool(dice.percent(50)),
            Type::Int { signed, .. } => {
                let number = if self.skew && dice.percent(70) { 3 } else { dice.around_zero(9) };
                Value::Int(if *signed { number } else { number.abs() })
            }
            Type::F32 | Type::F64 => self.float(dice),
            Type::Decimal(_, scale) => {
                // Quarters, so that averages are exact.
                Value::Decimal(dice.around_zero(80) * 10_i128.pow(u32::from(*scale)) / 4, *scale)
            }
            Type::Text => Value::text(&self.word(dice)),
            Type::Bytes => Value::Bytes((0..dice.below(3)).map(|at| at as u8 * 255).collect()),
            Type::Date => Value::Date(18_300 + dice.below(25) as i64),
            Type::Timestamp | Type::Instant => {
                let days = 18_300 + dice.below(25) as i64;
                Value::Timestamp(days * DAY_NS + dice.below(48) as i64 * 1800 * SECOND_NS)
            }
            Type::List(of) => {
                let value = |dice: &mut Dice| {
                    if dice.percent(NULL_PERCENT) { Value::Null } else { self.value(dice, of) }
                };
                let length = dice.below(4);
                Value::List((0..length).map(|_| value(dice)).collect())
            }
        }
    }

    /// Quarters add up exactly in any order.
    fn float(&self, dice: &mut Dice) -> Value {
        let special = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
        let count = if self.negative_zero { 5 } else { 4 };
        if self.special_floats && dice.percent(25) {
            return Value::Float(special[dice.below(count)]);
        }
        Value::Float(dice.around_zero(16) as f64 / 4.0)
    }

    fn word(&self, dice: &mut Dice) -> String {
        if self.newlines && dice.percent(20) {
            return dice.pick(&["two\nlines", "\n"]).to_owned();
        }
        dice.pick(if self.in_text { &FILE_WORDS[..] } else { &WORDS[..] }).to_owned()
    }

    fn edge_value(&self, dice: &mut Dice, of: &Type) -> Value {
        if let Some((least, greatest)) = of.int_range() {
            return Value::Int(dice.pick(&[least, greatest, least + 1, greatest - 1, 0, 1]));
        }
        match of {
            Type::Decimal(precision, scale) => {
                let greatest = 10_i128.pow(u32::from(*precision)) - 1;
                Value::Decimal(dice.pick(&[greatest, -greatest, 0]), *scale)
            }
            Type::Date => Value::Date(dice.pick(&[-719_162, 2_932_896, 0, -1])),
            Type::Timestamp | Type::Instant => {
                Value::Timestamp(dice.pick(&[0, -1, 1, -DAY_NS, 4_102_444_800 * SECOND_NS]))
            }
            Type::F32 | Type::F64 => self.float(dice),
            _ => Self { edge: false, ..*self }.value(dice, of),
        }
    }
}

fn storage(dice: &mut Dice, is_edge: bool) -> Storage {
    let compression = dice.pick(&[
        Compression::None,
        Compression::None,
        Compression::Gzip,
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Xz,
    ]);
    match dice.below(if is_edge { 4 } else { 10 }) {
        4 | 5 => {
            let newlines = dice.percent(30);
            Storage::Csv {
                files: Vec::new(),
                compression,
                delimiter: dice.pick(&[',', ',', ';', '|', '\t']),
                terminator: dice.pick(&[None, None, Some('$'), Some('\r')]).filter(|_| !newlines),
                quote: dice.pick(&['"', '"', '~']),
                header: dice.percent(60),
                newlines,
            }
        }
        6 | 7 => Storage::Json { files: Vec::new(), compression, array: dice.percent(30) },
        8 | 9 => Storage::Parquet {
            files: Vec::new(),
            // Few rows have values that a condition is never true for: groups of them are left out.
            group_rows: if dice.percent(50) { 1 + dice.below(4) } else { 1 + dice.below(40) },
            sorting_columns: dice.percent(60),
        },
        _ => Storage::Memory(Vec::new()),
    }
}

/// Deals the rows out to partitions and batches, or files. A declared order holds in each.
fn cut(dice: &mut Dice, storage: Storage, rows: usize) -> Storage {
    let mut parts = |count: usize| {
        let mut left = rows;
        let mut parts: Vec<usize> = (1..count)
            .map(|_| {
                let part = dice.below(left + 1);
                left -= part;
                part
            })
            .collect();
        parts.push(left);
        parts
    };
    match storage {
        Storage::Memory(_) => {
            let partitions = parts(3);
            let halves = |rows: usize| vec![rows / 2, rows - rows / 2];
            Storage::Memory(partitions.into_iter().map(halves).collect())
        }
        Storage::Csv { compression, delimiter, terminator, quote, header, newlines, .. } => {
            let files = parts(2);
            Storage::Csv { files, compression, delimiter, terminator, quote, header, newlines }
        }
        Storage::Json { compression, array, .. } => {
            Storage::Json { files: parts(2), compression, array }
        }
        Storage::Parquet { group_rows, sorting_columns, .. } => {
            Storage::Parquet { files: parts(3), group_rows, sorting_columns }
        }
    }
}

/// Returns true if the format has values of this kind.
fn fits(storage: &Storage, kind: Kind) -> bool {
    let is_csv = matches!(storage, Storage::Csv { .. });
    let is_text = is_csv || matches!(storage, Storage::Json { .. });
    match kind {
        Kind::Bytes | Kind::Instant => !is_text,
        Kind::List => !is_csv,
        _ => true,
    }
}
