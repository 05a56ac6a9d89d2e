//! Tables as text: the contents of CSV and JSON files, and the statement that declares them.

use crate::calendar;
use crate::table::{Compression, Storage, Table};
use crate::types::Type;
use crate::value::{Row, Value};

/// Files of a table and the statement that declares it.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Names and contents, before compression. Parquet files have none: whoever has a writer makes
    /// them.
    pub files: Vec<(String, String)>,
    /// The compression of the files.
    pub compression: Compression,
    /// `CREATE EXTERNAL TABLE`, for files in this folder.
    pub create: String,
}

/// Renders a table for a folder; none for a table in memory.
pub fn render(table: &Table, folder: &str) -> Option<Rendered> {
    let mut options = Vec::new();
    let (format, extension, compression) = match &table.storage {
        Storage::Memory(_) => return None,
        Storage::Csv { compression, delimiter, terminator, quote, header, newlines, .. } => {
            options.push(format!("'format.has_header' '{header}'"));
            options.push(format!("'format.delimiter' '{delimiter}'"));
            options.push(format!("'format.quote' '{quote}'"));
            options.push(format!("'format.newlines_in_values' '{newlines}'"));
            options.extend(terminator.map(|end| format!("'format.terminator' '{end}'")));
            ("csv", "csv", *compression)
        }
        Storage::Json { compression, array, .. } => {
            options.push(format!("'format.newline_delimited' '{}'", !array));
            ("json", "json", *compression)
        }
        Storage::Parquet { .. } => ("parquet", "parquet", Compression::None),
    };
    if compression != Compression::None {
        options.push(format!("'format.compression' '{compression}'"));
    }
    let mut rows = table.rows.as_slice();
    let mut files = Vec::new();
    for (at, count) in table.files().iter().enumerate() {
        let (these, rest) = rows.split_at(*count);
        rows = rest;
        let name = format!("{at}.{extension}{}", compression.extension());
        files.push((name, contents(table, these)));
    }
    let columns: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            format!("c{at} {}{}", column.of, if column.nullable { "" } else { " not null" })
        })
        .collect();
    let orders = table.sorted_by.iter();
    let orders = orders.map(|column| format!(" with order (c{column} asc nulls last)"));
    // The footer of a Parquet file may say it instead.
    let by_footer = matches!(table.storage, Storage::Parquet { sorting_columns: true, .. });
    let create = format!(
        "create external table {} ({}) stored as {format}{} location '{folder}/' options ({})",
        table.name,
        columns.join(", "),
        if by_footer { String::new() } else { orders.collect() },
        options.join(", "),
    );
    Some(Rendered { files, compression, create: create.replace(" options ()", "") })
}

fn contents(table: &Table, rows: &[Row]) -> String {
    match &table.storage {
        Storage::Csv { .. } => csv(table, rows),
        Storage::Json { array: true, .. } => {
            let objects: Vec<String> = rows.iter().map(|row| object(table, row)).collect();
            format!("[{}]\n", objects.join(",\n"))
        }
        Storage::Json { .. } => rows.iter().map(|row| object(table, row) + "\n").collect(),
        Storage::Memory(_) | Storage::Parquet { .. } => String::new(),
    }
}

fn csv(table: &Table, rows: &[Row]) -> String {
    let Storage::Csv { delimiter, terminator, quote, header, .. } = &table.storage else {
        return String::new();
    };
    let end = terminator.unwrap_or('\n').to_string();
    let joined = |fields: Vec<String>| fields.join(&delimiter.to_string()) + &end;
    let mut text = String::new();
    if *header {
        text.push_str(&joined((0..table.columns.len()).map(|at| format!("c{at}")).collect()));
    }
    for row in rows {
        let field = |value: &Value| match value {
            Value::Null => String::new(),
            Value::Text(text) => {
                let quote = quote.to_string();
                format!("{quote}{}{quote}", text.replace(&quote, &quote.repeat(2)))
            }
            Value::Timestamp(ns) => calendar::timestamp_text(*ns),
            other => other.plain(),
        };
        text.push_str(&joined(row.iter().map(field).collect()));
    }
    text
}

fn object(table: &Table, row: &Row) -> String {
    let field =
        |(at, value): (usize, &Value)| format!("\"c{at}\": {}", json(value, &table.columns[at].of));
    let fields: Vec<String> = row.iter().enumerate().map(field).collect();
    format!("{{{}}}", fields.join(", "))
}

fn json(value: &Value, of: &Type) -> String {
    match (value, of) {
        (Value::Null, _) => "null".to_owned(),
        (Value::List(values), Type::List(of)) => {
            let values: Vec<String> = values.iter().map(|value| json(value, of)).collect();
            format!("[{}]", values.join(", "))
        }
        (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Decimal(..), _) => value.plain(),
        _ => {
            let escaped = value.plain().replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", escaped.replace('\n', "\\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Column;

    #[test]
    fn a_csv_table_is_spelled_as_its_options_say() {
        let columns = [Type::I64, Type::Text].map(|of| Column { of, nullable: true }).to_vec();
        let storage = Storage::Csv {
            files: vec![2],
            compression: Compression::Gzip,
            delimiter: ';',
            terminator: Some('$'),
            quote: '~',
            header: true,
            newlines: false,
        };
        let rows = vec![vec![Value::Int(1), Value::text("a~b")], vec![Value::Int(2), Value::Null]];
        let name = "t".to_owned();
        let table = Table { name, columns, rows, storage, sorted_by: vec![0], is_edge: false };
        let rendered = render(&table, "/d").expect("files");
        assert_eq!(rendered.files, [("0.csv.gz".into(), "c0;c1$1;~a~~b~$2;$".into())]);
        assert!(rendered.create.contains("with order (c0 asc nulls last)"), "{}", rendered.create);
        assert!(rendered.create.contains("'format.compression' 'gzip'"), "{}", rendered.create);
    }
}
