//! The format of `COPY ... TO 'report.csv.gz'`, told from the name as for a file that is read.
//!
//! DataFusion takes what follows the last point for the format, which is `gz` here, and falls back on the name where it
//! does not know the format that `STORED AS` names.

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{Result, not_impl_err, plan_err};
use datafusion::sql::parser::CopyToStatement;
use datafusion::sql::sqlparser::ast::Value;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use gnist_storage::{FileFormat, WriteTarget};

use super::normalized;

/// Formats that are written, as `STORED AS` names them.
const FORMATS: [(&str, &str); 5] = [
    ("PARQUET", "PARQUET"),
    ("JSON", "JSON"),
    ("NDJSON", "JSON"),
    ("JSONL", "JSON"),
    ("CSV", "CSV"),
];

/// Writes the format and the compression that the name of the target says into the statement.
///
/// # Errors
/// The format is not known, or none is named.
pub(super) fn written_out(copy: &mut CopyToStatement) -> Result<()> {
    let name = copy.target.rsplit('/').next().unwrap_or_default();
    let of_name = WriteTarget::form_of(name);
    match &mut copy.stored_as {
        Some(format) => {
            let upper = format.to_ascii_uppercase();
            let Some((_, known)) = FORMATS.iter().find(|(name, _)| *name == upper) else {
                let format = format.to_ascii_lowercase();
                return not_impl_err!(
                    "writing `{format}` is not supported yet; formats that are written are PARQUET, JSON and CSV"
                );
            };
            (*known).clone_into(format);
        }
        None => {
            let Some((format, _)) = of_name else {
                return plan_err!(
                    "the format of `{}` is not known: write `STORED AS PARQUET`, `JSON` or `CSV`",
                    copy.target
                );
            };
            copy.stored_as = Some(
                match format {
                    FileFormat::Parquet => "PARQUET",
                    FileFormat::Json => "JSON",
                    FileFormat::Csv => "CSV",
                }
                .to_owned(),
            );
        }
    }
    for column in &mut copy.partitioned_by {
        *column = column_named(column)?;
    }
    let is_chosen = copy.options.iter().any(|(key, _)| {
        key.rsplit('.').next().is_some_and(|key| key.eq_ignore_ascii_case("compression"))
    });
    if let (Some((_, compression)), false) = (of_name, is_chosen)
        && compression != CompressionTypeVariant::UNCOMPRESSED
    {
        let value = Value::SingleQuotedString(compression.to_string());
        copy.options.push(("compression".to_owned(), value));
    }
    Ok(())
}

/// The name of a column, as SQL reads it. DataFusion takes the quotes of `"eventType"` for part of the name.
fn column_named(text: &str) -> Result<String> {
    let ident = Parser::new(&GenericDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_identifier());
    match ident {
        Ok(ident) => Ok(normalized(&ident)),
        Err(error) => plan_err!("`{text}` is no column to write by: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::Statement;

    fn form_of(statement: &str) -> Result<(String, Vec<String>), String> {
        let mut statements = crate::parse(statement).map_err(|error| error.to_string())?;
        let Some(Statement::CopyTo(copy)) = statements.pop_front() else { panic!("a COPY") };
        let options = copy.options.iter().map(|(key, value)| format!("{key} {value}")).collect();
        Ok((copy.stored_as.unwrap(), options))
    }

    #[test]
    fn names_say_format_and_compression() {
        for (statement, format, options) in [
            ("copy t to 'a.parquet'", "PARQUET", vec![]),
            ("copy t to 'a/b.csv.gz'", "CSV", vec!["compression 'GZIP'"]),
            ("copy t to 'b.ndjson.zst'", "JSON", vec!["compression 'ZSTD'"]),
            (
                "copy t to 'out.csv.gz' stored as csv options (compression 'gzip')",
                "CSV",
                vec!["compression 'gzip'"],
            ),
            ("copy t to 'out' stored as ndjson", "JSON", vec![]),
        ] {
            let expected = (format.to_owned(), options.into_iter().map(str::to_owned).collect());
            assert_eq!(form_of(statement), Ok(expected), "{statement}");
        }
        for (statement, message) in [
            ("copy t to 'out'", "the format of `out` is not known"),
            ("copy t to 'x.csv' stored as avro", "writing `avro` is not supported yet"),
        ] {
            let error = form_of(statement).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
