//! `SIMILAR TO` as a regular expression over the whole text.
//!
//! DataFusion takes the pattern for a regular expression that may match anywhere, in which `%` and `_`
//! are themselves. By the standard it has to match the whole text; `%` is any text, `_` any character;
//! `|`, `*`, `+`, `?`, `{m,n}`, brackets and `[...]` are as in regular expressions, and every other
//! character is itself, also after the escape character, but for the classes `\d`, `\s` and `\w` of PostgreSQL and
//! what they leave, `\D`, `\S` and `\W`. A pattern that is no literal is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};
use gnist_common::error::{ErrorKind, Failure};

use super::clauses::Refused;

/// Replaces `SIMILAR TO` by a match of a regular expression.
pub(super) fn as_regex(expr: &mut Expr) -> ControlFlow<Refused> {
    let Expr::SimilarTo { negated, expr: text, pattern, escape_char } = expr else {
        return ControlFlow::Continue(());
    };
    let Some(literal) = literal(pattern) else {
        return refused(
            ErrorKind::Unsupported,
            "`SIMILAR TO` a pattern that is computed",
            "write `~` and a regular expression",
        );
    };
    let escape = match escape_char.as_ref().map(|escape| &escape.value) {
        None => Some('\\'),
        Some(Value::SingleQuotedString(escape)) => match escape.chars().collect::<Vec<_>>()[..] {
            [] => None,
            [escape] => Some(escape),
            _ => return not_a_character(),
        },
        Some(_) => return not_a_character(),
    };
    let op = match *negated {
        true => BinaryOperator::PGRegexNotMatch,
        false => BinaryOperator::PGRegexMatch,
    };
    let regex = Value::SingleQuotedString(regex_of(literal, escape));
    let left = Box::new(Expr::Nested(text.clone()));
    let matched = Expr::BinaryOp { left, op, right: Box::new(Expr::Value(regex.into())) };
    *expr = Expr::Nested(Box::new(matched));
    ControlFlow::Continue(())
}

fn literal(pattern: &Expr) -> Option<&str> {
    match pattern {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn not_a_character() -> ControlFlow<Refused> {
    refused(
        ErrorKind::User,
        "the `ESCAPE` of `SIMILAR TO` is not one character",
        "write one, such as `ESCAPE '#'`",
    )
}

fn refused(kind: ErrorKind, what: &str, help: &'static str) -> ControlFlow<Refused> {
    let message = match kind {
        ErrorKind::Unsupported => format!("{what} is not supported yet"),
        _ => what.to_owned(),
    };
    ControlFlow::Break(Refused::from(Failure::new(kind, message).with_help(help)))
}

/// The regular expression of a pattern.
fn regex_of(pattern: &str, escape: Option<char>) -> String {
    let mut regex = "(?s)^(?:".to_owned();
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            char if Some(char) == escape => match chars.next() {
                // PostgreSQL's classes and bounds, which are those of regular expressions.
                Some(class @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) if class != char => {
                    regex.extend(['\\', class]);
                }
                escaped => push_plain(&mut regex, escaped.unwrap_or(char)),
            },
            '[' if !in_class => {
                in_class = true;
                regex.push('[');
            }
            ']' if in_class => {
                in_class = false;
                regex.push(']');
            }
            // A class of the standard: `[^a-z]`, `[[:digit:]]`.
            '^' | '-' | ':' if in_class => regex.push(char),
            '[' => {
                regex.push('[');
                push_named_class(&mut regex, &mut chars);
            }
            char if in_class => push_plain(&mut regex, char),
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' => regex.push(char),
            char => push_plain(&mut regex, char),
        }
    }
    regex + ")$"
}

/// The rest of `[:digit:]` inside a class.
fn push_named_class(regex: &mut String, chars: &mut std::str::Chars<'_>) {
    for char in chars.by_ref() {
        regex.push(char);
        if char == ']' {
            return;
        }
    }
}

/// A character that stands for itself.
fn push_plain(regex: &mut String, char: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(char) {
        regex.push('\\');
    }
    regex.push(char);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_standard() {
        for (pattern, regex) in [
            ("a%_", "a.*."),
            ("(b|d)+x{2,3}", "(b|d)+x{2,3}"),
            ("1.5^$", r"1\.5\^\$"),
            (r"50\%", "50%"),
            ("[^a-c.%][[:digit:]_]", r"[^a-c\.%][[:digit:]_]"),
            (r"\d{3}[\w-]\S", r"\d{3}[\w-]\S"),
        ] {
            assert_eq!(regex_of(pattern, Some('\\')), format!("(?s)^(?:{regex})$"));
        }
        assert_eq!(regex_of("a#_", Some('#')), "(?s)^(?:a_)$");
        assert_eq!(regex_of("dd", Some('d')), "(?s)^(?:d)$");
        assert_eq!(regex_of(r"a\", None), r"(?s)^(?:a\\)$");
    }
}
