//! `regexp_replace` that drops no text of the replacement.
//!
//! DataFusion takes `$5` for a group that may not exist, and `$x` and `$1_` for groups of such names: nothing comes in
//! their place. A replacement is read as by Java and Spark here, and as by PostgreSQL:
//!
//! ```text
//! $1 \1 ${1}     the text of a group, with as many digits as there are groups for: `$12` may be `$1` and a 2
//! ${name}        the text of a group with this name
//! \& $0 \0       the whole match
//! \\ \$ $$       a backslash, and a dollar
//! $x \x          themselves
//! ```
//!
//! A group that the pattern doesn't have is an error.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, LargeStringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::regex::regexp_replace;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use gnist_common::error::{ErrorKind, Failure};
use regex::Regex;

use crate::failure::external;

use super::wrapped::wrapped;

/// The function of this module, over DataFusion's of the same name.
pub(super) fn function() -> Arc<ScalarUDF> {
    wrapped(regexp_replace(), replaced)
}

fn replaced(inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let [_, pattern, replacement, ..] = args.args.as_slice() else {
        return inner.invoke_with_args(args);
    };
    let of = replacement.data_type();
    let mut patterns = Patterns::default();
    let written = match (pattern, replacement) {
        (_, ColumnarValue::Scalar(value)) if !value.try_as_str().flatten().is_some_and(refers) => {
            return inner.invoke_with_args(args);
        }
        (ColumnarValue::Scalar(pattern), ColumnarValue::Scalar(replacement)) => {
            let written = match (pattern.try_as_str().flatten(), replacement.try_as_str().flatten())
            {
                (Some(pattern), Some(replacement)) => Some(patterns.written(pattern, replacement)?),
                _ => None,
            };
            ColumnarValue::Scalar(ScalarValue::Utf8(written).cast_to(&of)?)
        }
        (pattern, replacement) => {
            let texts = |value: &ColumnarValue| {
                Ok::<_, datafusion::common::DataFusionError>(cast(
                    &value.to_array(args.number_rows)?,
                    &DataType::LargeUtf8,
                )?)
            };
            let (all, replacements) = (texts(pattern)?, texts(replacement)?);
            let rows = all.as_string::<i64>().iter().zip(replacements.as_string::<i64>().iter());
            let written = rows.map(|row| match row {
                (Some(pattern), Some(replacement)) if refers(replacement) => {
                    patterns.written(pattern, replacement).map(Some)
                }
                (_, replacement) => Ok(replacement.map(str::to_owned)),
            });
            let written = written.collect::<Result<LargeStringArray>>()?;
            debug_assert_eq!(written.len(), replacements.len());
            ColumnarValue::Array(cast(&written, &of)?)
        }
    };
    args.args[2] = written;
    inner.invoke_with_args(args)
}

/// Returns true if a replacement may have groups in it.
fn refers(replacement: &str) -> bool {
    replacement.contains(['$', '\\'])
}

/// Patterns that were read, by their texts; none for one that can't be read, of which DataFusion says why.
#[derive(Default)]
struct Patterns {
    read: HashMap<String, Option<Regex>>,
}

impl Patterns {
    /// A replacement as DataFusion reads it.
    fn written(&mut self, pattern: &str, replacement: &str) -> Result<String> {
        let read = match self.read.get(pattern) {
            Some(read) => read,
            None => self.read.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok()),
        };
        let Some(regex) = read else { return Ok(replacement.to_owned()) };
        written(regex, replacement)
    }
}

fn written(regex: &Regex, replacement: &str) -> Result<String> {
    let mut written = String::with_capacity(replacement.len() + 8);
    let mut rest = replacement.chars().peekable();
    while let Some(char) = rest.next() {
        match (char, rest.peek().copied()) {
            ('$' | '\\', Some(digit)) if digit.is_ascii_digit() => {
                let group = group(regex, &mut rest, replacement)?;
                written.push_str(&format!("${{{group}}}"));
            }
            ('$', Some('{')) => {
                rest.next();
                let name: String = rest.by_ref().take_while(|char| *char != '}').collect();
                let exists = match name.parse::<usize>() {
                    Ok(number) => number < regex.captures_len(),
                    Err(_) => regex.capture_names().flatten().any(|known| known == name),
                };
                if !exists {
                    return Err(no_group(&format!("${{{name}}}"), regex, replacement));
                }
                written.push_str(&format!("${{{name}}}"));
            }
            ('\\', Some('&')) => {
                rest.next();
                written.push_str("${0}");
            }
            ('$' | '\\', Some('$')) => {
                rest.next();
                written.push_str("$$");
            }
            ('$', _) => written.push_str("$$"),
            ('\\', next) => {
                if next == Some('\\') {
                    rest.next();
                }
                // DataFusion takes digits behind a backslash for a group. No group has this name.
                written.push_str("\\${ }");
            }
            (char, _) => written.push(char),
        }
    }
    Ok(written)
}

/// The number of a group: its first digit, and more of them as long as there is such a group.
fn group(regex: &Regex, rest: &mut Peekable<Chars<'_>>, replacement: &str) -> Result<usize> {
    let mut group: Option<usize> = None;
    while let Some(digit) = rest.peek().and_then(|char| char.to_digit(10)) {
        let longer = group.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize);
        if longer >= regex.captures_len() {
            if group.is_none() {
                return Err(no_group(&format!("${longer}"), regex, replacement));
            }
            break;
        }
        group = Some(longer);
        rest.next();
    }
    Ok(group.unwrap_or(0))
}

fn no_group(group: &str, regex: &Regex, replacement: &str) -> datafusion::common::DataFusionError {
    let message = format!(
        "the replacement `{replacement}` names the group `{group}`, and the pattern `{}` has no such group",
        regex.as_str()
    );
    let help = r"a dollar that is no group is written `\$`";
    external(Failure::new(ErrorKind::User, message).with_help(help))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn replace(text: &str, pattern: &str, replacement: &str) -> Result<String> {
        let regex = Regex::new(pattern).unwrap();
        Ok(regex.replace(text, written(&regex, replacement)?).into_owned())
    }

    #[test]
    fn replacements_are_read_as_by_java_and_postgres() {
        for (pattern, replacement, want) in [
            ("(b)", "$1_", "ab_c"),
            ("(b)", "$12", "ab2c"),
            ("(b)", "${1}2", "ab2c"),
            ("(?<x>b)", "<${x}>", "a<b>c"),
            ("(b)", r"\1\1", "abbc"),
            ("(b)", r"\\1", r"a\1c"),
            ("(b)", r"\&\0$0", "abbbc"),
            ("b", r"\$5", "a$5c"),
            ("b", "$x$", "a$x$c"),
            ("b", "$$", "a$c"),
            ("b", r"\", r"a\c"),
            ("b", r"\n", r"a\nc"),
        ] {
            assert_eq!(replace("abc", pattern, replacement).unwrap(), want, "{replacement}");
        }
        for replacement in ["US$5", r"\2", "${2}", "${y}", "$2"] {
            assert!(replace("abc", "(b)", replacement).is_err(), "{replacement}");
        }
    }
}
