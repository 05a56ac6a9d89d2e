//! The options of a write: the save mode and sizes of files, which are ours, and those of the format.

use std::fmt;

use datafusion::arrow::compute::SortOptions;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, OrderByExpr};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use gnist_common::bytes::ByteSize;
use gnist_common::config::nearest;
use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::failure_of;
use gnist_operators::write::{FileLimits, WriteFormat};
use gnist_storage::WRITE_OPTIONS;

use crate::error::not_yet;
use crate::sql::normalized;

/// The prefix that DataFusion's planner gives to options without one.
const OF_FORMAT: &str = "format.";

/// The answer of a write to data that is there, called as Spark calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveMode {
    /// The write is an error.
    Error,
    /// Files are added to the data.
    Append,
    /// All data is replaced.
    Overwrite,
    /// Data in the folders of the written partitions is replaced.
    OverwritePartitions,
    /// Nothing is written.
    Ignore,
}

const MODES: [(&str, SaveMode); 6] = [
    ("error", SaveMode::Error),
    ("errorifexists", SaveMode::Error),
    ("append", SaveMode::Append),
    ("overwrite", SaveMode::Overwrite),
    ("overwrite_partitions", SaveMode::OverwritePartitions),
    ("ignore", SaveMode::Ignore),
];

impl fmt::Display for SaveMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = MODES.iter().find(|(_, mode)| mode == self).expect("each has a name");
        f.write_str(name)
    }
}

/// The options of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The save mode, if it was given.
    pub(crate) mode: Option<SaveMode>,
    /// Sizes above which another file is begun.
    pub(crate) limits: FileLimits,
    /// True if rows of one partition value are brought together in one task first.
    pub(crate) groups_partitions: bool,
    /// The order of the rows of a file, by column.
    pub(crate) sort_by: Vec<(String, SortOptions)>,
    /// The options of the format, as DataFusion names them, in the order of their names.
    pub(crate) of_format: Vec<(String, String)>,
}

impl Options {
    /// Sorts options by whose they are. The format's are checked by [`Options::check`].
    ///
    /// # Errors
    /// `User`, for a value that an option of ours can't have.
    pub(crate) fn of(options: impl IntoIterator<Item = (String, String)>) -> Result<Self, Failure> {
        let mut own = Self {
            mode: None,
            limits: FileLimits::default(),
            groups_partitions: true,
            sort_by: Vec::new(),
            of_format: Vec::new(),
        };
        for (key, value) in options {
            let name = key.strip_prefix(OF_FORMAT).unwrap_or(&key).to_ascii_lowercase();
            match name.as_str() {
                "mode" => own.mode = Some(mode_of(&value)?),
                "max_file_size" => {
                    let size: ByteSize =
                        value.parse().map_err(|error| bad(&name, &value, &error))?;
                    own.limits.bytes = size.0.max(1);
                }
                "max_file_rows" => {
                    let rows = value.parse::<u64>().map_err(|error| bad(&name, &value, &error))?;
                    own.limits.rows = rows.max(1);
                }
                "group_partitions" => {
                    let groups = value.parse::<bool>();
                    own.groups_partitions = groups.map_err(|error| bad(&name, &value, &error))?;
                }
                "sort_by" => own.sort_by = sort_keys(&value)?,
                _ => own.of_format.push((key, value)),
            }
        }
        own.of_format.sort_unstable();
        Ok(own)
    }

    /// As [`Options::check`], for a table of files in this format. One that Gnist does not write is left to its reader.
    ///
    /// # Errors
    /// As [`Options::check`].
    pub(crate) fn check_of_table(&self, file_type: &str) -> Result<(), Failure> {
        if self.mode.is_some() {
            let message = "`mode` is an option of `COPY`, and not of a table".to_owned();
            return Err(Failure::new(ErrorKind::User, message)
                .with_help("`INSERT INTO` appends, `INSERT OVERWRITE` replaces"));
        }
        WriteFormat::named(file_type).map_or(Ok(()), |format| self.check(format))
    }

    /// Fails if an option of the format is not known, or has no such value.
    ///
    /// # Errors
    /// `User` naming the option, and the nearest that is known.
    pub(crate) fn check(&self, format: WriteFormat) -> Result<(), Failure> {
        for option in &self.of_format {
            let (key, value) = option;
            let name = key.strip_prefix(OF_FORMAT).unwrap_or(key);
            if name.starts_with("crypto.") {
                return Err(not_yet("the encryption of Parquet files"));
            }
            let Err(error) = format.options(std::slice::from_ref(option)) else { continue };
            let known = known(format);
            if let Some((_, ours)) =
                SPARKS.iter().find(|(spark, _)| spark.eq_ignore_ascii_case(name))
            {
                let failure =
                    Failure::new(ErrorKind::User, format!("{format} has no option `{name}`"));
                return Err(failure.with_help(format!("it is called `{ours}` here")));
            }
            if known.iter().any(|known| known == name) {
                return Err(bad(name, value, &failure_of(&error).message));
            }
            let message = format!("{format} has no option `{name}`");
            let failure = Failure::new(ErrorKind::User, message);
            return Err(match nearest(name, known.iter().cloned()) {
                Some(near) => failure.with_help(format!("did you mean `{near}`?")),
                None => failure.with_help(format!("options are {}", known.join(", "))),
            });
        }
        Ok(())
    }
}

