//! The kinds of value a key can have, and how each is typed and shown.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::bytes::ByteSize;

/// The kind of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A whole number, 1 or more.
    Count,
    /// A number of bytes, such as `512MiB`.
    Size,
    /// A time, such as `10s`; never zero.
    Duration,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text but none. It may be a secret, and is not shown.
    Text,
}

/// A value of one of the kinds.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A value of the kind [`ValueKind::Count`].
    Count(NonZeroU32),
    /// A value of the kind [`ValueKind::Size`].
    Size(ByteSize),
    /// A value of the kind [`ValueKind::Duration`].
    Duration(Duration),
    /// A value of the kind [`ValueKind::Flag`].
    Flag(bool),
    /// A value of the kind [`ValueKind::Word`].
    Word(&'static str),
    /// A value of the kind [`ValueKind::Text`].
    Text(String),
}

/// Shows no text, which may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            shown => write!(f, "{shown}"),
        }
    }
}

/// Text that is not a value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseValueError {
    /// The text that was typed.
    pub text: String,
    /// A description of the texts that would be right.
    pub expected: String,
}

impl ValueKind {
    /// The value that this text stands for.
    ///
    /// # Errors
    ///
    /// The text is not of this kind.
    pub fn parse(self, text: &str) -> Result<Value, ParseValueError> {
        let trimmed = text.trim();
        let value = match self {
            Self::Count => trimmed.parse().ok().map(Value::Count),
            Self::Size => trimmed.parse().ok().map(Value::Size),
            Self::Duration => parse_duration(trimmed).map(Value::Duration),
            Self::Flag => trimmed.parse().ok().map(Value::Flag),
            Self::Word(words) => {
                words.iter().find(|word| **word == trimmed).map(|w| Value::Word(w))
            }
            Self::Text => (!trimmed.is_empty()).then(|| Value::Text(trimmed.to_owned())),
        };
        value.ok_or_else(|| ParseValueError { text: text.to_owned(), expected: self.to_string() })
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("a whole number, 1 or more"),
            Self::Size => f.write_str("a size such as `512MiB`"),
            Self::Duration => f.write_str("a time above zero such as `10s`, `500ms` or `2m`"),
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Word(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, "one of {}", quoted.join(", "))
            }
            Self::Text => f.write_str("a text"),
        }
    }
}

impl fmt::Display for Value {
    /// The form that parses back to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Size(size) => f.write_str(&format_size(*size)),
            Self::Duration(duration) => f.write_str(&format_duration(*duration)),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The size in the largest unit that shows it exactly.
fn format_size(size: ByteSize) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = |(_, factor): &&(&str, u64)| size.0 > 0 && size.0.is_multiple_of(*factor);
    match UNITS.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", size.0 / factor),
        None => format!("{}B", size.0),
    }
}

const UNITS_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// The time that text such as `500ms`, `10s`, `2m` or `1h` stands for; none for anything else,
/// zero included.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = UNITS_MS.iter().find(|(name, _)| *name == unit.trim())?;
    let ms = number.parse::<u64>().ok()?.checked_mul(*factor)?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// The time in the largest unit that shows it exactly, to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, factor): &&(&str, u64)| ms.is_multiple_of(*factor) && ms >= *factor;
    let (unit, factor) = UNITS_MS.iter().rev().find(fits).unwrap_or(&UNITS_MS[0]);
    format!("{}{unit}", ms / factor)
}
