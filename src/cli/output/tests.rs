use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    TimestampSecondArray,
};
use datafusion::arrow::ipc::reader::StreamReader;

use super::*;

fn sample() -> RecordBatch {
    let decimals =
        Decimal128Array::from(vec![Some(123_456_789_012_345_678_901_i128), None, Some(-110)]);
    let decimals = decimals.with_precision_and_scale(38, 2).expect("a decimal");
    let columns: [(&str, ArrayRef); 5] = [
        ("n", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(-1)]))),
        ("d", Arc::new(decimals)),
        ("a,\"b", Arc::new(StringArray::from(vec![Some("x,\"y\"\nz"), Some(""), None]))),
        ("f", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None, Some(0)]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .expect("a batch")
}

fn written(format: Format, batch: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = writer(format, FormatOptions::default(), &mut out);
    writer.begin(&batch.schema()).expect("begins");
    writer.batch(batch).expect("writes");
    writer.end().expect("ends");
    drop(writer);
    out
}

fn text(format: Format) -> String {
    String::from_utf8(written(format, &sample())).expect("UTF-8")
}

#[test]
fn csv_quotes_by_rfc_4180_and_tells_null_from_empty_text() {
    let expected = "n,d,\"a,\"\"b\",f,t\n\
                    9223372036854775807,1234567890123456789.01,\"x,\"\"y\"\"\nz\",0.1,1970-01-01T00:00:01.500\n\
                    ,,\"\",NaN,\n-1,-1.10,,,1970-01-01T00:00:00\n";
    assert_eq!(text(Format::Csv), expected);
}

#[test]
fn json_has_every_column_and_exact_numbers() {
    let text = text(Format::Json);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    let first = "{\"n\":9223372036854775807,\"d\":1234567890123456789.01,\"a,\\\"b\":\"x,\\\"y\\\"\\nz\",\"f\":0.1,";
    assert!(lines[0].starts_with(first), "{text}");
    assert_eq!(lines[1], "{\"n\":null,\"d\":null,\"a,\\\"b\":\"\",\"f\":\"NaN\",\"t\":null}");
    assert!(lines[2].contains("\"f\":null"), "{text}");
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(5));
    }
}

#[test]
fn arrow_reads_back_as_it_was() {
    let bytes = written(Format::Arrow, &sample());
    let batches: Vec<RecordBatch> = StreamReader::try_new(bytes.as_slice(), None)
        .expect("a stream")
        .collect::<Result<_, _>>()
        .expect("batches");
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].num_rows(), 3);
    assert_eq!(batches[0].schema(), sample().schema());
}

#[test]
fn table_shows_the_header_of_an_empty_result() {
    let empty = sample().slice(0, 0);
    let text = String::from_utf8(written(Format::Table, &empty)).expect("UTF-8");
    assert!(text.contains("| n | d | a,\"b | f | t |"), "{text}");
}

fn words(words: impl IntoIterator<Item = Option<&'static str>>) -> RecordBatch {
    let array: ArrayRef = Arc::new(words.into_iter().collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("word", array, true)]).expect("a batch")
}

fn table(batches: &[RecordBatch], options: FormatOptions) -> String {
    let mut out = Vec::new();
    let mut writer = writer(Format::Table, options, &mut out);
    writer.begin(&batches[0].schema()).expect("begins");
    batches.iter().for_each(|batch| writer.batch(batch).expect("writes"));
    writer.end().expect("ends");
    drop(writer);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn table_shows_null_and_aligns_wide_characters_and_lines() {
    let batch = words([Some("日本"), None, Some(""), Some("a\n\tb")]);
    let expected = "+------+\n| word |\n+------+\n| 日本 |\n| NULL |\n|      |\n\
                    | a    |\n| \\tb  |\n+------+\n";
    assert_eq!(table(&[batch], FormatOptions::default()), expected);
}

#[test]
fn table_shows_values_as_the_session_says() {
    let options =
        FormatOptions { null: "-".to_owned(), types_info: true, ..FormatOptions::default() };
    let expected = "+------+\n| word |\n| Utf8 |\n+------+\n| -    |\n+------+\n";
    assert_eq!(table(&[words([None])], options), expected);
}

#[test]
fn table_prints_rows_as_they_come_once_its_columns_are_measured() {
    let out = std::cell::RefCell::new(Vec::new());
    struct Shared<'a>(&'a std::cell::RefCell<Vec<u8>>);
    impl Write for Shared<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let printed = || out.borrow().iter().filter(|byte| **byte == b'\n').count();
    let batch = words(std::iter::repeat_n(Some("x"), 600));
    let mut writer = writer(Format::Table, FormatOptions::default(), Shared(&out));
    writer.begin(&batch.schema()).expect("begins");
    writer.batch(&batch).expect("writes");
    assert_eq!(printed(), 0);
    writer.batch(&batch).expect("writes");
    assert_eq!(printed(), 3 + 1_200);
    writer.batch(&words([Some("wider than its column"), Some("y")])).expect("writes");
    writer.end().expect("ends");
    let text = String::from_utf8(out.borrow().clone()).expect("UTF-8");
    let end = "| x    |\n| wider than its column |\n| y    |\n+------+\n";
    assert!(text.ends_with(end), "{}", &text[text.len() - 200..]);
}

#[test]
fn a_moment_beyond_the_calendar_is_an_error_that_names_it() {
    let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, 99_999_999_999_999]));
    let batch = RecordBatch::try_from_iter([("t", far)]).expect("a batch");
    for format in [Format::Table, Format::Csv, Format::Json] {
        let mut out = Vec::new();
        let mut writer = writer(format, FormatOptions::default(), &mut out);
        writer.begin(&batch.schema()).expect("begins");
        let error = CliError::from(writer.batch(&batch).expect_err("refused")).render();
        assert!(error.contains("`99999999999999` can't be shown"), "{error}");
    }
}