/// Options of Spark's readers and writers that have another name here.
const SPARKS: [(&str, &str); 8] = [
    ("codec", "compression"),
    ("dateFormat", "date_format"),
    ("header", "has_header"),
    ("inferSchema", "schema_infer_max_rec"),
    ("multiLine", "newlines_in_values"),
    ("nullValue", "null_value"),
    ("sep", "delimiter"),
    ("timestampFormat", "timestamp_format"),
];

/// The names of all options that a write in this format has.
fn known(format: WriteFormat) -> Vec<String> {
    let own = ["mode"].into_iter().chain(WRITE_OPTIONS).map(ToOwned::to_owned);
    let Ok(options) = format.options(&[]) else { return own.collect() };
    let of_format = options.entries().into_iter().map(|entry| entry.key);
    let of_format = of_format.filter_map(|key| Some(key.strip_prefix(OF_FORMAT)?.to_owned()));
    own.chain(of_format).collect()
}

fn mode_of(text: &str) -> Result<SaveMode, Failure> {
    let lower = text.to_ascii_lowercase();
    let found = MODES.iter().find(|(name, _)| *name == lower);
    found.map(|(_, mode)| *mode).ok_or_else(|| {
        let message = format!("there is no save mode `{text}`");
        let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
        Failure::new(ErrorKind::User, message).with_help(format!("modes are {}", names.join(", ")))
    })
}

/// The keys of an order such as `a desc, "b c" nulls last`, as SQL reads them.
fn sort_keys(text: &str) -> Result<Vec<(String, SortOptions)>, Failure> {
    let refused = |reason: &dyn fmt::Display| bad("sort_by", text, reason);
    let keys = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| {
        let keys = parser.parse_comma_separated(Parser::parse_order_by_expr)?;
        parser.expect_token(&Token::EOF).map(|_| keys)
    });
    let keys = keys.map_err(|error| refused(&error))?;
    let key = |key: OrderByExpr| {
        let SqlExpr::Identifier(name) = &key.expr else {
            return Err(refused(&"it takes columns, as in `a desc, b nulls last`"));
        };
        let descending = key.options.asc == Some(false);
        let nulls_first = key.options.nulls_first.unwrap_or(descending);
        Ok((normalized(name), SortOptions { descending, nulls_first }))
    };
    keys.into_iter().map(key).collect()
}

fn bad(name: &str, value: &str, reason: &dyn fmt::Display) -> Failure {
    Failure::new(ErrorKind::User, format!("`{value}` is no value of the option `{name}`: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Result<Options, Failure> {
        Options::of(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn options_are_ours_or_the_formats() {
        let options = of(&[
            ("format.mode", "OVERWRITE"),
            ("max_file_size", "2MiB"),
            ("format.max_file_rows", "0"),
            ("format.delimiter", ";"),
            ("format.group_partitions", "false"),
            ("sort_by", "a desc, \"b c\" Nulls First,c"),
        ]);
        let options = options.unwrap();
        assert_eq!(options.mode, Some(SaveMode::Overwrite));
        assert_eq!(options.limits, FileLimits { bytes: 2 << 20, rows: 1 });
        assert!(!options.groups_partitions);
        let order = |descending, nulls_first| SortOptions { descending, nulls_first };
        let keys =
            [("a", order(true, true)), ("b c", order(false, true)), ("c", order(false, false))];
        assert_eq!(options.sort_by, keys.map(|(name, order)| (name.to_owned(), order)));
        assert_eq!(options.of_format, [("format.delimiter".to_owned(), ";".to_owned())]);
        options.check(WriteFormat::Csv).unwrap();
        for (key, value) in [
            ("mode", "update"),
            ("max_file_size", "x"),
            ("max_file_rows", "-1"),
            ("sort_by", "a up"),
            ("sort_by", "a,"),
        ] {
            let failure = of(&[(key, value)]).unwrap_err();
            assert!(failure.message.contains(value), "{failure}");
        }
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        for (format, key, value, message, help) in [
            (
                WriteFormat::Csv,
                "format.delimeter",
                ";",
                "CSV has no option `delimeter`",
                "`delimiter`",
            ),
            (WriteFormat::Parquet, "format.mod", "x", "Parquet has no option `mod`", "`mode`"),
            (WriteFormat::Json, "format.zzzzzz", "x", "JSON has no option `zzzzzz`", "options are"),
            (
                WriteFormat::Csv,
                "format.compression",
                "zap",
                "`zap` is no value of the option `compr",
                "",
            ),
        ] {
            let options = of(&[(key, value)]).unwrap();
            let failure = options.check(format).unwrap_err();
            assert!(failure.message.contains(message), "{failure}");
            assert!(failure.help.unwrap_or_default().contains(help));
        }
    }
}
